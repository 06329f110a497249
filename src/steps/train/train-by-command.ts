/** `train` with the operator's program in the engine's place: what it is given, when it is told to stop, and what becomes of its result. */
import type { TrainingJob } from "../../external/job.ts";
import { listWeights } from "../../model/families/index.ts";
import { pieceName } from "../../model/pieces.ts";
import { leastPlaces } from "../../protocol/own-training.ts";
import { placeOfSequence } from "../../protocol/token-data.ts";
import { type Run, sequencesIn } from "../../protocol/training-share.ts";
import { createWalk, type Walk, walkSeed } from "../../protocol/walk.ts";
import type { Context } from "../context.ts";
import type { CycleView } from "../cycle-view.ts";
import { inParallel } from "../fetch.ts";
import type { Membership } from "../membership.ts";
import type { TaskSequences } from "../task-data.ts";
import { assertNotMissed, type Opening } from "../windows.ts";
import { createCheckpoints } from "./checkpoints.ts";
import { graceSeconds, removeJob, trainExternally } from "./external-training.ts";
import { difference, openGroupExperts, openTrainingData, placesOf, trainingShares } from "./group-experts.ts";
import { noteLittleTraining } from "./least-training.ts";
import { recordLosses } from "./loss-curve.ts";
import type { Schedule } from "./schedule.ts";
import { lastTimed, type StoredSubmission, type Timing } from "./submissions.ts";
import { submitDeltas } from "./submit.ts";
import { rowsOfWalk } from "./walk-file.ts";

/** Parts of a domain that the program is given where nothing tells how much it needs. */
const partsAtFirst = 16;
/** It is given so many times the tokens that it trained on the last time: it may be faster today. */
const plenty = 2;
/** Shards fetched at the same time. */
const parallelFetches = 4;
/** Sequences of each domain on which the result is measured again. */
const measuredSequences = 8;
/** A mainnet block, for the times that the job names where no blocks were seen yet; the window itself is counted in blocks. */
const secondsPerBlock = 12;

/** How often it is looked whether the program has to stop. */
const lookMilliseconds = 250;

/** @throws deadline-missed, and what `trainExternally` throws */
export async function trainByCommand(
  context: Context,
  membership: Membership,
  view: CycleView,
  input: {
    readonly cycle: number;
    readonly maximumSteps?: number;
    readonly command: readonly string[];
    readonly opening: Opening;
    readonly schedule: Schedule;
  },
): Promise<StoredSubmission> {
  const { workspace, clock, signal } = context;
  const { task, taskHash } = membership;
  const { cycle, schedule } = input;
  const experts = await openGroupExperts(context, membership, view);
  const { group, weights, selected } = experts;
  const { architecture, manifest } = experts.slice;
  const order = walkSeed(taskHash, cycle, context.signer.address);
  const seed = Number.parseInt(order.slice(0, 8), 16);
  const domains = await openTrainingData(context, membership, experts);
  const shares = trainingShares(membership, view, group, context.signer.address, domains);
  const walk = createWalk(shares, order);
  const asked = leastPlaces(task.evaluation.leastTraining, shares.map(sequencesIn));
  const last = await lastTimed(workspace, cycle);
  const parts = partsToGive(walk, task.data.sequenceLength, { places: asked, tokens: plenty * (last?.tokens ?? 0) });
  const { data, sample } = await provideData(context, membership, domains, parts);
  const directory = workspace.layout.cycle(cycle, "trainer");
  const places = placesOf(membership, { cycle, group }, selected);
  assertNotMissed(await clock.now(), input.opening);

  // Two blocks tell their pace: a program that waited for the window by another chain's would miss it.
  const paceKnown = () => schedule.secondsToOpening() !== undefined;
  await clock.until(({ best }) => best >= input.opening.from - 1 || paceKnown(), signal);

  const curve = await recordLosses(workspace, cycle);
  const saved = createCheckpoints(async () => curve.snapshot().write);
  const secondsToOpening = schedule.secondsToOpening() ?? secondsPerBlock * Math.max(0, input.opening.from - 1 - (await clock.now()).best);
  const secondsLeft = schedule.secondsLeft() ?? secondsPerBlock * Math.max(0, (input.opening.last as number) - (await clock.now()).best);
  const watch = watchProgram(schedule, last?.timing);
  try {
    const { trained, steps, tokens, loss } = await trainExternally({
      command: input.command,
      directory,
      ...{ task, taskHash, cycle, group, base: view.base, architecture, weights, selected, places, data, sample, seed },
      walk: asked === 0 ? undefined : rowsOfWalk(walk, asked, parts),
      config: await workspace.objects.read(manifest.config),
      tokenizer: await workspace.objects.read(manifest.tokenizer),
      shapes: new Map(listWeights(architecture).map(({ name, shape }) => [name, shape])),
      maximumSteps: input.maximumSteps,
      opens: new Date(Date.now() + 1000 * secondsToOpening),
      deadline: new Date(Date.now() + 1000 * secondsLeft),
      finish: watch.finish,
      signal,
      threads: context.threads,
      progress: context.progress,
      onStep(step) {
        watch.onStep();
        if (step.loss === null) return;
        curve.claim(step.step, step.loss);
        // What it cannot write shows at the end.
        saved.due().catch(() => undefined);
      },
    });
    // By its own word, as with all that it did on the way.
    noteLittleTraining(context.progress, { trained: Math.floor(tokens / task.data.sequenceLength), asked });
    const timing = { ...watch.timing(), window: schedule.windowSeconds() };
    await saved.written();
    await curve.snapshot().write();
    const deltas = selected.map((piece) => {
      const base = weights.get(pieceName(piece));
      return { piece, delta: difference(trained.get(pieceName(piece)) ?? base, base) };
    });
    const submission = await submitDeltas(context, membership, { cycle, group, base: view.base, steps, tokens, loss, timing, deltas });
    await removeJob(directory);
    return submission;
  } finally {
    watch.close();
  }
}
/** Asks the program to finish while there is still time for all that follows, and takes the time of what it claims to do. */
function watchProgram(schedule: Schedule, last: Timing | undefined) {
  const finish = new AbortController();
  const now = () => performance.now() / 1000;
  // Before it was ever measured: as long as it may take, unless that were most of the window.
  const reserve = last === undefined ? Math.min(graceSeconds, (schedule.secondsLeft() ?? 0) / 4) : last.finishing + last.submitting;
  let asked: number | undefined;
  let [first, latest, steps] = [now(), now(), 0];
  const look = setInterval(() => {
    if (schedule.allows(reserve)) return;
    asked ??= now();
    finish.abort();
  }, lookMilliseconds);
  return {
    finish: finish.signal,
    onStep() {
      latest = now();
      if (steps++ === 0) first = latest;
    },
    /** From the first step to the last, and what went before the first as the mean of the others; then from the end of training until now. */
    timing: () => ({ training: steps > 1 ? ((latest - first) * steps) / (steps - 1) : 0, finishing: now() - (asked ?? latest) }),
    close: () => clearInterval(look),
  };
}

/** Of each domain the parts that the walk comes to first: those of its first places, and so many tokens of all domains together. */
export function partsToGive(
  walk: Walk,
  sequenceLength: number,
  { places, tokens }: { readonly places: number; readonly tokens: number },
): Run[][] {
  const domains = walk.runs();
  const wanted = Math.max(places * sequenceLength, tokens) / domains.length;
  return domains.map((runs) => enoughOf(runs, sequenceLength, wanted));
}

/**
 * The first of these parts, with so many tokens at least, and no fewer parts than are given where nothing is known. A share may be larger than a machine's
 * disk and than a cycle's training.
 */
export function enoughOf(runs: readonly Run[], sequenceLength: number, tokens = 0): Run[] {
  let given = 0;
  return runs.filter(({ sequences }, part) => {
    const wanted = part < partsAtFirst || given < tokens;
    given += sequences * sequenceLength;
    return wanted;
  });
}

/** Parts of each domain, where they lie, and sequences of them. */
async function provideData(
  { signal }: Context,
  { task }: Membership,
  domains: readonly TaskSequences[],
  parts: readonly (readonly Run[])[],
): Promise<{ data: TrainingJob["data"]; sample: Int32Array[] }> {
  const data: TrainingJob["data"] = [];
  const sample: Int32Array[] = [];
  for (const [place, domain] of domains.entries()) {
    const { shards, dtype } = domain.data;
    const own = parts[place] as readonly Run[];
    const located: TrainingJob["data"] = [];
    await inParallel([...own.entries()], parallelFetches, async ([at, { shard, first, sequences }]) => {
      signal.throwIfAborted();
      const { file, offset } = await domain.locate(shard);
      const skipped = placeOfSequence(domain.data, first).offset;
      const sha256 = shards[shard]?.hash as string;
      located[at] = { domain: task.data.domains[place]?.name as string, file, offset: offset + skipped, dtype, sequences, sha256 };
    });
    data.push(...located);
    const indices = own.flatMap(({ first, sequences }) =>
      Array.from({ length: Math.min(sequences, measuredSequences) }, (_, at) => first + at),
    );
    for (const index of indices.slice(0, measuredSequences)) sample.push(await domain.read(index));
    await domain.close();
  }
  return { data, sample };
}
