/** Near copies among the submissions that a validator scores: each against the others of its group, by sketches of their deltas. */

import { codecNamed } from "../../model/codecs/index.ts";
import { combined, type Tensors } from "../../model/tensors.ts";
import { cosines, createSketcher, drawPlaces, lengthOf, likenessOf, type Sketch, type Sketcher } from "../../protocol/copies.ts";
import { type CommitPlace, compareCommits } from "../../protocol/verdict.ts";
import type { Likeness } from "./evidence.ts";

export interface Sketched {
  readonly miner: string;
  readonly group: number;
  readonly commit: CommitPlace;
  readonly deltas: Tensors;
}

export interface Comparison {
  readonly likeness: Likeness;
  /** Whether it is a near copy: not paid, even if it gains. */
  readonly copy: boolean;
  /** Where the sketches leave that unclear: what its mirror does to the losses decides. */
  readonly unclear?: { readonly explained: Tensors; readonly mirrored: Tensors };
}

/** What each submission has in common with the earlier ones of its group, by miner; the first of a group is not in it. */
export async function compareSubmissions(
  { seed, codec }: { seed: string; codec: string },
  submissions: readonly Sketched[],
): Promise<Map<string, Comparison>> {
  const { kept } = codecNamed(codec);
  const result = new Map<string, Comparison>();
  for (const group of new Set(submissions.map((submission) => submission.group))) {
    const inOrder = submissions.filter((submission) => submission.group === group).sort((a, b) => compareCommits(a.commit, b.commit));
    if (inOrder.length < 2) continue;
    const elements = [...(inOrder[0]?.deltas.sizes.values() ?? [])].reduce((sum, length) => sum + length, 0);
    const sketcher = createSketcher(drawPlaces(seed, group, elements, kept));
    const sketches: Sketch[] = [];
    for (const { deltas } of inOrder) sketches.push(await sketchOf(deltas, sketcher));
    const cosine = cosines(sketches);
    for (const [place, { miner }] of inOrder.entries()) {
      if (place === 0) continue;
      const { copy, like, parts, ...likeness } = likenessOf(cosine, place, kept !== undefined);
      const shown = { ...likeness, like: like.map((index) => (inOrder[index] as Sketched).miner) };
      if (copy !== "unclear") result.set(miner, { copy, likeness: shown });
      else {
        const lengths = sketches.map(lengthOf);
        const of = (index: number) => (inOrder[index] as Sketched).deltas;
        const sources = like.map(
          (index, at) => [((parts[at] as number) * (lengths[place] as number)) / (lengths[index] as number), of(index)] as const,
        );
        const mirrored = combined([...sources.map(([factor, deltas]) => [2 * factor, deltas] as const), [-1, of(place)]]);
        result.set(miner, { copy: false, likeness: shown, unclear: { explained: combined(sources), mirrored } });
      }
    }
  }
  return result;
}

/** One tensor at a time. */
async function sketchOf(deltas: Tensors, sketcher: Sketcher): Promise<Sketch> {
  for (const name of deltas.sizes.keys()) sketcher.add(await deltas.read(name));
  return sketcher.finish();
}
