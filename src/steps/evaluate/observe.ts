/** How validators did in a past cycle: their reports against the agreed scores, and their groups' results against each other's. */

import { agreedScores } from "../../protocol/agreement.ts";
import { windowOf } from "../../protocol/clock.ts";
import { sameOutcome, settledOutcome } from "../../protocol/group-result.ts";
import { type Standing, standings } from "../../protocol/standing.ts";
import type { Context } from "../context.ts";
import { viewCycle } from "../cycle-view.ts";
import type { Membership } from "../membership.ts";
import { afterFinalized, awaitOpening } from "../windows.ts";
import { agreedVerdicts } from "./agreed.ts";
import { unfounded } from "./evidence.ts";
import { collectGroupResults, findGroupResult } from "./group-results.ts";
import { knownDraw } from "./held-out.ts";
import { collectEvidence, collectReports, committedReports, weigh } from "./reports.ts";
import { groupsOf, scorersOf } from "./validators.ts";
import { readVerdicts } from "./verdicts.ts";

export interface ObservedValidator extends Standing {
  readonly stake: bigint;
  /** Miners of whom it says something that does not follow from the losses it shows. */
  readonly unfounded: readonly string[];
  /** Groups of which it signed another result than more than half of their scoring stake, or, without such, than this machine computed. */
  readonly differingGroups: readonly number[];
}

/** @throws phase-not-open while reports of the cycle are not final */
export async function observeValidators(
  context: Context,
  membership: Membership,
  { cycle }: { cycle: number },
): Promise<{ readonly cycle: number; readonly validators: readonly ObservedValidator[] }> {
  const scoreEnd = windowOf(membership.task, cycle, "score").last;
  await awaitOpening(context.clock, afterFinalized("Observing", cycle, scoreEnd), { wait: false, signal: context.signal });
  const view = await viewCycle(context, membership, cycle);
  const scorers = await scorersOf(context, membership, view);
  const committed = await committedReports(context, membership, view, scorers);
  const reports = await collectReports(context, membership, view, scorers, committed);
  const differing = new Map<string, number[]>();
  for (const [group, drawn] of scorers.entries()) {
    const results = await collectGroupResults(context, membership, view, group, drawn);
    const right = settledOutcome(results, drawn) ?? (await findGroupResult(context, cycle, group));
    for (const result of results) {
      if (right === undefined || sameOutcome(result, right)) continue;
      differing.set(result.validator, [...(differing.get(result.validator) ?? []), group]);
    }
  }
  const draw = await knownDraw(context, membership, cycle);
  const shown = await collectEvidence(context, membership, draw, [...reports.values()]);
  const unfoundedOf = new Map(
    [...reports].map(([hotkey, { report }]) => [hotkey, unfounded(membership.task, report.entries, shown.get(hotkey))]),
  );
  const { validators } = view.participants;
  const rows = standings({
    validators: validators.map(({ hotkey }) => ({ hotkey, groups: groupsOf(scorers, hotkey) })),
    committed: new Set(committed.keys()),
    reports: new Map([...reports].map(([hotkey, { report }]) => [hotkey, report])),
    agreed:
      (await agreedVerdicts(context, membership, cycle)) ??
      agreedScores(weigh(view, reports, await readVerdicts(context, membership, view))),
  });
  return {
    cycle,
    validators: rows.map((row, index) => ({
      ...row,
      stake: validators[index]?.stake ?? 0n,
      unfounded: unfoundedOf.get(row.validator) ?? [],
      differingGroups: differing.get(row.validator) ?? [],
    })),
  };
}
