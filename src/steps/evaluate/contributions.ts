/** Each group's part of the merge: computed from the submissions by those drawn to score the group, taken from them by the others. */

import { ConnitoError } from "../../errors.ts";
import { elementsOf } from "../../model/dtype.ts";
import { pieceName } from "../../model/pieces.ts";
import { piecesOf } from "../../model/weights.ts";
import { type AgreedScore, mergeOrder } from "../../protocol/agreement.ts";
import { votingWindows } from "../../protocol/clock.ts";
import { type GroupOutcome, type GroupResult, sameOutcome, settledOutcome } from "../../protocol/group-result.ts";
import type { Validator } from "../chain-records.ts";
import type { Context } from "../context.ts";
import type { CycleView } from "../cycle-view.ts";
import { selectExperts } from "../distribute/select-experts.ts";
import type { Slice } from "../distribute/slice.ts";
import { peerSources } from "../fetch.ts";
import type { Membership } from "../membership.ts";
import { openCandidate, roomForDecoded } from "./candidates.ts";
import { collectGroupResults, fetchGradient, findGroupResult, publishGroupResult } from "./group-results.ts";
import { type Contribution, type GroupGradient, gateContributions, type MergeSearch, nothing } from "./merge-groups.ts";
import { scorersOf } from "./validators.ts";
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
  const own = [...order.keys()].filter(isDrawn);
  for (const computed of await fromSubmissions(context, membership, work, own, order)) {
    const { kept } = await publishGroupResult(context, membership, work.view, computed);
    gradients.set(computed.group, kept);
  }
  for (const group of order.keys()) {
    if (!isDrawn(group)) gradients.set(group, await fromScorers(context, membership, work, group, order));
  }
  return [...order.keys()].map((group) => gradients.get(group) as GroupGradient);
}

/** When all have voted: names the scorers that signed another result of a group than this validator, which computed it as well. */
export async function compareResults(context: Context, membership: Membership, view: CycleView): Promise<void> {
  for (const [group, drawn] of (await scorersOf(context, membership, view)).entries()) {
    const own = await findGroupResult(context, view.cycle, group);
    if (own === undefined || !drawn.some(({ hotkey }) => hotkey === context.signer.address)) continue;
    nameDiffering(context, group, await collectGroupResults(context, membership, view, group, drawn), own);
  }
}

async function mergeOrderOf(context: Context, membership: Membership, { view, verdicts }: GroupWork): Promise<AgreedScore[][]> {
  const { task } = membership;
  const { commits } = await readVerdicts(context, membership, view);
  return mergeOrder({ agreed: verdicts, commits, groups: task.experts.groups, contributors: task.merge.contributors });
}

/** Some groups' gradients, computed here: one pass over the model for each round of the gate, whatever the number of groups. */
async function fromSubmissions(
  context: Context,
  membership: Membership,
  { view, slice, search }: GroupWork,
  groups: readonly number[],
  order: readonly (readonly AgreedScore[])[],
): Promise<GroupGradient[]> {
  const { verdicts } = await readVerdicts(context, membership, view);
  const sources = await peerSources(context, membership.task);
  const place = { slice, view, room: roomForDecoded() };
  const open = async ({ miner }: AgreedScore): Promise<Contribution[]> => {
    const verdict = verdicts.find((candidate) => candidate.miner === miner);
    if (verdict?.status !== "to-fetch") return [];
    const candidate = await openCandidate(context, membership, place, miner, verdict.reveal.record, sources);
    if ("deltas" in candidate) return [{ miner, deltas: candidate.deltas }];
    throw new ConnitoError(`The accepted submission of ${miner} is not here: ${candidate.reason}`, {
      code: "submission-missing",
      exit: "network",
      retryable: true,
      hint: "Without it this validator would compute another version than the others; it is asked for again until the merge window ends.",
    });
  };
  const contributions = groups.map(async (group) => ({ group, ranked: (await Promise.all((order[group] ?? []).map(open))).flat() }));
  return gateContributions(search, await Promise.all(contributions));
}

/** Waits for the scorers through three quarters of the time for ballots; if they do not agree by then, the submissions decide. */
async function fromScorers(
  context: Context,
  membership: Membership,
  work: GroupWork,
  group: number,
  order: readonly (readonly AgreedScore[])[],
): Promise<GroupGradient> {
  const none = { group, contributors: [], gradient: nothing };
  if (order[group]?.length === 0) return none;
  const { view, slice, scorers } = work;
  const drawn = scorers[group] ?? [];
  const { first, last } = votingWindows(membership.task, view.cycle).ballot;
  const patience = first + Math.floor((3 * (last - first)) / 4);
  for (;;) {
    const results = await collectGroupResults(context, membership, view, group, drawn);
    const settled = settledOutcome(results, drawn);
    if (settled !== undefined) {
      nameDiffering(context, group, results, settled);
      if (settled.gradient === null) return none;
      const pieces = piecesOf(slice.manifest, "expert", await selectExperts(context, membership, slice.manager, group));
      const sizes = new Map(pieces.map((piece) => [pieceName(piece), elementsOf(piece.shape) as number]));
      const gradient = await fetchGradient(context, membership, settled.gradient, sizes).catch(unusable(context, group));
      if (gradient !== undefined) return { group, contributors: settled.contributors, gradient };
    } else {
      const { best } = await context.clock.now();
      if (best < patience && results.length < drawn.length) {
        await context.clock.until((heads) => heads.best > best, context.signal);
        continue;
      }
    }
    const [own] = await fromSubmissions(context, membership, work, [group], order);
    const { outcome, kept } = await publishGroupResult(context, membership, view, own as GroupGradient);
    nameDiffering(context, group, results, outcome);
    return kept;
  }
}

/** A gradient that cannot be had, or used, is no reason to stay behind: the submissions are there as well. */
function unusable({ progress, signal }: Context, group: number): (error: unknown) => undefined {
  return (error) => {
    if (signal.aborted || !(error instanceof ConnitoError)) throw error;
    progress.note(`Group ${group} is computed from its submissions: ${error.message}`, { code: error.code, group });
  };
}

function nameDiffering({ progress }: Context, group: number, results: readonly GroupResult[], outcome: GroupOutcome): void {
  const validators = results.filter((result) => !sameOutcome(result, outcome)).map(({ validator }) => validator);
  if (validators.length === 0) return;
  progress.note(`Group ${group}: ${validators.join(", ")} signed another result than its submissions give.`, {
    code: "group-result-differs",
    group,
    validators,
  });
}
