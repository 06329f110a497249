/**
 * The block clock (docs/protocol.md, section 2): cycle and phase are arithmetic on a block number and the task. Whoever passes a
 * finalised block number gets an answer that no later block changes; no wall clock takes part.
 */
import { ConnitoError } from "../errors.ts";
import { type Phase, phases } from "./phases.ts";
import type { Task } from "./task.ts";

export { type Phase, phases } from "./phases.ts";

/** What the clock needs of a task. */
export type ClockTask = Pick<Task, "cycle">;

/** A run of blocks, both ends inside. */
export interface Window {
  readonly first: number;
  readonly last: number;
}

export interface PhasePosition {
  readonly cycle: number;
  readonly phase: Phase;
  /** Blocks since the cycle's first block, which has offset 0. */
  readonly offset: number;
  /** Blocks of the phase that remain, this block included: 1 in the phase's last block. */
  readonly blocksLeft: number;
}

function assertWhole(value: number, what: string): void {
  if (Number.isSafeInteger(value) && value >= 0) return;
  throw new ConnitoError(`${what} ${value} is not a whole number from 0`, {
    code: "integer-out-of-range",
    exit: "invalidInput",
    hint: `Give the ${what.toLowerCase()} as a whole number, 0 or more.`,
  });
}

/** Blocks in a cycle: the sum of its phases. */
export function cycleLength(task: ClockTask): number {
  return phases.reduce((sum, phase) => sum + task.cycle.phases[phase], 0);
}

/** The cycle a block belongs to; `undefined` before the task's first block. */
export function cycleAt(task: ClockTask, block: number): number | undefined {
  assertWhole(block, "Block");
  if (block < task.cycle.startBlock) return undefined;
  return Math.floor((block - task.cycle.startBlock) / cycleLength(task));
}

/** First and last block of a cycle. */
export function cycleWindow(task: ClockTask, cycle: number): Window {
  assertWhole(cycle, "Cycle");
  const first = task.cycle.startBlock + cycle * cycleLength(task);
  return { first, last: first + cycleLength(task) - 1 };
}

/** First and last block of one phase of a cycle. */
export function windowOf(task: ClockTask, cycle: number, phase: Phase): Window {
  let first = cycleWindow(task, cycle).first;
  for (const earlier of phases) {
    if (earlier === phase) break;
    first += task.cycle.phases[earlier];
  }
  return { first, last: first + task.cycle.phases[phase] - 1 };
}

/** Where a block stands; `undefined` before the task's first block. */
export function phaseAt(task: ClockTask, block: number): PhasePosition | undefined {
  const cycle = cycleAt(task, block);
  if (cycle === undefined) return undefined;
  const offset = block - cycleWindow(task, cycle).first;
  let end = 0;
  for (const phase of phases) {
    end += task.cycle.phases[phase];
    if (offset < end) return { cycle, phase, offset, blocksLeft: end - offset };
  }
  throw new Error("a cycle's phases do not cover it");
}

/**
 * The merge window in two: in the first part validators send their ballots, in the second, of at most three blocks, they show the roots.
 */
export function votingWindows(task: ClockTask, cycle: number): { readonly ballot: Window; readonly version: Window } {
  const { first, last } = windowOf(task, cycle, "merge");
  const shown = Math.min(3, Math.floor((last - first + 1) / 2));
  return { ballot: { first, last: last - shown }, version: { first: last - shown + 1, last } };
}

/** How many of the blocks that are left to score in may go by with fetching submissions (docs/protocol.md, section 8, "In time"). */
export function fetchingBlocks(left: number): number {
  return Math.ceil(left / 2);
}

export function inWindow(window: Window, block: number): boolean {
  return block >= window.first && block <= window.last;
}

/**
 * The block at which a cycle's assignment and its canonical version are read: the last before its first. A task starts at block 1 or
 * later, so there always is one.
 */
export function decisionBlock(task: ClockTask, cycle: number): number {
  return cycleWindow(task, cycle).first - 1;
}
