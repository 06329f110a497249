/**
 * The merge computed ahead. Between its report and the opening of the others' a validator has nothing to do, and what it found is nearly always what is agreed:
 * so it merges by its own verdicts meanwhile, and where the agreed ones lead to the same order, the result stands. Nothing of it is shown before.
 */
import { ConnitoError } from "../../errors.ts";
import type { Context } from "../context.ts";
import { viewCycle } from "../cycle-view.ts";
import type { Membership } from "../membership.ts";
import { type MergePlan, mergeOrderOf, type OwnPart, ownPart } from "./contributions.ts";
import { type MergeOutcome, mergeGroups } from "./merge-groups.ts";
import { findReport } from "./reports.ts";
import { groupsOf, scorersOf } from "./validators.ts";

export type Foreseen = OwnPart & { readonly outcome: MergeOutcome };

export interface Foresight {
  /** What was computed for this order, and is the caller's to close then; waits for what is under way for it, and ends what is under way for another. */
  by(order: MergePlan["order"]): Promise<Foreseen | undefined>;
  /** Ends what is under way, and closes what nobody took: before anything else is measured, or two models would be open. */
  close(): Promise<void>;
}

/**
 * Begins to merge by this validator's own verdicts, where it was drawn for all groups: with fewer it could not know the order. What goes wrong is said, and left
 * to the merge itself.
 */
export function foresee(context: Context, membership: Membership, cycle: number): Foresight {
  const ending = new AbortController();
  const ahead = { ...context, signal: AbortSignal.any([context.signal, ending.signal]) };
  const orSayWhy = <T>(work: Promise<T>): Promise<T | undefined> =>
    work.catch((error: unknown) => {
      if (!ahead.signal.aborted) sayWhy(context, error);
      return undefined;
    });
  const plan = orSayWhy(ownPlan(ahead, membership, cycle));
  const result = plan.then((known) => known && orSayWhy(mergeBy(ahead, membership, known)));
  let taken = false;
  const take = async () => {
    const foreseen = await result;
    if (taken) return undefined;
    taken = true;
    return foreseen;
  };
  const close = async () => {
    ending.abort();
    await (await take())?.opened.close();
  };
  return {
    by: async (order) => {
      const known = await plan;
      if (known === undefined || !isSameOrder(known.order, order)) {
        await close();
        return undefined;
      }
      const foreseen = await take();
      if (foreseen !== undefined)
        context.progress.note("The merge was computed while reports were waited for.", { code: "merge-foreseen" });
      return foreseen;
    },
    close,
  };
}

/** The merge that follows if all others report what this validator did. */
async function ownPlan(context: Context, membership: Membership, cycle: number): Promise<MergePlan | undefined> {
  const { address } = context.signer;
  const reported = await findReport(context.workspace, cycle, address);
  if (reported === undefined) return undefined;
  const view = await viewCycle(context, membership, cycle);
  const scorers = await scorersOf(context, membership, view);
  if (groupsOf(scorers, address).length < scorers.length) return undefined;
  return { view, scorers, order: await mergeOrderOf(context, membership, view, reported.report.entries) };
}

async function mergeBy(context: Context, membership: Membership, plan: MergePlan): Promise<Foreseen> {
  const part = await ownPart(context, membership, plan);
  const gradients = part.own.map(({ kept }) => kept);
  try {
    return { ...part, outcome: await mergeGroups(part.search, gradients) };
  } catch (error) {
    await part.opened.close();
    throw error;
  }
}

/** What is merged follows from the submissions and their order; scores have no other say. */
function isSameOrder(a: MergePlan["order"], b: MergePlan["order"]): boolean {
  const named = (order: MergePlan["order"]) => order.map((group) => group.map(({ miner, root }) => [miner, root]));
  return JSON.stringify(named(a)) === JSON.stringify(named(b));
}

function sayWhy({ progress }: Context, error: unknown): void {
  const why = error instanceof Error ? error.message : String(error);
  const code = error instanceof ConnitoError ? error.code : "internal";
  progress.note(`The merge is not computed ahead: ${why}`, { code });
}
