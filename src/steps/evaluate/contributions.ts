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
import { noteGradient } from "./gradients.ts";
import {
  collectGroupResults,
  fetchGradient,
  findGroupResult,
  type KeptResult,
  keepGroupResult,
  publishGroupResult,
} from "./group-results.ts";
import { type OpenModel, openWholeModel } from "./losses.ts";
import { type Contribution, type GroupGradient, gateContributions, type MergeSearch, nothing } from "./merge-groups.ts";
import { openSearch } from "./search.ts";
import { groupsOf, scorersOf } from "./validators.ts";
import { readVerdicts } from "./verdicts.ts";

/** What is merged of whom, group by group, and with what. */
export interface GroupWork {
  readonly view: CycleView;
  readonly slice: Slice;
  readonly scorers: readonly (readonly Validator[])[];
  readonly order: readonly (readonly AgreedScore[])[];
  readonly search: MergeSearch;
}

/** What of a merge follows from chain and reports alone, before this machine opens anything for it. */
export type MergePlan = Pick<GroupWork, "view" | "scorers" | "order">;

/** What a merge in some order needs of this machine: the version, opened, and this validator's own part. Whoever has it closes the model. */
export interface OwnPart {
  readonly opened: OpenModel;
  readonly search: MergeSearch;
  readonly own: readonly KeptResult[];
}

/** The accepted of each group that are tried, in the order in which they are. */
export async function mergeOrderOf(
  context: Context,
  membership: Membership,
  view: CycleView,
  verdicts: readonly AgreedScore[],
): Promise<AgreedScore[][]> {
  const { task } = membership;
  const { commits } = await readVerdicts(context, membership, view);
  return mergeOrder({ agreed: verdicts, commits, groups: task.experts.groups, contributors: task.merge.contributors });
}

/** Opens the version, and computes and keeps what this validator was drawn for; nobody sees it yet. */
export async function ownPart(context: Context, membership: Membership, plan: MergePlan): Promise<OwnPart> {
  const opened = await openWholeModel(context, membership, plan.view.base);
  try {
    const search = await openSearch(context, membership, plan.view, opened);
    const work = { ...plan, slice: opened.slice, search };
    const computed = await fromSubmissions(context, membership, work, groupsOf(plan.scorers, context.signer.address));
    const own = await keptOf(context, plan.view, computed);
    return { opened, search, own };
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/** One gradient a group, in the order of the groups. This validator's own are shown before it asks others. */
export async function groupGradients(
  context: Context,
  membership: Membership,
  work: GroupWork,
  own: readonly KeptResult[],
): Promise<GroupGradient[]> {
  const gradients = new Map(own.map(({ kept }) => [kept.group, kept]));
  for (const result of own) await publishGroupResult(context, membership, work.view, result);
  for (const group of work.order.keys())
    if (!gradients.has(group)) gradients.set(group, await fromScorers(context, membership, work, group));
  return [...work.order.keys()].map((group) => gradients.get(group) as GroupGradient);
}

async function keptOf(context: Context, view: CycleView, computed: readonly GroupGradient[]): Promise<KeptResult[]> {
  const results: KeptResult[] = [];
  for (const one of computed) results.push(await keepGroupResult(context, view, one));
  return results;
}

/** When all have voted: names the scorers that signed another result of a group than this validator, which computed it as well. */
export async function compareResults(context: Context, membership: Membership, view: CycleView): Promise<void> {
  for (const [group, drawn] of (await scorersOf(context, membership, view)).entries()) {
    const own = await findGroupResult(context, view.cycle, group);
    if (own === undefined || !drawn.some(({ hotkey }) => hotkey === context.signer.address)) continue;
    nameDiffering(context, group, await collectGroupResults(context, membership, view, group, drawn), own);
  }
}

/** Some groups' gradients, computed here: one pass over the model for each round of the gate, whatever the number of groups. */
async function fromSubmissions(
  context: Context,
  membership: Membership,
  { view, slice, search, order }: GroupWork,
  groups: readonly number[],
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
async function fromScorers(context: Context, membership: Membership, work: GroupWork, group: number): Promise<GroupGradient> {
  const none = { group, contributors: [], gradient: nothing };
  const { view, slice, scorers, order } = work;
  if (order[group]?.length === 0) return none;
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
      // What is here already is something else that scorers named, or noted.
      if (!(await context.workspace.objects.has(settled.gradient))) await noteGradient(context.workspace, view.cycle, settled.gradient);
      const gradient = await fetchGradient(context, membership, settled.gradient, sizes).catch(unusable(context, group));
      if (gradient !== undefined) return { group, contributors: settled.contributors, gradient };
    } else {
      const { best } = await context.clock.now();
      if (best < patience && results.length < drawn.length) {
        await context.clock.until((heads) => heads.best > best, context.signal);
        continue;
      }
    }
    const [own] = await keptOf(context, view, await fromSubmissions(context, membership, work, [group]));
    const { outcome, kept } = own as KeptResult;
    await publishGroupResult(context, membership, view, { outcome, kept });
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
