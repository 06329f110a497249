/**
 * Near copies (docs/protocol.md, section 8). Two honest trainings of the same experts on the same texts share a direction, so being alike is
 * not enough, and how much they share depends on how raw the base is. A submission is suspect when earlier ones explain far more of it than the
 * group's submissions usually explain of each other; it is a near copy when, in addition, the part that they do not explain gains less than honest
 * work that is so much alike would. The explained part is found on a
 * sketch: coordinates of the decoded deltas drawn after the reveal, which nobody could prepare for.
 */
import { type Hash, hashFields, hashToBytes, u16 } from "./hash.ts";
import { stream } from "./random.ts";

/** Coordinates of a sketch: a cosine is right to 0.01. */
export const sketchCoordinates = 16_384;
/** At most so many earlier submissions explain a later one: those most like it. More would explain an honest one, too. */
const maximumSources = 3;
/** What honest pairs of a group can have in common, as a cosine, and the pairs that it takes to tell. */
const usualCosine = { least: 0.2, most: 0.8, pairs: 3 };
/** From which shares on a submission is suspect, and certainly a copy, where nothing is known of what is usual. */
const unknownUsual = { suspect: 0.6, certain: 0.98 };

/** Places in the group's deltas, laid end to end in canonical order, `elements` in all; a place may come twice. */
export function drawCoordinates(seed: Hash, group: number, elements: number): number[] {
  const random = stream(hashFields("connito/sketch/1", hashToBytes(seed), u16(group)));
  const blocks = Math.ceil(elements / 2 ** 32);
  const next = (): number => {
    const place = random.uniform(blocks) * 2 ** 32 + random.uniform(2 ** 32);
    return place < elements ? place : next();
  };
  return Array.from({ length: sketchCoordinates }, elements < 2 ** 32 ? () => random.uniform(elements) : next);
}

export type Sketch = Float64Array;

/** The sketch of deltas that lie in pieces, laid end to end. */
export function sketchOf(deltas: readonly Float32Array[], coordinates: readonly number[]): Sketch {
  const rising = coordinates.map((place, index) => ({ place, index })).sort((a, b) => a.place - b.place);
  const sketch = new Float64Array(coordinates.length);
  let [piece, start] = [0, 0];
  for (const { place, index } of rising) {
    while (place - start >= (deltas[piece] as Float32Array).length) start += (deltas[piece++] as Float32Array).length;
    sketch[index] = (deltas[piece] as Float32Array)[place - start] as number;
  }
  return sketch;
}

function dot(a: Sketch, b: Sketch): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
}

/** The cosine of two sketches; 0 where one is all zeros. */
export function cosine(a: Sketch, b: Sketch): number {
  const norms = dot(a, a) * dot(b, b);
  return norms > 0 ? dot(a, b) / Math.sqrt(norms) : 0;
}

export interface Explained {
  /** Root of the explained share of the squares, 0 to 1: with one source the size of the cosine. */
  readonly share: number;
  /** The earlier submissions by their place in the list given, and how much of each is in the later. */
  readonly sources: readonly { readonly index: number; readonly factor: number }[];
}

/** How far the earlier sketches explain the later: least squares on the three that are most like it. */
export function explain(later: Sketch, earlier: readonly Sketch[]): Explained {
  const likeness = earlier.map((sketch, index) => ({ index, size: Math.abs(cosine(later, sketch)) }));
  const nearest = likeness
    .filter(({ size }) => size > 0)
    .sort((a, b) => b.size - a.size || a.index - b.index)
    .slice(0, maximumSources);
  // By Gram-Schmidt: each source without what those before it say already; one that then is next to nothing says nothing new.
  const rows: { readonly rest: Sketch; readonly size: number; readonly parts: number[] }[] = [];
  for (const { index } of nearest) {
    const rest = Float64Array.from(earlier[index] as Sketch);
    const whole = dot(rest, rest);
    const parts = nearest.map((source): number => (source.index === index ? 1 : 0));
    for (const row of rows) {
      const factor = dot(rest, row.rest) / row.size;
      for (let i = 0; i < rest.length; i++) rest[i] = (rest[i] as number) - factor * (row.rest[i] as number);
      for (let i = 0; i < parts.length; i++) parts[i] = (parts[i] as number) - factor * (row.parts[i] as number);
    }
    const size = dot(rest, rest);
    if (size > 1e-9 * whole) rows.push({ rest, size, parts });
  }
  let squares = 0;
  const factors = nearest.map(() => 0);
  for (const { rest, size, parts } of rows) {
    const factor = dot(later, rest) / size;
    squares += factor * factor * size;
    for (let i = 0; i < parts.length; i++) factors[i] = (factors[i] as number) + factor * (parts[i] as number);
  }
  const whole = dot(later, later);
  return {
    share: whole > 0 ? Math.sqrt(Math.min(1, squares / whole)) : 0,
    sources: nearest.map(({ index }, place) => ({ index, factor: factors[place] as number })),
  };
}

/** The median cosine of the pairs of a group's sketches other than the one judged, within what can be usual; undefined of fewer than three pairs. */
export function usualLikeness(others: readonly Sketch[]): number | undefined {
  const cosines = others.flatMap((a, index) => others.slice(index + 1).map((b) => cosine(a, b))).sort((a, b) => a - b);
  const { least, most, pairs } = usualCosine;
  if (cosines.length < pairs) return undefined;
  return Math.min(most, Math.max(least, cosines[(cosines.length - 1) >> 1] as number));
}

/**
 * `clear`: no copy. `suspect`, from half of the way between what is usual and identity on: what the unexplained part gains decides
 * (`addsNothing`). `certain`, from three quarters of the way on: a near copy.
 */
export function suspicion(share: number, usual: number | undefined): "clear" | "suspect" | "certain" {
  const { suspect, certain } = usual === undefined ? unknownUsual : { suspect: (1 + usual) / 2, certain: (3 + usual) / 4 };
  if (share >= certain) return "certain";
  return share >= suspect ? "suspect" : "clear";
}

/**
 * Whether the part of a submission that no earlier one explains gains too little to be work of its own; mean gains, same sequences. Of two honest
 * trainings whose deltas have the cosine c, the rest of one keeps about 1 - c of the gain: its own reading of what both learned. Noise keeps
 * nothing. Half of that is asked for.
 */
export function addsNothing(gainOfRest: number, gainOfWhole: number, share: number): boolean {
  return !(gainOfRest > ((1 - share) / 2) * gainOfWhole);
}

/** `later` without what its sources say, tensor by tensor: fp32, sources taken off in their order, each product and difference rounded. */
export function unexplained(
  later: Float32Array,
  sources: readonly { readonly delta: Float32Array; readonly factor: number }[],
): Float32Array {
  const rest = new Float32Array(later);
  for (const { delta, factor } of sources) {
    const by = Math.fround(factor);
    for (let i = 0; i < rest.length; i++) rest[i] = (rest[i] as number) - Math.fround(by * (delta[i] as number));
  }
  return rest;
}
