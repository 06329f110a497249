import { Flags } from "@oclif/core";
import * as v from "valibot";
import { BaseCommand, type Invocation } from "../../cli/base-command.ts";
import { readInput } from "../../cli/input.ts";
import { keptSchema, keptTable } from "../../cli/kept-weight.ts";
import { openParticipant, participantFlags } from "../../cli/participant.ts";
import type { Prompts } from "../../cli/prompts.ts";
import { parseShare } from "../../cli/quantities.ts";
import { readStandInPolicy, standInsFlag } from "../../cli/stand-in-policy.ts";
import { parseSource } from "../../data/sources/source.ts";
import { ConnitoError } from "../../errors.ts";
import { openCheckpoint } from "../../model/checkpoint.ts";
import { expertLayout } from "../../model/slice.ts";
import { parseExpertScores } from "../../protocol/experts/esft.ts";
import { possibleGroups } from "../../protocol/experts/expert-manager.ts";
import type { Task, TaskOverrides } from "../../protocol/task.ts";
import { leastTrainingDrawn } from "../../protocol/task-defaults.ts";
import { type CreateTaskResult, createTask, type SideCounts } from "../../steps/distribute/create-task.ts";
import type { DomainSources } from "../../steps/distribute/prepare-data.ts";
import { formatBytes, formatCount, formatDuration } from "../../ui/format.ts";
import { fields, table } from "../../ui/table.ts";

const maximumJsonBytes = 64 * 2 ** 20;

export default class TaskCreate extends BaseCommand<typeof TaskCreate, CreateTaskResult> {
  static override readonly summary = "Make a task from a checkpoint and data, and publish its hash on the chain.";
  static override readonly description =
    "Tokenises the data into shards, hashes the checkpoint, measures the experts on the domains, makes the stand-ins, and stores everything that the task names. A source of data is a file, a directory or an http(s) address of text, JSON lines or Parquet, with options behind a #: format, field, template, end, sha256. A document that is held out is trained on nowhere. Stopped, it goes on where it was. --from gives any field of the task (see `task schema`); flags win over it. On a terminal, what is missing is asked for.";
  static override readonly examples = [
    "<%= config.bin %> <%= command.id %> --netuid 1 --name speeches --model ./base --groups 2 --domain sotu=train.txt,held-out.txt --publish http://198.51.100.7:8100",
    "<%= config.bin %> <%= command.id %> --netuid 1 --name law --model ./base --groups 4 --domain law=https://host/cases.parquet#field=opinion --domain forum=posts.jsonl.gz#template={title}%0A{body} --held-out-share 0.02 --dry-run",
    "<%= config.bin %> <%= command.id %> --netuid 1 --from task.json --model ./base --domain novel=train.txt,held-out.txt --stand-ins by-use:3 --dry-run --json",
    `echo '{"inner": {"learningRate": 0.001, "muon": {"iterations": 4}}}' | <%= config.bin %> <%= command.id %> --netuid 1 --name novel --from - --optimizer muon --model ./base --groups 2 --domain novel=train.txt,held-out.txt --dry-run`,
  ];
  static override readonly flags = {
    ...participantFlags,
    name: Flags.string({ helpValue: "NAME", summary: "The task's name." }),
    model: Flags.string({ helpValue: "DIRECTORY", summary: "The base checkpoint in the Hugging Face layout." }),
    groups: Flags.integer({ helpValue: "NUMBER", summary: "Expert groups; must divide the number of experts.", min: 1 }),
    grouping: Flags.option({ options: ["even", "affinity", "coactivation"] as const })({
      summary: "Groups of equal numbers, of experts that serve the same domains, or of experts that tokens choose together.",
      default: "even",
    }),
    domain: Flags.string({
      helpValue: "NAME=SOURCE|NAME=TRAIN,HELD-OUT",
      summary:
        "A domain: a source to be split, or one to train on and one that only validators get. May be given several times, also for one name.",
      multiple: true,
    }),
    "held-out-share": Flags.string({
      helpValue: "SHARE",
      summary: "The part of the documents of a split source that is held out.",
      default: "0.05",
    }),
    from: Flags.string({ helpValue: "FILE|-", summary: "A JSON document with any fields of the task; - reads stdin." }),
    optimizer: Flags.option({ options: ["adamw", "muon"] as const })({
      summary: "What miners train with: adamw unless --from says otherwise; muon's own settings are in inner.muon.",
    }),
    "least-training": Flags.integer({
      helpValue: "SEQUENCES",
      summary:
        "Pay only submissions that show training on so many sequences of the miner's own share in a cycle, so that one training is not paid under many hotkeys: as many as the slowest miner that is to be paid trains on.",
      min: 16,
    }),
    scores: Flags.string({ helpValue: "FILE", summary: "Expert scores that `esft select --save` wrote, instead of measuring now." }),
    "sample-tokens": Flags.integer({ helpValue: "NUMBER", summary: "Tokens to measure the experts on.", min: 1024 }),
    "stand-ins": standInsFlag,
    "start-block": Flags.integer({ helpValue: "NUMBER", summary: "First block of cycle 0; by default --lead blocks from now.", min: 0 }),
    lead: Flags.integer({
      helpValue: "BLOCKS",
      summary: "Blocks between publishing and cycle 0, in which validators fetch the base.",
      default: 10,
      min: 1,
    }),
    "publish-held-out": Flags.string({
      helpValue: "DIRECTORY",
      summary: "Also put the held-out data in a directory that only validators can read.",
    }),
    "dry-run": Flags.boolean({
      summary: "Show the task; publish nothing, and keep nothing but the tokenised data, hashes and what was measured.",
    }),
  };

  static override resultSchema() {
    const side = v.object({ documents: v.number(), textBytes: v.number(), sequences: v.number(), shards: v.number() });
    return v.object({
      task: v.looseObject({ name: v.string() }),
      taskHash: v.string(),
      block: v.optional(v.number()),
      slices: v.array(v.object({ backbone: v.number(), experts: v.number(), momentum: v.number(), standIns: v.number() })),
      data: v.array(v.object({ name: v.string(), train: side, heldOut: side })),
      submissionBytes: v.record(v.string(), v.number()),
      evaluation: v.object({
        scoring: v.number(),
        gate: v.number(),
        scoreBlocks: v.number(),
        ballotBlocks: v.number(),
        blockSeconds: v.number(),
        lossSeconds: v.optional(v.number()),
      }),
      kept: v.optional(keptSchema),
    });
  }

  protected async perform(invocation: Invocation<typeof TaskCreate>): Promise<CreateTaskResult> {
    const { flags, prompts, signal } = invocation;
    const from = flags.from === undefined ? {} : await readOverrides(flags.from, signal);
    const overrides = withLeastTraining(
      withOptimizer(withStartBlock(from, flags["start-block"]), flags.optimizer),
      flags["least-training"],
    );
    const name = flags.name ?? overrides.name ?? (await prompts.text({ flag: "--name", message: "Name of the task" }));
    const directory = flags.model ?? (await prompts.text({ flag: "--model", message: "Directory of the base checkpoint" }));
    const checkpoint = await openCheckpoint(directory);
    const choices = possibleGroups(expertLayout(checkpoint.architecture)).map((count) => ({ value: String(count) }));
    const groups =
      flags.groups ?? overrides.experts?.groups ?? Number(await prompts.choice({ flag: "--groups", message: "Expert groups", choices }));
    const domains = await readDomains(flags.domain, prompts);
    const heldOutShare = readHeldOutShare(flags["held-out-share"]);
    const scores = flags.scores === undefined ? undefined : parseExpertScores(await readJson(flags.scores, signal));
    const standIns = readStandInPolicy(flags["stand-ins"]);
    const context = await openParticipant(invocation);
    return createTask(context, {
      name,
      checkpoint,
      domains,
      heldOutShare,
      groups,
      grouping: flags.grouping,
      overrides,
      ...(scores === undefined ? {} : { scores }),
      ...(flags["sample-tokens"] === undefined ? {} : { sampleTokens: flags["sample-tokens"] }),
      ...(standIns === undefined ? {} : { standIns }),
      leadBlocks: flags.lead,
      heldOutDirectory: flags["publish-held-out"],
      dryRun: flags["dry-run"],
    });
  }

  protected render({ task, taskHash, block, data, slices, submissionBytes, evaluation, kept }: CreateTaskResult): string {
    const { phases, startBlock } = task.cycle;
    const sides = data.flatMap(({ name, train, heldOut }) => [
      [name, "train", ...describeSide(train)],
      ["", "held out", ...describeSide(heldOut)],
    ]);
    const right = (heading: string) => ({ heading, align: "right" as const });
    const summary = fields([
      ["task", task.name],
      ["hash", taskHash],
      ["model", task.model.root],
      ["groups", task.experts.groups],
      ["optimizer", `${task.inner.optimizer}, learning rate ${task.inner.learningRate}`],
      ["least training", describeLeastTraining(task, evaluation)],
      ["submissions", describeSubmissions(task.submission.codec, submissionBytes)],
      ["a slice", describeSlices(slices)],
      ["domains", task.data.domains.map((domain) => domain.name).join(", ")],
      [
        "phases",
        Object.entries(phases)
          .map(([phase, blocks]) => `${phase} ${blocks}`)
          .join(", "),
      ],
      ["scoring", describeScoring(evaluation)],
      ["merging", describeGate(evaluation)],
      ["starts at", `block ${startBlock}`],
      ["on the chain", block === undefined ? "no (dry run)" : `block ${block}`],
    ]);
    const together = kept === undefined || task.experts.groups === 1 ? "" : `\n\n${keptTable(task.experts.groups, kept)}`;
    return `${summary}\n\n${table(["domain", "side", right("documents"), right("text"), right("sequences"), right("shards")], sides)}${together}`;
  }
}

async function readJson(file: string, signal: AbortSignal): Promise<unknown> {
  const bytes = await readInput(file, { maximumBytes: maximumJsonBytes, signal });
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new ConnitoError(`${file === "-" ? "stdin" : file} is not JSON.`, {
      code: "input-not-json",
      exit: "invalidInput",
      hint: "Check the file; `connito task schema` describes a task.",
      cause,
    });
  }
}

/** Fields of a task, to be checked as part of the whole. */
async function readOverrides(file: string, signal: AbortSignal): Promise<TaskOverrides> {
  const value = await readJson(file, signal);
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw new ConnitoError(`${file === "-" ? "stdin" : file} holds no JSON object.`, {
    code: "task-invalid",
    exit: "invalidInput",
    hint: "`connito task schema` describes a task.",
  });
}

function withStartBlock(overrides: TaskOverrides, startBlock: number | undefined): TaskOverrides {
  return startBlock === undefined ? overrides : { ...overrides, cycle: { ...overrides.cycle, startBlock } };
}

function withOptimizer(overrides: TaskOverrides, optimizer: "adamw" | "muon" | undefined): TaskOverrides {
  return optimizer === undefined ? overrides : { ...overrides, inner: { ...overrides.inner, optimizer } };
}

/** On how many of the sequences a submission is measured is left to --from, or as many as tell on a base that is well trained. */
function withLeastTraining(overrides: TaskOverrides, sequences: number | undefined): TaskOverrides {
  if (sequences === undefined) return overrides;
  const leastTraining = { drawn: Math.min(leastTrainingDrawn, sequences), ...overrides.evaluation?.leastTraining, sequences };
  return { ...overrides, evaluation: { ...overrides.evaluation, leastTraining } };
}

/** The task's codec first, then what others would take. */
function describeSubmissions(codec: string, bytes: Readonly<Record<string, number>>): string {
  const others = Object.entries(bytes).flatMap(([name, size]) => (name === codec ? [] : [`${name}: ${formatBytes(size)}`]));
  return `${codec}, up to ${formatBytes(bytes[codec] as number)} a miner and cycle (${others.join(", ")})`;
}

/**
 * Beside what this machine would train on in a window, which miners' own may be far from: a step computes about three times what a loss does (Kaplan et al.,
 * arXiv 2001.08361, table 1: backward is twice forward).
 */
function describeLeastTraining({ evaluation, cycle }: Task, { blockSeconds, lossSeconds }: CreateTaskResult["evaluation"]): string {
  const here = lossSeconds && Math.floor((cycle.phases.train * blockSeconds) / (3 * lossSeconds));
  const pace = here === undefined ? "" : `; this machine trains on about ${formatCount(here)} sequences in a window`;
  if (evaluation.leastTraining === undefined)
    return `not asked: one training is paid under every hotkey that submits it under noise; see --least-training${pace}`;
  const { sequences, drawn } = evaluation.leastTraining;
  return `${formatCount(sequences)} sequences of one's own share in a cycle, up to ${formatCount(drawn)} of them measured${pace}`;
}

/** At the pace of this machine, which validators' own may be far from. */
function describeScoring({ scoring, scoreBlocks, blockSeconds, lossSeconds }: CreateTaskResult["evaluation"]): string {
  const seconds = scoreBlocks * blockSeconds;
  const what = `${formatCount(scoring)} sequences at most, of the base and of each submission, in ${formatDuration(1000 * seconds)} once they are fetched`;
  if (lossSeconds === undefined) return what;
  const submissions = Math.floor(seconds / (scoring * lossSeconds)) - 1;
  return submissions < 1
    ? `${what}: at this machine's pace not one submission; give cycle.phases.score more blocks`
    : `${what}: ${formatCount(submissions)} submissions at this machine's pace`;
}

function describeGate({ gate, ballotBlocks, blockSeconds, lossSeconds }: CreateTaskResult["evaluation"]): string {
  const seconds = ballotBlocks * blockSeconds;
  const what = `${formatCount(gate)} sequences at most in ${formatDuration(1000 * seconds)}`;
  if (lossSeconds === undefined) return what;
  const takes = gate * lossSeconds;
  return `${what}: ${formatDuration(1000 * takes)} at this machine's pace${takes > seconds ? "; give cycle.phases.merge more blocks" : ""}`;
}

/** The largest of all groups. */
function describeSlices(slices: CreateTaskResult["slices"]): string {
  const bytesOf = ({ backbone, experts, standIns }: CreateTaskResult["slices"][number]) => backbone + experts + standIns;
  const largest = slices.reduce((most, slice) => (bytesOf(slice) > bytesOf(most) ? slice : most));
  const { backbone, experts, standIns } = largest;
  const parts = `backbone ${formatBytes(backbone)}, own experts ${formatBytes(experts)}, stand-ins ${formatBytes(standIns)}`;
  return `${formatBytes(bytesOf(largest))} at most: ${parts}`;
}

function describeSide({ documents, textBytes, sequences, shards }: SideCounts): string[] {
  return [formatCount(documents), formatBytes(textBytes), formatCount(sequences), formatCount(shards)];
}

/** Domains in the order of their first mention; what is said of one name later is added to it. */
async function readDomains(given: readonly string[] | undefined, prompts: Prompts): Promise<DomainSources[]> {
  const texts = given ?? [await askDomain(prompts)];
  const domains = new Map<string, DomainSources>();
  for (const text of texts) {
    const { name, train, heldOut, split } = parseDomain(text);
    const known = domains.get(name) ?? { name, train: [], heldOut: [], split: [] };
    domains.set(name, {
      name,
      train: [...known.train, ...train],
      heldOut: [...known.heldOut, ...heldOut],
      split: [...known.split, ...split],
    });
  }
  return [...domains.values()];
}

async function askDomain(prompts: Prompts): Promise<string> {
  const name = await prompts.text({ flag: "--domain", message: "Name of the domain" });
  return `${name}=${await prompts.text({ flag: "--domain", message: "Its data: SOURCE, or TRAIN,HELD-OUT" })}`;
}

function parseDomain(text: string): DomainSources {
  const [, name, first = "", second, more] = /^([^=,]+)=([^,]+)(?:,([^,]+))?(,.*)?$/.exec(text) ?? [];
  if (name === undefined || more !== undefined) {
    throw new ConnitoError(`--domain ${text} is not NAME=SOURCE or NAME=TRAIN,HELD-OUT.`, {
      code: "usage",
      exit: "usage",
      hint: "For example --domain novel=novel-train.txt,novel-held-out.txt. A comma inside an address is written %2C.",
    });
  }
  const source = parseSource(first);
  if (second === undefined) return { name, train: [], heldOut: [], split: [source] };
  return { name, train: [source], heldOut: [parseSource(second)], split: [] };
}

function readHeldOutShare(text: string): number {
  const share = parseShare(text, "--held-out-share");
  if (share > 0 && share < 1) return share;
  throw new ConnitoError("--held-out-share holds out all or nothing.", { code: "usage", exit: "usage", hint: "For example 0.05." });
}
