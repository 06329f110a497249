/** Each group's part of the merge: computed from the submissions by those drawn to score the group, taken from them by the others. */

import { ConnitoError } from "../../errors.ts";
import { piecesOf } from "../../model/weights.ts";
import { type AgreedScore, mergeOrder } from "../../protocol/agreement.ts";
import { votingWindows } from "../../protocol/clock.ts";
import { sameOutcome, settledOutcome } from "../../protocol/group-result.ts";
import type { Validator } from "../chain-records.ts";
import type { Context } from "../context.ts";
import type { CycleView } from "../cycle-view.ts";
import { selectExperts } from "../distribute/select-experts.ts";
import type { Slice } from "../distribute/slice.ts";
import { peerSources } from "../fetch.ts";
import type { Membership } from "../membership.ts";
import { openCandidate } from "./candidates.ts";
import { collectGroupResults, fetchGradient, publishGroupResult } from "./group-results.ts";
import { type Contribution, type GroupGradient, gateContributions, type MergeSearch } from "./merge-groups.ts";
import { readVerdicts } from "./verdicts.ts";

export interface GroupWork {
  readonly view: CycleView;
  readonly slice: Slice;
  readonly scorers: readonly (readonly Validator[])[];
  readonly verdicts: readonly AgreedScore[];
  readonly search: MergeSearch;
}

/** One gradient a group, in the order of the groups. What this validator was drawn for is computed and shown before it asks others. */
export async function groupGradients(context: Context, membership: Membership, work: GroupWork): Promise<GroupGradient[]> {
  const order = await mergeOrderOf(context, membership, work);
  const gradients = new Map<number, GroupGradient>();
  const isDrawn = (group: number) => work.scorers[group]?.some(({ hotkey }) => hotkey === context.signer.address) === true;
  for (const group of order.keys()) {
    if (!isDrawn(group)) continue;
    const own = await fromSubmissions(context, membership, work, group, order[group] ?? []);
    await publishGroupResult(context, membership, work.view, own);
    gradients.set(group, own);
  }
  for (const group of order.keys()) {
    if (!isDrawn(group)) gradients.set(group, await fromScorers(context, membership, work, group, order[group] ?? []));
  }
  return [...order.keys()].map((group) => gradients.get(group) as GroupGradient);
}

async function mergeOrderOf(context: Context, membership: Membership, { view, verdicts }: GroupWork): Promise<AgreedScore[][]> {
  const { task } = membership;
  const { commits } = await readVerdicts(context, membership, view);
  return mergeOrder({ agreed: verdicts, commits, groups: task.experts.groups, contributors: task.merge.contributors });
}

async function fromSubmissions(
  context: Context,
  membership: Membership,
  { view, slice, search }: GroupWork,
  group: number,
  ranked: readonly AgreedScore[],
): Promise<GroupGradient> {
  const { verdicts } = await readVerdicts(context, membership, view);
  const sources = await peerSources(context, membership.task);
  const open = async ({ miner }: AgreedScore): Promise<Contribution[]> => {
    const verdict = verdicts.find((candidate) => candidate.miner === miner);
    if (verdict?.status !== "to-fetch") return [];
    const candidate = await openCandidate(context, membership, { slice, view }, miner, verdict.reveal.record, sources);
    if ("deltas" in candidate) return [{ miner, deltas: candidate.deltas }];
    throw new ConnitoError(`The accepted submission of ${miner} is not here: ${candidate.reason}`, {
      code: "submission-missing",
      exit: "network",
      retryable: true,
      hint: "Without it this validator would compute another version than the others; it is asked for again until the merge window ends.",
    });
  };
  const contributions = (await Promise.all(ranked.map(open))).flat();
  return gateContributions(search, group, contributions);
}

/** Waits for the scorers through three quarters of the time for ballots; if they do not agree by then, the submissions decide. */
async function fromScorers(
  context: Context,
  membership: Membership,
  work: GroupWork,
  group: number,
  ranked: readonly AgreedScore[],
): Promise<GroupGradient> {
  if (ranked.length === 0) return { group, contributors: [], gradient: new Map() };
  const { view, slice, scorers } = work;
  const drawn = scorers[group] ?? [];
  const { first, last } = votingWindows(membership.task, view.cycle).ballot;
  const patience = first + Math.floor((3 * (last - first)) / 4);
  for (;;) {
    const results = await collectGroupResults(context, membership, view, group, drawn);
    const settled = settledOutcome(results, drawn);
    if (settled !== undefined) {
      nameDiffering(
        context,
        group,
        results.filter((result) => !sameOutcome(result, settled)).map(({ validator }) => validator),
      );
      if (settled.gradient === null) return { group, contributors: [], gradient: new Map() };
      const pieces = piecesOf(slice.manifest, "expert", await selectExperts(context, membership, slice.manager, group));
      return { group, contributors: settled.contributors, gradient: await fetchGradient(context, membership, settled.gradient, pieces) };
    }
    const { best } = await context.clock.now();
    if (best < patience && results.length < drawn.length) {
      await context.clock.until((heads) => heads.best > best, context.signal);
      continue;
    }
    const own = await fromSubmissions(context, membership, work, group, ranked);
    const outcome = await publishGroupResult(context, membership, view, own);
    nameDiffering(
      context,
      group,
      results.filter((result) => !sameOutcome(result, outcome)).map(({ validator }) => validator),
    );
    return own;
  }
}

function nameDiffering({ progress }: Context, group: number, validators: readonly string[]): void {
  if (validators.length === 0) return;
  progress.note(`Group ${group}: ${validators.join(", ")} signed another result than its submissions give.`, {
    code: "group-result-differs",
    group,
    validators,
  });
}
