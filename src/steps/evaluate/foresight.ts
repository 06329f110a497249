/**
 * The merge computed ahead. Between its report and the opening of the others' a validator has nothing to do, and what it found is nearly always what is agreed:
 * so it merges by its own verdicts meanwhile, and where the agreed ones lead to the same order, the result stands. Nothing of it is shown before.
 */
import { ConnitoError } from "../../errors.ts";
import type { ReportEntry } from "../../protocol/report.ts";
import type { Context } from "../context.ts";
import type { CycleView } from "../cycle-view.ts";
import type { Membership } from "../membership.ts";
import { type MergePlan, mergeOrderOf, type OwnPart, ownPart } from "./contributions.ts";
import { type MergeOutcome, mergeGroups } from "./merge-groups.ts";
import { findReport, findUnsure } from "./reports.ts";
import { groupsOf, scorersOf } from "./validators.ts";

export type Foreseen = OwnPart & { readonly outcome: MergeOutcome };

export interface Foresight {
  /** What was computed for this order, and is the caller's to close then; waits for what is under way for it, and ends what is under way for another. */
  by(order: MergePlan["order"]): Promise<Foreseen | undefined>;
  /** Ends what is under way, and closes what nobody took. */
  close(): Promise<void>;
}

/**
 * Begins to merge by this validator's own verdicts; nothing where it was not drawn for all groups, or is not sure of what it found. What goes wrong is said, and
 * left to the merge itself.
 */
export async function foresee(context: Context, membership: Membership, view: CycleView): Promise<Foresight | undefined> {
  const entries = await sureEntries(context, view.cycle);
  if (entries === undefined) return undefined;
  const scorers = await scorersOf(context, membership, view);
  if (groupsOf(scorers, context.signer.address).length < scorers.length) return undefined;
  const order = await mergeOrderOf(context, membership, view, entries);
  const ending = new AbortController();
  const ended = AbortSignal.any([context.signal, ending.signal]);
  const result = mergeBy({ ...context, signal: ended }, membership, { view, scorers, order }).catch((error: unknown) => {
    if (!ending.signal.aborted && !context.signal.aborted) sayWhy(context, error);
    return undefined;
  });
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
    by: async (agreed) => {
      if (!isSameOrder(order, agreed)) {
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

/** What this validator reported, where nothing of it is open: who was not scored, or by less than was to be asked, may be judged otherwise in the end. */
async function sureEntries({ workspace, signer }: Context, cycle: number): Promise<readonly ReportEntry[] | undefined> {
  const known = await findReport(workspace, cycle, signer.address);
  const isSure = known?.report.entries.every(({ status }) => status !== "unscored" && status !== "unreachable");
  return isSure && (await findUnsure(workspace, cycle)).length === 0 ? known?.report.entries : undefined;
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
