/**
 * Fine-tunes the selected experts of the miner's slice until the train window ends, and leaves a submission: the encoded difference to
 * the version that was trained from. Killed at any moment, it goes on from its last checkpoint.
 */

import { createWalk, type Walk } from "../../data/walk.ts";
import { openTrainer, type Trainer } from "../../engine/trainer.ts";
import { pieceName } from "../../model/pieces.ts";
import { type Window, windowOf } from "../../protocol/clock.ts";
import { hashFields, hashToBytes, u32 } from "../../protocol/hash.ts";
import { publicKeyOf } from "../../protocol/hotkey.ts";
import type { Task } from "../../protocol/task.ts";
import { formatCount, formatDuration } from "../../ui/format.ts";
import type { Context } from "../context.ts";
import { type CycleView, viewCycle } from "../cycle-view.ts";
import type { Membership } from "../membership.ts";
import type { TaskSequences } from "../task-data.ts";
import { assertNotMissed, awaitOpening, sendingWindow } from "../windows.ts";
import { difference, type GroupExperts, openGroupExperts, openTrainingData } from "./group-experts.ts";
import { type LossRecorder, recordLosses } from "./loss-curve.ts";
import { type StoredSubmission, submissionOf } from "./submissions.ts";
import { submitDeltas } from "./submit.ts";
import { trainByCommand } from "./train-by-command.ts";
import { openTrainingState, type TrainingState } from "./training-state.ts";

export interface TrainInput {
  readonly cycle: number;
  /** Stop after so many steps, even if the window is longer. */
  readonly maximumSteps?: number;
  readonly wait: boolean;
}

export interface TrainResult extends StoredSubmission {
  readonly alreadyDone: boolean;
  /** Wall-clock seconds spent in training steps, and from the window's opening to its end: their ratio is the utilisation. */
  readonly trainingSeconds: number;
  readonly windowSeconds: number;
}

/** Seconds between checkpoints. A crash loses at most this much work; writing costs a few milliseconds a megabyte. */
const checkpointSeconds = 5;
/** How many of the last steps the reported loss averages. */
const reportedSteps = 10;

/**
 * @throws deadline-missed when the window is over, wrong-base when the workspace holds work on another version, loss-not-finite.
 */
export async function train(context: Context, membership: Membership, input: TrainInput): Promise<TrainResult> {
  const { workspace, clock } = context;
  const { task } = membership;
  const done = await submissionOf(workspace, input.cycle);
  if (done !== undefined) return { ...done, alreadyDone: true, trainingSeconds: 0, windowSeconds: 0 };

  const opening = sendingWindow(task, "Training", input.cycle, "train");
  const waiting = { wait: input.wait, signal: context.signal };
  // Before it is worth fetching anything: too late is too late, and too early only whoever waits may begin to prepare.
  if (input.wait) assertNotMissed(await clock.now(), opening);
  else await awaitOpening(clock, opening, waiting);
  const view = await viewCycle(context, membership, input.cycle);
  if (context.trainer !== undefined) return trainByCommand(context, membership, view, { ...input, command: context.trainer, opening });
  const run = await openRun(context, membership, view);
  const { trainer, experts } = run;
  try {
    const state = await openTrainingState(workspace, input.cycle, view.base, trainer);
    const curve = await recordLosses(workspace, input.cycle, state.steps);
    await awaitOpening(clock, opening, waiting);
    const opened = performance.now();
    const { loss, trainingSeconds } = await trainUntil(context, run, { state, curve }, task.inner, {
      window: windowOf(task, input.cycle, "train"),
      maximumSteps: input.maximumSteps,
    });
    const windowSeconds = (performance.now() - opened) / 1000;
    const trained = await trainer.weights();
    const submission = await submitDeltas(context, membership, {
      cycle: input.cycle,
      group: experts.group,
      base: view.base,
      steps: state.steps,
      tokens: state.tokens,
      ...(loss === undefined ? {} : { loss }),
      deltas: experts.selected.map((piece) => {
        const name = pieceName(piece);
        return { piece, delta: difference(trained.get(name), experts.weights.get(name)) };
      }),
    });
    await state.remove();
    return { ...submission, alreadyDone: false, trainingSeconds, windowSeconds };
  } finally {
    await trainer.dispose();
    for (const domain of run.domains) await domain.close();
  }
}

/** Steps until the window's last block is out, or enough steps are done. */
async function trainUntil(
  context: Context,
  run: Run,
  { state, curve }: { readonly state: TrainingState; readonly curve: LossRecorder },
  inner: Task["inner"],
  { window, maximumSteps }: { window: Window; maximumSteps: number | undefined },
): Promise<{ loss?: number; trainingSeconds: number }> {
  let { best } = await context.clock.now();
  const first = { block: best, at: performance.now() };
  const stopWatching = context.clock.watch((heads) => {
    best = heads.best;
  });
  const save = async () => {
    await state.save();
    await curve.save();
  };
  /** How long the window will be open, by the blocks seen so far; unknown before the first. */
  const timeLeft = () => {
    const milliseconds = ((performance.now() - first.at) / (best - first.block)) * Math.max(0, window.last - best);
    return Number.isFinite(milliseconds) ? `, ${formatDuration(milliseconds)} left` : "";
  };
  /** How much of the run is over, 0 to 1: of the steps that were asked for, or of the window's blocks. */
  const progress = () =>
    Math.max(0, (best - window.first + 1) / (window.last - window.first + 1), state.steps / (maximumSteps ?? Number.POSITIVE_INFINITY));
  // With a number of steps the bar counts them; without one it is the share of the window that is over, in percent.
  context.progress.start(`Training group ${run.experts.group}`, maximumSteps ?? 100);
  const losses: number[] = [];
  let trainingSeconds = 0;
  let trainedTokens = 0;
  let lastCheckpoint = performance.now();
  try {
    for (let done = progress(); done < 1; done = progress()) {
      context.signal.throwIfAborted();
      const learningRate = inner.learningRate * (inner.schedule === "linear" ? 1 - done : 1);
      const batch = await nextBatch(run, state.steps, inner);
      const started = performance.now();
      const { loss, tokens } = await run.trainer.step(batch, { learningRate });
      trainingSeconds += (performance.now() - started) / 1000;
      trainedTokens += tokens;
      state.advance(tokens);
      losses.push(loss);
      curve.add(loss);
      if (losses.length > reportedSteps) losses.shift();
      const speed = `${formatCount(Math.round(trainedTokens / trainingSeconds))} tokens/s`;
      if (maximumSteps === undefined)
        context.progress.update(Math.floor(100 * done), `step ${state.steps}, loss ${loss.toFixed(4)}, ${speed}${timeLeft()}`);
      else context.progress.update(state.steps, `loss ${loss.toFixed(4)}, ${speed}${timeLeft()}`);
      if (performance.now() - lastCheckpoint > checkpointSeconds * 1000) {
        await save();
        lastCheckpoint = performance.now();
      }
    }
  } catch (error) {
    context.progress.fail();
    // A stop that was asked for keeps the work; a failed step's weights are not to be trusted.
    if (context.signal.aborted) await save();
    throw error;
  } finally {
    stopWatching();
  }
  await curve.save();
  const loss = losses.length > 0 ? losses.reduce((sum, value) => sum + value, 0) / losses.length : undefined;
  context.progress.succeed(`Trained ${state.steps} steps${loss === undefined ? "" : `, loss ${loss.toFixed(4)}`}`);
  return { trainingSeconds, ...(loss === undefined ? {} : { loss }) };
}

interface Run {
  readonly experts: GroupExperts;
  readonly trainer: Trainer;
  readonly walk: Walk;
  readonly domains: readonly TaskSequences[];
}

async function openRun(context: Context, membership: Membership, view: CycleView): Promise<Run> {
  const { task, taskHash } = membership;
  const experts = await openGroupExperts(context, membership, view);
  const domains = await openTrainingData(context, membership, experts);
  // Each miner walks through the data in its own order: what it is worth is decided by Proof-of-Loss, not by this.
  const walk = createWalk(
    domains.map(({ data }) => data),
    hashFields("connito/order/1", hashToBytes(taskHash), u32(view.cycle), publicKeyOf(context.signer.address)),
  );
  const trainer = await openTrainer({
    architecture: experts.slice.architecture,
    weights: experts.weights,
    trainable: experts.selected.map(pieceName),
    optimizer: task.inner,
    sequenceLength: task.data.sequenceLength,
    batchSequences: task.inner.batchSequences,
    threads: context.threads,
  });
  const run = { experts, trainer, walk, domains };
  // What cannot be had is found before the window opens.
  await nextBatch(run, 0, task.inner);
  return run;
}

/** The micro-batches of one step: the place in the walk follows from the number of the step. */
async function nextBatch({ walk, domains }: Run, step: number, { batchSequences, accumulation }: Task["inner"]): Promise<Int32Array[][]> {
  const first = step * batchSequences * accumulation;
  const batches: Int32Array[][] = [];
  for (let micro = 0; micro < accumulation; micro++) {
    const batch: Int32Array[] = [];
    for (let place = first + micro * batchSequences; batch.length < batchSequences; place++) {
      const { domain, index } = walk.at(place);
      batch.push(await (domains[domain] as TaskSequences).read(index));
      const next = walk.shardAfter(place);
      domains[next.domain]?.expect(next.shard);
    }
    batches.push(batch);
  }
  return batches;
}
