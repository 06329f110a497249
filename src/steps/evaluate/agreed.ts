/**
 * What validators agreed on in a past cycle: as this one noted it, or, where it was away, from the chain and its peers alone. Of whom they said what
 * cannot both be true it then knows nothing: who was there measured again.
 */

import { ConnitoError } from "../../errors.ts";
import { type AgreedScore, agreedScores, disputedMiners } from "../../protocol/agreement.ts";
import { readJson } from "../../workspace/files.ts";
import type { Context } from "../context.ts";
import { viewCycle } from "../cycle-view.ts";
import type { Membership } from "../membership.ts";
import type { MergeResult } from "./merge.ts";
import { collectReports, committedReports, weigh } from "./reports.ts";
import { scorersOf } from "./validators.ts";

/** The agreed verdicts of a cycle whose score window is final; undefined where they cannot be known any more, which is said. */
export async function agreedVerdicts(context: Context, membership: Membership, cycle: number): Promise<readonly AgreedScore[] | undefined> {
  const merged = await readJson<Pick<MergeResult, "verdicts">>(context.workspace.layout.cycle(cycle, "merge.json"));
  if (merged !== undefined) return merged.verdicts;
  try {
    const view = await viewCycle(context, membership, cycle);
    const scorers = await scorersOf(context, membership, view);
    const committed = await committedReports(context, membership, view, scorers);
    const reports = await collectReports(context, membership, view, scorers, committed);
    if (reports.size < committed.size) {
      const missing = [...committed.keys()].filter((hotkey) => !reports.has(hotkey));
      context.progress.note(`Reports of cycle ${cycle} that nobody delivers: ${missing.join(", ")}`, { code: "reports-missing", missing });
    }
    const weighed = weigh(view, reports);
    const disputed = new Set(disputedMiners(weighed));
    return agreedScores(weighed).map((entry) => (disputed.has(entry.miner) ? { ...entry, status: "unscored", score: 0 } : entry));
  } catch (error) {
    if (context.signal.aborted || !(error instanceof ConnitoError)) throw error;
    context.progress.note(`The scores of cycle ${cycle} cannot be known here: ${error.message}`, { code: error.code });
    return undefined;
  }
}
