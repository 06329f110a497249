/**
 * The shape of a task, field by field, as a valibot schema. The same schema checks documents and prints the JSON Schema, so that the
 * description an owner reads, the default and the accepted values are written once.
 */
import * as v from "valibot";
import type { Phase } from "./phases.ts";
import { muonDefaults as muon, outerOfPlaces, shortestPhases, taskDefaults } from "./task-defaults.ts";

const largestU32 = 0xffff_ffff;
const largestU64 = 0xffff_ffff_ffff_ffffn;

function received(value: unknown): string {
  if (value === undefined) return "it is missing";
  const text = typeof value === "bigint" || Number.isNaN(value) ? String(value) : JSON.stringify(value);
  return `not ${text !== undefined && text.length > 60 ? `${text.slice(0, 60)}...` : text}`;
}

/** Every check of a field answers with the same sentence: what is accepted, then what was found. */
function accepts(accepted: string): (issue: { input: unknown }) => string {
  return (issue) => `must be ${accepted}, ${received(issue.input)}`;
}

function description(text: string, byDefault: unknown): string {
  return byDefault === undefined ? text : `${text} Default: ${typeof byDefault === "string" ? byDefault : JSON.stringify(byDefault)}.`;
}

function whole(least: number, most: number, text: string, byDefault?: number) {
  const message = accepts(`a whole number from ${least} to ${most}`);
  return v.pipe(
    v.number(message),
    v.integer(message),
    v.minValue(least, message),
    v.maxValue(most, message),
    v.description(description(text, byDefault)),
  );
}

/** A real number from `least` to `most`; `open` leaves an end out. */
function real(least: number, most: number, text: string, byDefault: number | undefined, open: "neither" | "least" | "most" = "neither") {
  const message = accepts(`a number ${open === "least" ? "above" : "from"} ${least} ${open === "most" ? "and below" : "to"} ${most}`);
  return v.pipe(
    v.number(message),
    open === "least" ? v.gtValue(least, message) : v.minValue(least, message),
    open === "most" ? v.ltValue(most, message) : v.maxValue(most, message),
    v.description(description(text, byDefault)),
  );
}

function choice<const Options extends readonly string[]>(options: Options, text: string, byDefault?: string) {
  const accepted = options.map((option) => JSON.stringify(option)).join(" or ");
  return v.pipe(v.picklist(options, accepts(accepted)), v.description(description(text, byDefault)));
}

function hash(text: string) {
  const message = accepts("a hash: 64 lower-case hexadecimal digits");
  return v.pipe(v.string(message), v.regex(/^[0-9a-f]{64}$/, message), v.description(text));
}

function section<Entries extends v.ObjectEntries>(entries: Entries, text: string) {
  return v.pipe(v.strictObject(entries, accepts("an object")), v.description(text));
}

const name = accepts("text of 1 to 64 letters, digits, '.', '_' and '-', beginning with a letter or digit");

function named(text: string) {
  return v.pipe(v.string(name), v.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, name), v.description(text));
}

function phase(phaseName: Phase, text: string) {
  return whole(shortestPhases[phaseName], 1_000_000, `${text} In blocks.`, taskDefaults.cycle.phases[phaseName]);
}

const groupingText = `"even" or a hash: 64 lower-case hexadecimal digits`;
const unsigned64 = accepts(`a whole number from 0 to ${largestU64} as decimal text`);
const coefficient = real(-100, 100, "A coefficient.", undefined);
const { inner, outer, submission, evaluation, merge } = taskDefaults;

export const taskSchema = section(
  {
    format: choice(["connito/task/1"], "The format and its version."),
    name: named("What the task is called."),
    netuid: whole(0, 0xffff, "The subnet's number on the chain."),
    model: section(
      {
        root: hash("Version root of the base model: what cycle 0 trains."),
        standIns: hash("Root of the manifest of stand-ins, the frozen low-bit copies of the base's experts."),
        allotment: v.optional(
          section(
            {
              statistics: hash("Hash of the router statistics that the bits of each stand-in follow from."),
              bits: real(0, 16, "Bits a value, on average of what any group lacks.", undefined),
            },
            "Where the stand-ins have their bits by use: what they were allotted by. Absent where all are alike.",
          ),
        ),
      },
      "The base model.",
    ),
    experts: section(
      {
        groups: whole(1, 0xffff, "How many groups the experts of every layer are split into; must divide the number of experts."),
        grouping: v.pipe(
          v.string(accepts(groupingText)),
          v.regex(/^(even|[0-9a-f]{64})$/, accepts(groupingText)),
          v.description(
            description(
              "Which experts are in a group: evenly by their numbers, or the hash of a document that names the group of each.",
              taskDefaults.experts.grouping,
            ),
          ),
        ),
        selection: section(
          {
            score: choice(
              ["token", "gate"],
              "Which ESFT score selects experts: token ratio or mean gate weight.",
              taskDefaults.experts.selection.score,
            ),
            threshold: real(
              0,
              1,
              "Experts are taken in falling order of score while the sum before taking is below this share.",
              taskDefaults.experts.selection.threshold,
              "least",
            ),
            scores: hash("Hash of the document of expert scores, computed on the base over domain text."),
          },
          "Which experts of a group are trained.",
        ),
      },
      "Groups of experts, and the selection within them.",
    ),
    data: section(
      {
        sequenceLength: whole(1, 1_048_576, "Tokens predicted in a sequence.", taskDefaults.data.sequenceLength),
        domains: v.pipe(
          v.array(
            section(
              {
                name: named("What the domain is called; no two domains share a name."),
                train: hash("Hash of the document of token data that miners train on."),
                heldOut: hash("Hash of the document of token data that only validators have."),
              },
              "One domain of data.",
            ),
            accepts("a list of domains"),
          ),
          v.minLength(1, () => "must have at least one domain"),
          v.maxLength(256, () => "must have at most 256 domains"),
          v.description("The domains, in the order in which evaluation sequences are drawn."),
        ),
      },
      "The data that are trained on and evaluated with.",
    ),
    inner: section(
      {
        optimizer: choice(
          ["adamw", "muon"],
          "The miners' optimizer; with Muon, what is no matrix is updated by AdamW all the same.",
          inner.optimizer,
        ),
        learningRate: real(0, 1, "Its learning rate at the start of a cycle.", inner.learningRate, "least"),
        schedule: choice(
          ["constant", "linear"],
          "How the learning rate goes on: as it is, or falling linearly to nothing at the end of the train window.",
          inner.schedule,
        ),
        beta1: real(0, 1, "Decay of the first moment.", inner.beta1, "most"),
        beta2: real(0, 1, "Decay of the second moment.", inner.beta2, "most"),
        epsilon: real(0, 1, "Added to the root of the second moment.", inner.epsilon, "least"),
        weightDecay: real(0, 1, "Decoupled weight decay.", inner.weightDecay),
        clipNorm: real(0, 1e9, "Largest global norm of the gradient.", inner.clipNorm, "least"),
        batchSequences: whole(1, 65_536, "Sequences in a micro-batch.", inner.batchSequences),
        accumulation: whole(1, 65_536, "Micro-batches in a step.", inner.accumulation),
        muon: v.optional(
          section(
            {
              momentum: real(0, 1, "Decay of the gradient's running mean.", muon.momentum, "most"),
              nesterov: v.pipe(
                v.boolean(accepts("true or false")),
                v.description(description("Whether the step looks ahead, to the mean of momentum and gradient.", muon.nesterov)),
              ),
              iterations: whole(1, 20, "Newton-Schulz iterations.", muon.iterations),
              coefficients: v.pipe(
                v.strictTuple([coefficient, coefficient, coefficient], accepts("a list of three numbers")),
                v.description(description("Those of an iteration: x becomes a x + b (x x') x + c (x x')^2 x.", muon.coefficients)),
              ),
              updateSize: real(0, 10, "Root mean square of an orthogonal step, in learning rates.", muon.updateSize, "least"),
            },
            "How Muon updates matrices. There where it is the optimizer, and only there.",
          ),
        ),
      },
      "How miners train.",
    ),
    outer: section(
      {
        optimizer: choice(["nesterov"], "The outer optimizer (DiLoCo).", outer.optimizer),
        learningRate: real(
          0,
          10,
          `Its learning rate; ${outerOfPlaces.learningRate} where the codec is signs-10.`,
          outer.learningRate,
          "least",
        ),
        momentum: real(0, 1, `Its momentum; ${outerOfPlaces.momentum} where the codec is signs-10.`, outer.momentum, "most"),
      },
      "How validators merge.",
    ),
    cycle: section(
      {
        startBlock: whole(1, largestU32, "First block of cycle 0; the block before it decides the first assignment."),
        phases: section(
          {
            distribute: phase("distribute", "Assignments are made and slices fetched."),
            train: phase("train", "Miners train."),
            commit: phase("commit", "Miners commit to their artifact."),
            reveal: phase("reveal", "Miners show what they committed to."),
            score: phase("score", "Validators evaluate and report."),
            merge: phase("merge", "Validators merge and name the next version."),
          },
          "The length of each phase.",
        ),
      },
      "The block clock.",
    ),
    assignment: section(
      {
        missedCycles: whole(
          1,
          65_536,
          "A miner without a record in this many cycles is not assigned.",
          taskDefaults.assignment.missedCycles,
        ),
      },
      "How miners are given groups.",
    ),
    submission: section(
      {
        codec: choice(["dense-bf16", "block-int8", "signs-10"], "How deltas are encoded.", submission.codec),
        maximumBytes: whole(1, Number.MAX_SAFE_INTEGER, "Largest submission file, in bytes.", submission.maximumBytes),
      },
      "What miners submit.",
    ),
    evaluation: section(
      {
        sequencesPerDomain: whole(
          2,
          65_536,
          "Held-out sequences of each domain in the first stage of scoring.",
          evaluation.sequencesPerDomain,
        ),
        stages: whole(
          1,
          12,
          "Most stages of scoring; each doubles the sequences of those before it. The gate has as many others as all stages together.",
          evaluation.stages,
        ),
        errorRate: real(0, 0.5, "How often a submission without effect may be paid, all stages together.", evaluation.errorRate, "least"),
        minimumScore: whole(1, 1_000_000_000, "Lowest score that is accepted, in micro-nats per token.", evaluation.minimumScore),
        leastTraining: v.optional(
          section(
            {
              sequences: whole(
                16,
                0xffff_ffff,
                "The first sequences of its walk that a miner has to learn from in a cycle, in all domains together: what one hotkey costs.",
              ),
              drawn: whole(16, 4096, "How many of them each submission is measured on; 128 tell on a base that is well trained."),
            },
            "That a submission has to show training of its own, so that one training is not paid under many hotkeys. Not asked where absent.",
          ),
        ),
      },
      "How submissions are scored.",
    ),
    merge: section(
      {
        contributors: whole(1, 65_536, "Most submissions merged in a group.", merge.contributors),
        method: choice(
          ["mean", "trimmed-mean", "median", "centred-clipping", "krum"],
          "How a group's deltas become one gradient.",
          merge.method,
        ),
        tolerated: real(0, 0.5, "Share of the contributors that trimmed-mean and krum take for bad.", merge.tolerated, "most"),
        normCap: real(1, 1e6, "A longer delta is shortened to so many times the median norm of its group.", merge.normCap),
        errorRate: real(
          0,
          0.5,
          "How often a step without effect may pass one look of the gate; 0.5 lets the mean alone decide.",
          merge.errorRate,
          "least",
        ),
        scales: v.pipe(
          v.array(real(0, 10, "A scale of the outer step.", undefined, "least"), accepts("a list of numbers")),
          v.minLength(1, () => "must have at least one scale"),
          v.maxLength(16, () => "must have at most 16 scales"),
          v.description(description("Scales tried for all merged groups together, in this order.", merge.scales)),
        ),
      },
      "How the accepted submissions become one model.",
    ),
    validators: section(
      {
        minimumStake: v.pipe(
          v.string(unsigned64),
          v.regex(/^(0|[1-9][0-9]{0,19})$/, unsigned64),
          v.check((text) => !/^[0-9]{1,20}$/.test(text) || BigInt(text) <= largestU64, unsigned64),
          v.description(
            description(
              "Stake in rao (one TAO is 1000000000) below which a permit does not make a validator, as text.",
              taskDefaults.validators.minimumStake,
            ),
          ),
        ),
        scorers: whole(
          2,
          256,
          "Validators that score each group, drawn by stake; all where there are fewer. Where all that are drawn lie alike, nobody notices.",
          taskDefaults.validators.scorers,
        ),
      },
      "Who counts as a validator, and how many score a group.",
    ),
    weights: section(
      { window: whole(1, 65_536, "Cycles over which scores are averaged.", taskDefaults.weights.window) },
      "The weights on the chain.",
    ),
  },
  "A Connito task: everything that all participants must agree on.",
);
