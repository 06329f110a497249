/**
 * What validators agreed on in a past cycle: as this one noted it, or, where it was away, from the chain and its peers alone. Where they said what cannot
 * both be true, those who were there measured again; whoever was not leaves out what does not follow from the evidence, and knows nothing where that does
 * not settle it.
 */

import { ConnitoError } from "../../errors.ts";
import { type AgreedScore, agreedScores, disputedMiners, type WeighedReport } from "../../protocol/agreement.ts";
import type { SignedReport } from "../../protocol/report.ts";
import type { Task } from "../../protocol/task.ts";
import { readJson } from "../../workspace/files.ts";
import type { Context } from "../context.ts";
import { viewCycle } from "../cycle-view.ts";
import type { Membership } from "../membership.ts";
import { type ScoreEvidence, unfounded } from "./evidence.ts";
import { knownDraw } from "./held-out.ts";
import type { MergeResult } from "./merge.ts";
import { collectEvidence, collectReports, committedReports, weigh } from "./reports.ts";
import { scorersOf } from "./validators.ts";
import { readVerdicts } from "./verdicts.ts";

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
    const weighed = weigh(view, reports, await readVerdicts(context, membership, view));
    if (disputedMiners(weighed).length === 0) return agreedScores(weighed);
    const draw = await knownDraw(context, membership, cycle);
    const signed = weighed.map(({ report }) => reports.get(report.validator) as SignedReport);
    return settledByEvidence(membership.task, weighed, await collectEvidence(context, membership, draw, signed));
  } catch (error) {
    if (context.signal.aborted || !(error instanceof ConnitoError)) throw error;
    context.progress.note(`The scores of cycle ${cycle} cannot be known here: ${error.message}`, { code: error.code });
    return undefined;
  }
}

/**
 * What reports come to without measuring anything, by the evidence that their validators show: of disputed miners without what does not follow from the losses
 * shown with it. Whom that leaves disputed nobody knows of. So who shows no effect of own training, as where it had no time to ask, or because it lies, pays
 * nobody whom another shows to be not trained.
 */
export function settledByEvidence(
  task: Task,
  weighed: readonly WeighedReport[],
  shown: ReadonlyMap<string, ScoreEvidence | undefined>,
): AgreedScore[] {
  const disputed = disputedMiners(weighed);
  const borneOut = weighed.map(({ stake, report }) => {
    const wrong = unfounded(task, report.entries, shown.get(report.validator));
    const entries = report.entries.filter(({ miner }) => !disputed.includes(miner) || !wrong.includes(miner));
    return { stake, report: { ...report, entries } };
  });
  const open = new Set(disputedMiners(borneOut));
  const settled = new Map(agreedScores(borneOut).map((entry) => [entry.miner, entry]));
  return agreedScores(weighed).map((entry) => {
    const found = open.has(entry.miner) ? undefined : settled.get(entry.miner);
    return found ?? { ...entry, status: "unscored", score: 0 };
  });
}
