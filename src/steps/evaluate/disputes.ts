/**
 * Scores where validators contradict each other. A group has few scorers, and one with much stake could decide alone what its miners earned; so
 * whoever merges measures what is disputed again, and what that contradicts does not count, whatever the stake behind it. Who said it is named.
 */

import { type AgreedScore, agreedScores, areCompatible, contradictsChain, disputedMiners } from "../../protocol/agreement.ts";
import { votingWindows } from "../../protocol/clock.ts";
import { groupOfMiner } from "../../protocol/experts/assignment.ts";
import type { ReportEntry, SignedReport } from "../../protocol/report.ts";
import type { ChainVerdict } from "../../protocol/verdict.ts";
import type { Context } from "../context.ts";
import type { CycleView } from "../cycle-view.ts";
import { peerSources } from "../fetch.ts";
import type { Membership } from "../membership.ts";
import { findReport, findUnsure, weigh } from "./reports.ts";
import { measureGroups } from "./score.ts";
import { readVerdicts } from "./verdicts.ts";

/**
 * The agreed scores of a cycle. What this validator scored itself is not measured twice, unless its time was too short for it, or a submission of the group
 * was missing.
 */
export async function settleScores(
  context: Context,
  membership: Membership,
  view: CycleView,
  reports: ReadonlyMap<string, SignedReport>,
  { beforeMeasuring }: { readonly beforeMeasuring: () => Promise<void> },
): Promise<AgreedScore[]> {
  const { verdicts } = await readVerdicts(context, membership, view);
  const weighed = weigh(view, reports, { verdicts });
  nameChainContradicted(context, reports, verdicts);
  const disputed = disputedMiners(weighed);
  if (disputed.length === 0) return agreedScores(weighed);
  const measured = await measureDisputed(context, membership, view, disputed, beforeMeasuring);
  for (const { report } of weighed) {
    const wrong = report.entries.filter((entry) => {
      const own = measured.get(entry.miner);
      return own !== undefined && !areCompatible(entry, own);
    });
    if (wrong.length === 0) continue;
    const miners = wrong.map(({ miner }) => miner);
    context.progress.note(`${report.validator} reported what measuring again contradicts, of ${miners.join(", ")}.`, {
      code: "report-contradicted",
      validator: report.validator,
      miners,
    });
  }
  return agreedScores(weighed, measured);
}

/** What the chain alone contradicts counts for nobody, and needs no measuring. */
function nameChainContradicted(context: Context, reports: ReadonlyMap<string, SignedReport>, verdicts: readonly ChainVerdict[]): void {
  const byMiner = new Map(verdicts.map((verdict) => [verdict.miner, verdict]));
  for (const { report } of reports.values()) {
    const wrong = report.entries.filter((entry) => contradictsChain(entry, byMiner.get(entry.miner) as ChainVerdict));
    if (wrong.length === 0) continue;
    const miners = wrong.map(({ miner }) => miner);
    context.progress.note(`${report.validator} reported what the chain contradicts, of ${miners.join(", ")}.`, {
      code: "report-contradicted",
      validator: report.validator,
      miners,
    });
  }
}

async function measureDisputed(
  context: Context,
  membership: Membership,
  view: CycleView,
  disputed: readonly string[],
  beforeMeasuring: () => Promise<void>,
): Promise<Map<string, ReportEntry>> {
  const own = await findReport(context.workspace, view.cycle, context.signer.address);
  const unsure = await findUnsure(context.workspace, view.cycle);
  const known = (own?.report.entries ?? []).filter(
    ({ miner, status }) => disputed.includes(miner) && !unsure.includes(miner) && status !== "unscored" && status !== "unreachable",
  );
  const open = disputed.filter((miner) => !known.some((entry) => entry.miner === miner));
  const groups = new Set(open.map((miner) => groupOfMiner(view.assignment, miner) as number));
  if (groups.size === 0) return new Map(known.map((entry) => [entry.miner, entry]));
  await beforeMeasuring();
  const { first, last } = votingWindows(membership.task, view.cycle).ballot;
  const end = first + Math.floor((3 * (last - first)) / 4);
  const sources = await peerSources(context, membership.task);
  const { entries, hasty } = await measureGroups(context, membership, view, { groups: [...groups], end, sources });
  // What nobody has now is missing to all. Whoever could not be reached may have been reached by others: of them this validator says nothing.
  const found = entries.filter(
    ({ miner, status }) => open.includes(miner) && !hasty.includes(miner) && status !== "unscored" && status !== "unreachable",
  );
  return new Map([...known, ...found].map((entry) => [entry.miner, entry]));
}
