/**
 * Fine-tunes the selected experts of the miner's slice until the train window ends, and leaves a submission: the encoded difference to
 * the version that was trained from. Killed at any moment, it goes on from its last checkpoint.
 */

import { placeRate } from "../../engine/places.ts";
import { pieceName } from "../../model/pieces.ts";
import { windowOf } from "../../protocol/clock.ts";
import type { Task } from "../../protocol/task.ts";
import { formatCount, formatDuration } from "../../ui/format.ts";
import type { Context } from "../context.ts";
import { viewCycle } from "../cycle-view.ts";
import type { Membership } from "../membership.ts";
import { assertNotMissed, awaitOpening, sendingWindow } from "../windows.ts";
import { createCheckpoints } from "./checkpoints.ts";
import { difference } from "./group-experts.ts";
import { noteLittleTraining } from "./least-training.ts";
import { type LossRecorder, recordLosses } from "./loss-curve.ts";
import { nextBatch, openRun, type Run } from "./run.ts";
import { followSchedule, type Schedule } from "./schedule.ts";
import { lastTimed, type StoredSubmission, submissionOf } from "./submissions.ts";
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
}

/** How many of the last steps the reported loss averages. */
const reportedSteps = 10;

/**
 * @throws deadline-missed when the window is over, wrong-base when the workspace holds work on another version, loss-not-finite.
 */
export async function train(context: Context, membership: Membership, input: TrainInput): Promise<TrainResult> {
  const { workspace, clock } = context;
  const { task } = membership;
  const { cycle } = input;
  const done = await submissionOf(workspace, cycle);
  if (done !== undefined) return { ...done, alreadyDone: true };

  const opening = sendingWindow(task, "Training", cycle, "train");
  const waiting = { wait: input.wait, signal: context.signal };
  // Before it is worth fetching anything: too late is too late, and too early only whoever waits may begin to prepare.
  if (input.wait) assertNotMissed(await clock.now(), opening);
  else await awaitOpening(clock, opening, waiting);
  const schedule = await followSchedule(clock, { train: windowOf(task, cycle, "train"), commit: windowOf(task, cycle, "commit") });
  try {
    const view = await viewCycle(context, membership, cycle);
    if (context.trainer !== undefined) {
      const made = await trainByCommand(context, membership, view, { ...input, command: context.trainer, opening, schedule });
      return { ...made, alreadyDone: false };
    }
    const run = await openRun(context, membership, view);
    const { trainer, experts } = run;
    try {
      const state = await openTrainingState(workspace, cycle, view.base, trainer);
      const curve = await recordLosses(workspace, cycle, state.steps);
      await awaitOpening(clock, opening, waiting);
      const { loss, window } = await trainUntil(context, run, { state, curve, schedule }, task.inner, {
        maximumSteps: input.maximumSteps,
        submitSeconds: (await lastTimed(workspace, cycle))?.timing.submitting,
      });
      const trainedSequences = state.steps * task.inner.batchSequences * task.inner.accumulation;
      noteLittleTraining(context.progress, { trained: trainedSequences, asked: run.asked });
      const timing = { training: state.seconds, window, finishing: 0 };
      const trained = await trainer.weights();
      const submission = await submitDeltas(context, membership, {
        cycle,
        group: experts.group,
        base: view.base,
        steps: state.steps,
        tokens: state.tokens,
        ...(loss === undefined ? {} : { loss }),
        timing,
        deltas: await inOrder(experts.selected, async (piece) => {
          const name = pieceName(piece);
          return { piece, delta: difference(trained.get(name), await run.base(name)) };
        }),
      });
      await state.remove();
      return { ...submission, alreadyDone: false };
    } finally {
      await trainer.dispose();
      for (const domain of run.domains) await domain.close();
    }
  } finally {
    schedule.close();
  }
}

interface Following {
  readonly state: TrainingState;
  readonly curve: LossRecorder;
  readonly schedule: Schedule;
}

/**
 * Steps until the window's last block is out, the deadline forbids another one, or enough steps are done. Batches are read, and checkpoints
 * written, while steps are computed. Gives the mean loss of the last steps, and the window's length when the last one ended.
 */
async function trainUntil(
  context: Context,
  run: Run,
  { state, curve, schedule }: Following,
  inner: Task["inner"],
  { maximumSteps, submitSeconds }: { readonly maximumSteps: number | undefined; readonly submitSeconds: number | undefined },
): Promise<{ readonly loss?: number; readonly window: number }> {
  const checkpoint = createCheckpoints(async () => {
    const snapshot = await state.snapshot();
    const losses = curve.snapshot();
    return async () => {
      // First the curve: killed in between, what is too much of it is cut off.
      await losses.write();
      await snapshot.write();
    };
  });
  const share = () => Math.max(schedule.share(), state.steps / (maximumSteps ?? Number.POSITIVE_INFINITY));
  const first = state.steps;
  const before = state.seconds;
  const meanStep = () => (state.steps === first ? 0 : (state.seconds - before) / (state.steps - first));
  // Before a submission was ever measured: a checkpoint holds three times as much. A disk that was slow once must not cost the window.
  const submission = () => submitSeconds ?? Math.min(checkpoint.writeSeconds() / 3, schedule.windowSeconds() / 10);
  const allowed = () => share() < 1 && schedule.allows(meanStep() + submission());
  // With a number of steps the bar counts them; without one it is the share of the window that is over, in percent.
  context.progress.start(`Training group ${run.experts.group}`, maximumSteps ?? 100);
  const losses: number[] = [];
  let trainedTokens = 0;
  let next = nextBatch(run, state.steps, inner);
  try {
    while (allowed()) {
      context.signal.throwIfAborted();
      const { places } = run;
      const rate = inner.learningRate * (places === undefined ? 1 : placeRate);
      const learningRate = rate * (inner.schedule === "linear" ? 1 - share() : 1);
      const batch = await next;
      next = nextBatch(run, state.steps + 1, inner);
      // It is awaited in the next turn, if there is one; until then its failure must not count as unhandled.
      next.catch(() => undefined);
      const started = performance.now();
      const { loss, tokens } = await run.trainer.step(batch, { learningRate });
      state.advance({ tokens, seconds: (performance.now() - started) / 1000 });
      trainedTokens += tokens;
      losses.push(loss);
      curve.add(loss);
      if (losses.length > reportedSteps) losses.shift();
      const details = [
        ...(maximumSteps === undefined ? [`step ${state.steps}`] : []),
        `loss ${loss.toFixed(4)}`,
        `${formatCount(Math.round(trainedTokens / (state.seconds - before)))} tokens/s`,
        ...left(schedule),
      ];
      context.progress.update(maximumSteps === undefined ? Math.floor(100 * share()) : state.steps, details.join(", "));
      await checkpoint.due();
    }
  } catch (error) {
    context.progress.fail();
    await checkpoint.written();
    // A stop that was asked for keeps the work; a failed step's weights are not to be trusted.
    if (context.signal.aborted) await checkpoint.now();
    throw error;
  }
  const window = schedule.windowSeconds();
  await checkpoint.written();
  await curve.snapshot().write();
  const loss = losses.length > 0 ? losses.reduce((sum, value) => sum + value, 0) / losses.length : undefined;
  context.progress.succeed(`Trained ${state.steps} steps${loss === undefined ? "" : `, loss ${loss.toFixed(4)}`}`);
  return { window, ...(loss === undefined ? {} : { loss }) };
}

function left(schedule: Schedule): string[] {
  const seconds = schedule.secondsLeft();
  return seconds === undefined ? [] : [`${formatDuration(1000 * seconds)} left`];
}

async function inOrder<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (const item of items) results.push(await work(item));
  return results;
}
