/** Near copies among the submissions that a validator scores: each against the others of its group, by sketches of their deltas. */

import { codecNamed } from "../../model/codecs/index.ts";
import type { Tensors } from "../../model/tensors.ts";
import {
  cosines,
  createSketcher,
  drawPlaces,
  drawSigns,
  type Effects,
  effectsOf,
  lengthOf,
  likenessOf,
  type Sketch,
  type Sketcher,
  strengthOf,
} from "../../protocol/copies.ts";
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
  /** Where sketches leave that unclear, what is to be measured beside the submission: `effects` says what follows. */
  readonly unclear?: readonly Tensors[];
}

/** What a submission adds, from the losses of the base, of it, and of its `unclear` deltas. */
export function effects(
  { likeness }: Comparison,
  base: ArrayLike<number>,
  own: ArrayLike<number>,
  unclear: readonly ArrayLike<number>[],
): Effects {
  const [explained, mirrored, scrambled, scrambledMirrored] = unclear as [Float64Array, Float64Array, Float64Array, Float64Array];
  return effectsOf({ base, own, explained, mirrored, scrambled, scrambledMirrored }, likeness.share);
}

/** What is known of a submission by losses. */
export interface ByLosses {
  /** What they would pay it. */
  readonly score: number;
  /** Those of the first stage: the base's, and its own. */
  readonly base: ArrayLike<number>;
  readonly own: ArrayLike<number>;
}

/**
 * What each submission has in common with the earlier ones of its group, by miner, once it is known what losses say of each; the first of a group is
 * not in it.
 */
export type Compare = (known: ReadonlyMap<string, ByLosses>) => ReadonlyMap<string, Comparison>;

interface SketchedGroup {
  readonly group: number;
  readonly inOrder: readonly Sketched[];
  readonly sketches: readonly Sketch[];
  readonly cosine: readonly (readonly number[])[];
}

/** Sketches all submissions. */
export async function compareSubmissions(
  { seed, codec }: { seed: string; codec: string },
  submissions: readonly Sketched[],
): Promise<Compare> {
  const { kept } = codecNamed(codec);
  const groups: SketchedGroup[] = [];
  for (const group of new Set(submissions.map((submission) => submission.group))) {
    const inOrder = submissions.filter((submission) => submission.group === group).sort((a, b) => compareCommits(a.commit, b.commit));
    if (inOrder.length < 2) continue;
    const elements = [...(inOrder[0]?.deltas.sizes.values() ?? [])].reduce((sum, length) => sum + length, 0);
    const sketcher = createSketcher(drawPlaces(seed, group, elements, kept));
    const sketches: Sketch[] = [];
    for (const { deltas } of inOrder) sketches.push(await sketchOf(deltas, sketcher));
    groups.push({ group, inOrder, sketches, cosine: cosines(sketches) });
  }
  return (known) => compareGroups(groups, { seed, sparse: kept !== undefined, known });
}

function compareGroups(
  groups: readonly SketchedGroup[],
  { seed, sparse, known }: { seed: string; sparse: boolean; known: ReadonlyMap<string, ByLosses> },
): Map<string, Comparison> {
  const result = new Map<string, Comparison>();
  for (const { group, inOrder, sketches, cosine } of groups) {
    const lengths = sketches.map(lengthOf);
    const standings = inOrder.map(({ miner }, place) => {
      const { score, base, own } = known.get(miner) ?? { score: 0, base: [], own: [] };
      return { score, strength: strengthOf(base, own, lengths[place] as number) };
    });
    for (const [place, { miner }] of inOrder.entries()) {
      if (place === 0) continue;
      const { copy, like, parts, ...likeness } = likenessOf(cosine, place, sparse, standings);
      const shown = { ...likeness, like: like.map((index) => (inOrder[index] as Sketched).miner) };
      if (copy !== "unclear") result.set(miner, { copy, likeness: shown });
      else {
        const of = (index: number) => (inOrder[index] as Sketched).deltas;
        const factor = (index: number, at: number) => ((parts[at] as number) * (lengths[place] as number)) / (lengths[index] as number);
        const sources = like.map((index, at): Source => [factor(index, at), of(index)]);
        const around = (times: (name: string) => (at: number) => number) => restAround(sources, of(place), times);
        const signs = (name: string) => drawSigns(seed, group, name);
        const unclear = [
          around(() => () => 0),
          around(() => () => -1),
          around(signs),
          around((name) => {
            const sign = signs(name);
            return (at) => -sign(at);
          }),
        ];
        result.set(miner, { copy: false, likeness: shown, unclear });
      }
    }
  }
  return result;
}

type Source = readonly [factor: number, of: Tensors];

/** The sum of the sources, and so many times what it leaves of a delta, by tensor and place. */
function restAround(sources: readonly Source[], delta: Tensors, times: (name: string) => (at: number) => number): Tensors {
  return {
    sizes: delta.sizes,
    read: async (name, into) => {
      const explained = into ?? new Float32Array(delta.sizes.get(name) ?? 0);
      const values = new Float32Array(explained.length);
      explained.fill(0);
      for (const [factor, of] of sources) {
        await of.read(name, values);
        for (let i = 0; i < values.length; i++) explained[i] = (explained[i] as number) + factor * (values[i] as number);
      }
      await delta.read(name, values);
      const by = times(name);
      for (let i = 0; i < values.length; i++) {
        const part = explained[i] as number;
        explained[i] = part + by(i) * ((values[i] as number) - part);
      }
      return explained;
    },
  };
}

/** One tensor at a time. */
async function sketchOf(deltas: Tensors, sketcher: Sketcher): Promise<Sketch> {
  for (const name of deltas.sizes.keys()) sketcher.add(await deltas.read(name));
  return sketcher.finish();
}
