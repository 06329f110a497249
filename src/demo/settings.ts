/** The demo's cast and sizes, chosen so that all of it runs on two cores in a few minutes. */

import type { TaskOverrides } from "../protocol/task.ts";

export const netuid = 1;

/** Milliseconds a block. */
export const blockMilliseconds = 1_400;
export const defaultCycles = 3;
export const pretrainSeconds = 25;
/** Blocks between publishing the task and its first cycle: ten processes have to start on two cores. */
export const leadBlocks = 20;

export const tao = 1_000_000_000n;

export interface Participant {
  /** Names the hotkey, the state directory and the log. */
  readonly name: string;
  readonly role: "owner" | "validator" | "miner";
  readonly stake?: bigint;
  /** What an attacker does instead of training. */
  readonly attack?: "copy" | "noise";
}

export const participants: readonly Participant[] = [
  { name: "owner", role: "owner" },
  { name: "validator-1", role: "validator", stake: 600n * tao },
  { name: "validator-2", role: "validator", stake: 500n * tao },
  { name: "miner-1", role: "miner" },
  { name: "miner-2", role: "miner" },
  { name: "miner-3", role: "miner" },
  { name: "copier", role: "miner", attack: "copy" },
  { name: "noise", role: "miner", attack: "noise" },
];

export const defaultFamily = "qwen3_moe";

/** Flags of `model init`: 4 layers of 8 experts, 2 of them for each token. */
export function modelFlags(family: string): string[] {
  const sizes = { "hidden-size": 128, layers: 4, experts: 8, "intermediate-size": 128 };
  return ["--family", family, ...Object.entries(sizes).flatMap(([name, size]) => [`--${name}`, String(size)])];
}
export const groups = 2;
export const sequenceLength = 128;

/**
 * In blocks. Three miners open their slices at once, and two validators share two cores with everything else: more time to distribute, score and
 * merge than by default.
 */
const phases = { distribute: 7, train: 15, commit: 4, reveal: 5, score: 12, merge: 16 };
export const cycleBlocks = Object.values(phases).reduce((sum, blocks) => sum + blocks, 0);

export const taskOverrides: TaskOverrides = {
  data: { sequenceLength },
  submission: { codec: "signs-10" },
  // Most of each group: in a model this small every expert matters to both domains.
  experts: { selection: { threshold: 0.9 } },
  // The base ends its pre-training annealed: a higher rate loses in the first steps what it gains in the next hundred.
  inner: { learningRate: 5e-4, schedule: "linear", batchSequences: 8 },
  evaluation: { sequencesPerDomain: 32, stages: 2 },
  merge: { scales: [1, 0.5, 0.25] },
  cycle: { phases },
};
