/**
 * Runs a role through cycles. Level-triggered: at the start, and in every cycle, it looks where the chain is, finds what the workspace
 * says is done, and does the rest. What cannot be done in time is said and passed over; the next cycle is a new chance. Slots are never
 * queued: after an outage it goes on with the cycle that the chain is in.
 */

import { ConnitoError } from "../errors.ts";
import { cycleAt, windowOf } from "../protocol/clock.ts";
import type { Heads } from "../steps/clock.ts";
import type { Context } from "../steps/context.ts";
import { viewBlock } from "../steps/cycle-view.ts";
import type { Membership } from "../steps/membership.ts";
import { retry } from "../steps/retry.ts";
import type { CycleStep } from "./roles.ts";

export type StepOutcome = "done" | "skipped" | "failed";

export interface StepEvent {
  readonly event: "step";
  readonly cycle: number;
  readonly step: string;
  readonly outcome: StepOutcome;
  /** The step's result, when done. */
  readonly result?: object;
  /** Why not, otherwise. */
  readonly error?: { readonly code: string; readonly message: string; readonly hint: string };
}

export interface RunInput {
  readonly steps: readonly CycleStep[];
  /** Done while the task has not started yet. */
  readonly prepare?: ((context: Context, membership: Membership) => Promise<object>) | undefined;
  /** End after so many cycles, counted from the first that is begun; absent: until stopped. */
  readonly cycles?: number;
  readonly onEvent: (event: StepEvent) => void;
}

export interface RunResult {
  readonly firstCycle: number;
  readonly cycles: number;
  /** Outcomes by cycle and step. */
  readonly outcomes: readonly Pick<StepEvent, "cycle" | "step" | "outcome">[];
}

/** Failures that the next cycle cannot mend: the runner ends with them. */
const fatalCodes = new Set(["journal-corrupt", "state-locked", "disk-full", "wallet-password-wrong", "task-mismatch"]);
/** Failures that mean "not this cycle" and nothing worse. */
const skippingCodes = new Set(["deadline-missed", "not-assigned", "nothing-to-commit", "nothing-to-reveal", "not-a-validator"]);

/** @throws what no later cycle can mend, and whatever is not a ConnitoError. */
export async function runCycles(
  context: Context,
  membership: Membership,
  { steps, prepare, cycles, onEvent }: RunInput,
): Promise<RunResult> {
  const { task } = membership;
  const outcomes: Pick<StepEvent, "cycle" | "step" | "outcome">[] = [];
  const { firstCycle, current, end } = await planRun(context, membership, cycles);
  if (cycleAt(task, (await headsOf(context)).best) === undefined) await prepareQuietly(context, membership, prepare);
  // A run that was killed in its last cycle and comes back after it still does what of that cycle can be done late.
  for (let cycle = Math.max(firstCycle, Math.min(current, end - 1)); cycle < end; ) {
    await context.clock.until(({ finalized }) => finalized.number >= viewBlock(membership, cycle), context.signal);
    for (const step of steps) {
      const event = await runStep(context, membership, step, cycle);
      outcomes.push({ cycle, step: step.name, outcome: event.outcome });
      onEvent(event);
    }
    const { best } = await headsOf(context);
    cycle = Math.max(cycle + 1, cycleAt(task, best) ?? 0);
  }
  if (cycles !== undefined) await context.workspace.journal.effect("run", { firstCycle, cycles });
  return { firstCycle, cycles: end - firstCycle, outcomes };
}

/** The heads, however long the chain is away. */
function headsOf({ clock, signal }: Context): Promise<Heads> {
  return retry(() => clock.now(), { signal, pause: clock.pause });
}

/** Preparation is a favour to the first cycle: what of it fails now, the steps do when they need it. */
async function prepareQuietly(context: Context, membership: Membership, prepare: RunInput["prepare"]): Promise<void> {
  try {
    await prepare?.(context, membership);
  } catch (error) {
    if (context.signal.aborted || !(error instanceof ConnitoError) || fatalCodes.has(error.code)) throw error;
    context.progress.note(`Not prepared yet: ${error.message}`, { code: error.code });
  }
}

/**
 * Which cycles a bounded run covers. The plan is in the journal until it is finished, so that a run that was killed and is started
 * again with the same --cycles ends where it would have ended.
 */
async function planRun(
  context: Context,
  membership: Membership,
  cycles: number | undefined,
): Promise<{ firstCycle: number; current: number; end: number }> {
  const { journal } = context.workspace;
  const { best } = await headsOf(context);
  const current = cycleAt(membership.task, best) ?? 0;
  if (cycles === undefined) return { firstCycle: current, current, end: Number.POSITIVE_INFINITY };
  const noted = journal.find("run");
  const planned = noted.intent?.data as { firstCycle: number; cycles: number } | undefined;
  if (planned !== undefined && noted.effect === undefined && planned.cycles === cycles) {
    return { firstCycle: planned.firstCycle, current, end: planned.firstCycle + cycles };
  }
  await journal.intent("run", { firstCycle: current, cycles });
  return { firstCycle: current, current, end: current + cycles };
}

async function runStep(context: Context, membership: Membership, step: CycleStep, cycle: number): Promise<StepEvent> {
  // Late is better than never for steps without a deadline of their own, but the next cycle's work must not wait for this one's.
  const patience = windowOf(membership.task, cycle + 1, "distribute").last;
  let said = "";
  try {
    const result = await retry(() => step.run(context, membership, { cycle, wait: true }), {
      signal: context.signal,
      pause: context.clock.pause,
      goOn: async (error) => !skippingCodes.has(error.code) && !fatalCodes.has(error.code) && (await headOrNothing(context)) <= patience,
      onRetry({ code, message }) {
        // Once: an outage of hours is one piece of news.
        if (message !== said) context.progress.note(`Cycle ${cycle}, ${step.name}: ${message} Trying again.`, { code });
        said = message;
      },
    });
    return { event: "step", cycle, step: step.name, outcome: "done", result };
  } catch (error) {
    if (context.signal.aborted || !(error instanceof ConnitoError) || fatalCodes.has(error.code)) throw error;
    const { code, message, hint } = error;
    return {
      event: "step",
      cycle,
      step: step.name,
      outcome: skippingCodes.has(code) ? "skipped" : "failed",
      error: { code, message, hint },
    };
  }
}

/** The head's number, or 0 while the chain cannot be asked: then there is no reason yet to give up. */
async function headOrNothing(context: Context): Promise<number> {
  return context.clock.now().then(
    ({ best }) => best,
    () => 0,
  );
}
