/**
 * May this step run now? Every phase-bound step asks here, so that too early, in time and too late mean the same everywhere:
 * `phase-not-open` (exit 20, waiting helps) and `deadline-missed` (exit 21, it does not).
 */

import { setMaxListeners } from "node:events";
import { ConnitoError } from "../errors.ts";
import type { Phase } from "../protocol/clock.ts";
import { cycleAt, windowOf } from "../protocol/clock.ts";
import type { Task } from "../protocol/task.ts";
import type { ChainClock, Heads } from "./clock.ts";
import type { Context } from "./context.ts";

export interface Opening {
  readonly step: string;
  readonly cycle: number;
  /** Holds from the moment the step may run. */
  readonly open: (heads: Heads) => boolean;
  /** The block from which `open` is expected to hold, for the message. */
  readonly from: number;
  /** The last block in which the step's effect counts; absent when it may be made up for later. */
  readonly last?: number;
}

/** A step that sends something that must be included inside a window: the next block is inside it. */
export function sendingWindow(task: Task, step: string, cycle: number, phase: Phase): Opening {
  const { first, last } = windowOf(task, cycle, phase);
  return { step, cycle, from: first, last, open: ({ best }) => best + 1 >= first };
}

/** A step that may only begin once a block is finalised, because it reads the chain there or must not leak before. */
export function afterFinalized(step: string, cycle: number, block: number, last?: number): Opening {
  return { step, cycle, from: block, ...(last === undefined ? {} : { last }), open: ({ finalized }) => finalized.number >= block };
}

/**
 * Returns when the step may run.
 * @throws phase-not-open when it is too early and `wait` is false; deadline-missed when the last useful block has passed.
 */
export async function awaitOpening(clock: ChainClock, opening: Opening, options: { wait: boolean; signal: AbortSignal }): Promise<Heads> {
  let heads = await clock.now();
  if (!opening.open(heads)) {
    if (!options.wait) {
      throw new ConnitoError(`${opening.step} of cycle ${opening.cycle} opens at block ${opening.from}; the chain is at ${heads.best}.`, {
        code: "phase-not-open",
        exit: "phaseNotOpen",
        retryable: true,
        hint: "Run it again later, or add --wait to block until it opens.",
      });
    }
    heads = await clock.until(opening.open, options.signal);
  }
  assertNotMissed(heads, opening);
  return heads;
}

/** @throws deadline-missed when the last useful block has passed */
export function assertNotMissed(heads: Heads, opening: Opening): void {
  if (opening.last !== undefined && heads.best >= opening.last) {
    throw new ConnitoError(
      `${opening.step} of cycle ${opening.cycle} had to be on the chain by block ${opening.last}; the chain is at ${heads.best}.`,
      {
        code: "deadline-missed",
        exit: "deadlineMissed",
        hint: "Nothing can be made up for in this cycle. `connito cycle status` shows when the next one starts.",
      },
    );
  }
}

/**
 * A signal that also fires, with out-of-time, once the chain is at a block, or found to be: what others hold up until then is gone without. `close` ends the
 * watching.
 */
export function signalAt(
  { clock, signal }: Pick<Context, "clock" | "signal">,
  block: number,
): { readonly signal: AbortSignal; readonly close: () => void } {
  const late = new AbortController();
  const look = ({ best }: Heads) => {
    if (best >= block) late.abort(outOfTime(block));
  };
  const close = clock.watch(look);
  // Only changes are told. Where the chain does not say now how far it is, the next change does.
  void clock.now().then(look, () => undefined);
  const either = AbortSignal.any([signal, late.signal]);
  // Each of many downloads listens.
  setMaxListeners(0, either);
  return { signal: either, close };
}

function outOfTime(block: number): ConnitoError {
  return new ConnitoError(`It did not come by block ${block}, and there is no time to wait longer.`, {
    code: "out-of-time",
    exit: "deadlineMissed",
    hint: "Look at the peers that were asked, and at this machine's line; a longer window leaves more time.",
  });
}

/** The cycle that the head is in. @throws phase-not-open before the task's first block. */
export function currentCycle(task: Task, heads: Heads): number {
  const cycle = cycleAt(task, heads.best);
  if (cycle === undefined) {
    throw new ConnitoError(`The task starts at block ${task.cycle.startBlock}; the chain is at ${heads.best}.`, {
      code: "phase-not-open",
      exit: "phaseNotOpen",
      retryable: true,
      hint: "Wait for the task's first block, or add --wait.",
    });
  }
  return cycle;
}
