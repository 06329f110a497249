/** What strategies do with deltas: read their own or a leaked submission, change it, submit it as their own. */

import { type Piece, pieceName } from "../../model/pieces.ts";
import { decodeSubmission } from "../../model/submission.ts";
import { piecesOf } from "../../model/weights.ts";
import { hashFields, u32, utf8 } from "../../protocol/hash.ts";
import { type Stream, stream } from "../../protocol/random.ts";
import type { Context } from "../../steps/context.ts";
import { assignedGroup, type CycleView, viewCycle } from "../../steps/cycle-view.ts";
import { selectExperts } from "../../steps/distribute/select-experts.ts";
import { resolveSlice, slice } from "../../steps/distribute/slice.ts";
import type { Membership } from "../../steps/membership.ts";
import { type StoredSubmission, submissionOf, submissionPath } from "../../steps/train/submissions.ts";
import { submitDeltas } from "../../steps/train/submit.ts";

export type Delta = Map<string, Float32Array>;

/** What a miner's group has to submit in a cycle. */
export interface Work {
  readonly view: CycleView;
  readonly group: number;
  readonly selected: readonly Piece[];
}

export async function workOf(context: Context, membership: Membership, cycle: number): Promise<Work> {
  const view = await viewCycle(context, membership, cycle);
  const group = assignedGroup(view, context.signer.address);
  await slice(context, membership, { root: view.base, group });
  const resolved = await resolveSlice(context, membership, { root: view.base, group });
  return {
    view,
    group,
    selected: piecesOf(resolved.manifest, "expert", await selectExperts(context, membership, resolved.manager, group)),
  };
}

/** The deltas that a participant has submitted in a cycle; undefined where it has none for this group. */
export async function deltasOf(from: Context, membership: Membership, cycle: number, work: Work): Promise<Delta | undefined> {
  const submission = await submissionOf(from.workspace, cycle);
  if (submission === undefined || submission.group !== work.group) return undefined;
  const { task, taskHash } = membership;
  return decodeSubmission(submissionPath(from.workspace, submission.root), {
    metadata: { task: taskHash, cycle, group: submission.group, base: submission.base },
    codec: task.submission.codec,
    tensors: work.selected,
    maximumBytes: task.submission.maximumBytes,
  });
}

export function submit(context: Context, membership: Membership, cycle: number, work: Work, delta: Delta): Promise<StoredSubmission> {
  return submitDeltas(context, membership, {
    cycle,
    group: work.group,
    base: work.view.base,
    steps: 0,
    tokens: 0,
    deltas: work.selected.map((piece) => ({ piece, delta: delta.get(pieceName(piece)) as Float32Array })),
  });
}

export function changed(delta: Delta, change: (value: number, name: string) => number): Delta {
  return new Map([...delta].map(([name, values]) => [name, values.map((value) => change(value, name))]));
}

/** a * first + b * second. */
export function mixed(first: Delta, a: number, second: Delta, b: number): Delta {
  return new Map([...first].map(([name, values]) => [name, values.map((value, at) => a * value + b * (second.get(name)?.[at] ?? 0))]));
}

/** The root of the mean square of all values. */
export function sizeOf(delta: Delta): number {
  const all = [...delta.values()];
  const squares = all.reduce((sum, values) => sum + values.reduce((inner, value) => inner + value * value, 0), 0);
  return Math.sqrt(squares / all.reduce((sum, { length }) => sum + length, 0));
}

/** The same numbers for the same participant and cycle. */
export function randomOf(context: Context, cycle: number, purpose: string): Stream {
  return stream(hashFields("connito/simulation-strategy/1", utf8(context.signer.address), u32(cycle), utf8(purpose)));
}

/** Normally distributed with this deviation (Box and Muller). */
export function noise(random: Stream, deviation: number): number {
  const uniform = () => (random.uniform(2 ** 31) + 1) / 2 ** 31;
  return deviation * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}
