/** The shipped rules on small groups of deltas: what sketches say of one of them, and what losses say where sketches cannot tell. */
import type { Codec } from "../../src/model/codecs/index.ts";
import {
  cosineOf,
  createSketcher,
  drawPlaces,
  drawSigns,
  type Effects,
  effectsOf,
  type Likeness,
  lengthOf,
  likenessOf,
  type Sketch,
  strengthOf,
} from "../../src/protocol/copies.ts";
import { gainOf } from "../../src/protocol/evaluation.ts";
import { sha256, toHex, utf8 } from "../../src/protocol/hash.ts";
import type { Delta, Subject } from "./subject.ts";

/** A submission as the rules see it. */
export interface Seen {
  readonly delta: Delta;
  readonly sketch: Sketch;
  /** What it would be paid, in nats per token; where that is not looked at, 1 for all. */
  readonly paid: number;
  /** How far it moves losses by its length. */
  readonly strength: number;
  /** With those that it was compared with before. */
  readonly cosines: WeakMap<Seen, number>;
}

/** One of a group, which is in order of commits. */
export interface Case {
  readonly group: readonly Seen[];
  readonly place: number;
}

export interface Judge {
  see(delta: Delta): Promise<Seen>;
  likeness(one: Case): Likeness;
  /** What each adds to those explaining it; of cases that are `unclear`. Many are measured in one pass. */
  effects(cases: readonly (Case & { readonly likeness: Likeness })[]): Promise<Effects[]>;
  /** Losses of the base, and of deltas that were measured before as well. */
  losses(deltas: readonly Delta[]): Promise<{ readonly base: Float64Array; readonly candidates: readonly Float64Array[] }>;
}

/** Cases in a pass. */
const together = 8;

/** With `errorRate` each is paid by its own losses, else all alike. */
export function createJudge(
  subject: Subject,
  codec: Codec,
  { name, elements, errorRate }: { readonly name: string; readonly elements: number; readonly errorRate?: number | undefined },
): Judge {
  const seed = toHex(sha256(utf8(name)));
  const sketcher = createSketcher(drawPlaces(seed, 0, elements, codec.kept));
  const sign = drawSigns(seed, 0, "all");
  const cosine = (a: Seen, b: Seen): number => {
    const known = a.cosines.get(b) ?? cosineOf(a.sketch, b.sketch);
    a.cosines.set(b, known);
    b.cosines.set(a, known);
    return known;
  };
  const measured = new WeakMap<Delta, Float64Array>();
  let base: Float64Array | undefined;

  const measure: Judge["losses"] = async (deltas) => {
    const missing = deltas.filter((delta, index) => !measured.has(delta) && deltas.indexOf(delta) === index);
    if (missing.length > 0 || base === undefined) {
      const found = await subject.losses(missing);
      base = found.base;
      for (const [index, delta] of missing.entries()) measured.set(delta, found.candidates[index] as Float64Array);
    }
    return { base, candidates: deltas.map((delta) => measured.get(delta) as Float64Array) };
  };

  /** The explained part, and it less the rest, plus and less the rest with random signs. */
  const beside = ({ group, place, likeness: { like, parts } }: Case & { likeness: Likeness }): Delta[] => {
    const { delta, sketch } = group[place] as Seen;
    const explained = new Float32Array(delta.length);
    for (const [at, source] of like.entries()) {
      const { delta: values, sketch: of } = group[source] as Seen;
      const factor = ((parts[at] as number) * lengthOf(sketch)) / lengthOf(of);
      for (let i = 0; i < explained.length; i++) explained[i] = (explained[i] as number) + factor * (values[i] as number);
    }
    const around = (times: (index: number) => number) => explained.map((part, i) => part + times(i) * ((delta[i] as number) - part));
    return [explained, around(() => -1), around(sign), around((i) => -sign(i))];
  };

  return {
    losses: measure,
    async see(delta) {
      sketcher.add(delta);
      const sketch = sketcher.finish();
      const { base: losses, candidates } = await measure([delta]);
      const own = candidates[0] as Float64Array;
      return {
        delta,
        sketch,
        paid: errorRate === undefined ? 1 : Math.max(0, gainOf(losses, own, errorRate).lower),
        strength: strengthOf(losses, own, lengthOf(sketch)),
        cosines: new WeakMap(),
      };
    },
    likeness: ({ group, place }) =>
      likenessOf(
        group.map((a) => group.map((b) => cosine(a, b))),
        place,
        codec.kept !== undefined,
        group.map(({ paid, strength }) => ({ score: paid, strength })),
      ),
    async effects(cases) {
      const result: Effects[] = [];
      for (let first = 0; first < cases.length; first += together) {
        const part = cases.slice(first, first + together);
        const models = part.map((one) => [(one.group[one.place] as Seen).delta, ...beside(one)]);
        const found = await measure(models.flat());
        for (const [index, { likeness }] of part.entries()) {
          const of = found.candidates.slice(5 * index, 5 * index + 5);
          const [own, explained, mirrored, scrambled, scrambledMirrored] = of as [
            Float64Array,
            Float64Array,
            Float64Array,
            Float64Array,
            Float64Array,
          ];
          result.push(effectsOf({ base: found.base, own, explained, mirrored, scrambled, scrambledMirrored }, likeness.share));
        }
      }
      return result;
    },
  };
}
