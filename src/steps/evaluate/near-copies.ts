/**
 * Near copies among the submissions that a validator scores: each against the earlier ones of its group, by sketches of their deltas, and
 * where those are too much alike by what the part that they do not explain gains.
 */

import { placed, type Tensors } from "../../model/tensors.ts";
import {
  addsNothing,
  drawCoordinates,
  explain,
  type Sketch,
  sketchOf,
  suspicion,
  unexplained,
  usualLikeness,
} from "../../protocol/copies.ts";
import { type CommitPlace, compareCommits } from "../../protocol/verdict.ts";
import type { Likeness } from "./evidence.ts";

export interface Sketched {
  readonly miner: string;
  readonly group: number;
  readonly commit: CommitPlace;
  readonly deltas: Tensors;
}

export interface Suspicion {
  readonly likeness: Likeness;
  readonly level: "clear" | "suspect" | "certain";
  /** What no earlier submission explains. */
  readonly rest: Tensors;
}

/** What each submission has in common with the earlier ones of its group, by miner; the first of a group is not in it. */
export async function compareSubmissions(seed: string, submissions: readonly Sketched[]): Promise<Map<string, Suspicion>> {
  const result = new Map<string, Suspicion>();
  for (const group of new Set(submissions.map((submission) => submission.group))) {
    const inOrder = submissions.filter((submission) => submission.group === group).sort((a, b) => compareCommits(a.commit, b.commit));
    const elements = [...(inOrder[0]?.deltas.sizes.values() ?? [])].reduce((sum, length) => sum + length, 0);
    const coordinates = drawCoordinates(seed, group, elements);
    const sketches: Sketch[] = [];
    for (const { deltas } of inOrder) sketches.push(await sketch(deltas, coordinates));
    for (const [place, later] of inOrder.entries()) {
      if (place > 0) result.set(later.miner, compareOne(later, inOrder.slice(0, place), sketches, place));
    }
  }
  return result;
}

function compareOne(later: Sketched, earlier: readonly Sketched[], sketches: readonly Sketch[], place: number): Suspicion {
  const { share, sources } = explain(sketches[place] as Sketch, sketches.slice(0, place));
  const usual = usualLikeness(sketches.filter((_, other) => other !== place));
  const from = sources.map(({ index, factor }) => ({ submission: earlier[index] as Sketched, factor }));
  return {
    likeness: { share, ...(usual !== undefined && { usual }), like: from.map(({ submission }) => submission.miner) },
    level: suspicion(share, usual),
    rest: {
      sizes: later.deltas.sizes,
      read: async (name, into) => {
        const sources: { delta: Float32Array; factor: number }[] = [];
        for (const { submission, factor } of from) sources.push({ delta: await submission.deltas.read(name), factor });
        return placed(unexplained(await later.deltas.read(name), sources), into);
      },
    },
  };
}

/** A sketch of deltas that are read one tensor at a time. */
async function sketch(deltas: Tensors, coordinates: readonly number[]): Promise<Sketch> {
  const result = new Float64Array(coordinates.length);
  const rising = coordinates.map((place, index) => ({ place, index })).sort((a, b) => a.place - b.place);
  let [next, start] = [0, 0];
  for (const [name, length] of deltas.sizes) {
    const end = start + length;
    const inside: typeof rising = [];
    while (next < rising.length && (rising[next] as { place: number }).place < end) inside.push(rising[next++] as (typeof rising)[number]);
    const values = sketchOf(
      [await deltas.read(name)],
      inside.map(({ place }) => place - start),
    );
    for (const [at, { index }] of inside.entries()) result[index] = values[at] as number;
    start = end;
  }
  return result;
}

/** The verdict on an accepted submission, and the likeness with what was measured for it: the mean gains of it and, where it is suspect, of the rest. */
export function isNearCopy(
  { level, likeness }: Suspicion,
  gain: number,
  gainOfRest: number,
): { readonly copy: boolean; readonly likeness: Likeness } {
  if (level !== "suspect") return { copy: level === "certain", likeness };
  const shown = Number.isFinite(gainOfRest) ? { ...likeness, gainOfRest } : likeness;
  return { copy: addsNothing(gainOfRest, gain, likeness.share), likeness: shown };
}
