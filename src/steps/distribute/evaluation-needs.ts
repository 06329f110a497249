/**
 * What a task asks of its validators in a cycle, so that an owner sees before the first night whether the windows are long enough: how many losses (of one
 * sequence with one model) are measured at most, and in how many blocks.
 */
import { fetchingBlocks, votingWindows } from "../../protocol/clock.ts";
import { type DrawTask, drawOpenSequences, drawSequences } from "../../protocol/held-out.ts";
import { sequencesOfBlock } from "../../protocol/own-training.ts";
import type { Task } from "../../protocol/task.ts";

export interface EvaluationNeeds {
  /** Losses of the base, and of each submission, that scoring measures where nothing is clear before the last stage, and own training is asked for. */
  readonly scoring: number;
  /** Losses that the gate measures where no contributor is dropped: of each group's step, of all scales, and of all scales from rest. */
  readonly gate: number;
  /**
   * Blocks from the finality of what is scored, or of the reports, to the last in which report or ballot can be sent. Of scoring's only those that are left where
   * fetching takes all that it may: one slow miner suffices for that.
   */
  readonly scoreBlocks: number;
  readonly ballotBlocks: number;
}

/** Blocks that finality trails the head by, and that a record takes from being sent to standing, once again should it miss a block. */
const finality = 2;
const inclusion = 2;

/** `available` is the number of sequences of each domain's held-out data. */
export function evaluationNeeds(task: DrawTask & Pick<Task, "cycle" | "experts" | "merge">, available: readonly number[]): EvaluationNeeds {
  const draw = { task, seed: "00".repeat(32), available };
  const { stages, gate } = drawSequences(draw);
  const { ballot } = votingWindows(task, 0);
  const usable = (blocks: number) => Math.max(0, blocks - finality - inclusion);
  const scoreBlocks = usable(task.cycle.phases.score);
  const { leastTraining } = task.evaluation;
  return {
    scoring: stages.flat().length + drawOpenSequences(draw).length + (leastTraining ? sequencesOfBlock(leastTraining) : 0),
    gate: gate.length * (1 + task.experts.groups + 2 * (1 + task.merge.scales.length)),
    scoreBlocks: scoreBlocks - fetchingBlocks(scoreBlocks),
    ballotBlocks: usable(ballot.last - ballot.first + 1),
  };
}
