/**
 * Near copies among the submissions that a validator scores: each against the earlier ones of its group, by sketches of their deltas, and
 * where those are too much alike by what the part that they do not explain gains.
 */

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
import type { Deltas } from "./candidates.ts";
import type { Likeness } from "./evidence.ts";
import type { Tensors } from "./losses.ts";

export interface Sketched {
  readonly miner: string;
  readonly group: number;
  readonly commit: CommitPlace;
  readonly deltas: Deltas;
}

export interface Suspicion {
  readonly likeness: Likeness;
  readonly level: "clear" | "suspect" | "certain";
  /** What no earlier submission explains. */
  rest(): Tensors;
}

/** What each submission has in common with the earlier ones of its group, by miner; the first of a group is not in it. */
export function compareSubmissions(seed: string, submissions: readonly Sketched[]): Map<string, Suspicion> {
  const result = new Map<string, Suspicion>();
  for (const group of new Set(submissions.map((submission) => submission.group))) {
    const inOrder = submissions.filter((submission) => submission.group === group).sort((a, b) => compareCommits(a.commit, b.commit));
    const elements = [...(inOrder[0]?.deltas.values() ?? [])].reduce((sum, { length }) => sum + length, 0);
    const coordinates = drawCoordinates(seed, group, elements);
    const sketches = inOrder.map(({ deltas }) => sketchOf([...deltas.values()], coordinates));
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
    rest: () =>
      new Map(
        [...later.deltas].map(([name, delta]) => [
          name,
          unexplained(
            delta,
            from.map(({ submission, factor }) => ({ delta: submission.deltas.get(name) as Float32Array, factor })),
          ),
        ]),
      ),
  };
}

/** The verdict on an accepted submission, and the likeness with what was measured for it. `gain` is the mean gain of some deltas. */
export async function isNearCopy(
  { level, likeness, rest }: Suspicion,
  gain: (deltas?: Tensors) => Promise<number>,
): Promise<{ readonly copy: boolean; readonly likeness: Likeness }> {
  if (level !== "suspect") return { copy: level === "certain", likeness };
  const gainOfRest = await gain(rest());
  const shown = Number.isFinite(gainOfRest) ? { ...likeness, gainOfRest } : likeness;
  return { copy: addsNothing(gainOfRest, await gain(), likeness.share), likeness: shown };
}
