/** A miner's experts in a cycle: its slice here, its group's selected pieces, and the model's weights with stand-ins for the rest. */

import { type Piece, pieceName } from "../../model/pieces.ts";
import { submissionPlaces } from "../../model/submission.ts";
import { piecesOf } from "../../model/weights.ts";
import { type Run, trainingShare } from "../../protocol/training-share.ts";
import type { Context } from "../context.ts";
import { assignedGroup, type CycleView } from "../cycle-view.ts";
import { selectExperts } from "../distribute/select-experts.ts";
import { resolveSlice, type Slice, slice } from "../distribute/slice.ts";
import type { Membership } from "../membership.ts";
import { sliceWeights } from "../model-weights.ts";
import { openTaskData, type TaskSequences } from "../task-data.ts";

export interface ChosenExperts {
  readonly group: number;
  readonly slice: Slice;
  /** The expert tensors that are trained and submitted, in canonical order. */
  readonly selected: readonly Piece[];
}

export interface GroupExperts extends ChosenExperts {
  /** All tensors of the model by name, fp32. */
  readonly weights: Map<string, Float32Array>;
}

/** Which experts this miner trains; of the slice only what describes it has to be here. @throws not-assigned, not-registered, and the exchange's errors */
export async function chooseExperts(context: Context, membership: Membership, view: CycleView): Promise<ChosenExperts> {
  const group = assignedGroup(view, context.signer.address);
  const resolved = await resolveSlice(context, membership, { root: view.base, group });
  const selection = await selectExperts(context, membership, resolved.manager, group);
  return { group, slice: resolved, selected: piecesOf(resolved.manifest, "expert", selection) };
}

/** The same, with what is missing of the slice fetched. */
export async function fetchExperts(context: Context, membership: Membership, view: CycleView): Promise<ChosenExperts> {
  const group = assignedGroup(view, context.signer.address);
  await slice(context, membership, { root: view.base, group });
  return chooseExperts(context, membership, view);
}

/** The same, opened as a whole. */
export async function openGroupExperts(context: Context, membership: Membership, view: CycleView): Promise<GroupExperts> {
  const chosen = await fetchExperts(context, membership, view);
  return { ...chosen, weights: await sliceWeights(context, chosen.slice) };
}

/** By tensor, the values that a submission in the task's codec can say; undefined where it can say all. */
export function placesOf(
  { task, taskHash }: Membership,
  of: { readonly cycle: number; readonly group: number },
  selected: readonly Piece[],
): Map<string, Uint32Array> | undefined {
  const tensors = selected.map((piece) => ({ name: pieceName(piece), shape: piece.shape }));
  return submissionPlaces(task.submission.codec, { task: taskHash, ...of }, tensors);
}

/** The training data of each of the task's domains, in its order. */
export async function openTrainingData(
  context: Context,
  membership: Membership,
  { slice: { manifest } }: ChosenExperts,
): Promise<TaskSequences[]> {
  const domains: TaskSequences[] = [];
  for (const { name, train: hash } of membership.task.data.domains) {
    domains.push(await openTaskData(context, membership, { hash, tokenizer: manifest.tokenizer, what: `the training data of ${name}` }));
  }
  return domains;
}

/** Of each domain what this miner trains on in the cycle. */
export function trainingShares(
  { taskHash }: Membership,
  { cycle, assignment }: CycleView,
  group: number,
  hotkey: string,
  domains: readonly TaskSequences[],
): Run[][] {
  const members = assignment.groups[group] as readonly string[];
  const place = { taskHash, cycle, group, miner: members.indexOf(hotkey), miners: members.length };
  return domains.map(({ data }, domain) => trainingShare(data, { ...place, domain }));
}

/** What a tensor became, minus what it was. */
export function difference(trained: Float32Array | undefined, base: Float32Array | undefined): Float32Array {
  if (trained === undefined || base === undefined) throw new Error("a trainable tensor has no weights");
  return trained.map((value, index) => value - (base[index] as number));
}
