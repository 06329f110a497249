/**
 * Near copies (docs/protocol.md, section 8). Two honest trainings of the same experts on the same texts share a direction, on a raw base most of
 * theirs, so being alike is not enough. Three things tell a copy: earlier submissions explain far more of it than the group's submissions usually
 * explain of each other; or, where several are as much alike as it, it still holds one or two of them and nothing of the others, as noise cannot hide
 * and training on from them hardly; or, where there are too few to be sure, what it adds to them does nothing to the losses, as noise does not and
 * learning does. The first two are read off inner products of sketches: places of the decoded deltas drawn after the reveal, which nobody could
 * prepare for.
 */
import { type Hash, hashFields, hashToBytes, u16, utf8 } from "./hash.ts";
import { mixed } from "./places.ts";
import { stream } from "./random.ts";

/** Values of a delta in a sketch that can be other than 0: a cosine is right to 0.01. */
export const sketchValues = 16_384;
/** Of each run of so many values a sparse codec keeps some: its sketches are of whole runs. */
const sparseRun = 4096;
/** A source of whose squares those before it leave no more than this says nothing new; told apart, the two would share a weight at random. */
const sameSquares = 0.05;
/** At most so many earlier submissions explain a later one: those most like it. More would explain an honest one, too. */
const maximumSources = 3;
/** What honest pairs of a group can have in common, as a cosine; the most also stands where there is no pair to learn it from. */
const usualCosine = { least: 0.2, mostDense: 0.9, mostSparse: 0.5 };
/** A submission's weights are told apart among so many others, those most like it; surely among the most only. */
const compared = { least: 4, most: 6 };
/**
 * Of all weights that of one source, among `compared.most` or fewer, or those of two among `compared.most`, from which on it is they that it holds; and the
 * cosine that says it is anything.
 */
const held = { one: 0.8, oneOfFewer: 0.9, two: 0.95, cosine: 0.25 };

/**
 * What is learned moves the losses: each by its length, as much as this part of what the explained part does; or this many times as much as its own values
 * do with signs drawn at random. What does neither is noise.
 */
const least = { effect: 0.75, ofRandom: 2 };

/** By its length, who has a say in judging a submission moves losses at least so far, as a part of what that does (`besideOf`); and who shows what is usual. */
const leastStrength = { say: 0.5, usual: 0.75 };

/** Runs of places in the group's deltas, laid end to end in canonical order; a run goes on from the first place behind the last. */
export interface Places {
  readonly elements: number;
  readonly starts: readonly number[];
  readonly length: number;
}

/** The places of a cycle's sketches of a group of `elements` in all; `kept` of each 4,096 values is what a sparse codec keeps. */
export function drawPlaces(seed: Hash, group: number, elements: number, kept?: number): Places {
  const random = stream(hashFields("connito/sketch/1", hashToBytes(seed), u16(group)));
  const blocks = Math.ceil(elements / 2 ** 32);
  const next = (): number => {
    if (elements < 2 ** 32) return random.uniform(elements);
    const place = random.uniform(blocks) * 2 ** 32 + random.uniform(2 ** 32);
    return place < elements ? place : next();
  };
  const count = kept === undefined ? sketchValues : Math.ceil(sketchValues / kept);
  return { elements, starts: Array.from({ length: count }, next), length: kept === undefined ? 1 : sparseRun };
}

/** A delta's values at the places, where they are not 0; `at` rises. */
export interface Sketch {
  readonly at: Uint32Array;
  readonly values: Float32Array;
}

/** Takes deltas one after another, each tensor by tensor, laid end to end, and makes their sketches. */
export interface Sketcher {
  add(tensor: Float32Array): void;
  /** The sketch of what was added; the next tensor is another delta's first. */
  finish(): Sketch;
}

export function createSketcher({ elements, starts, length }: Places): Sketcher {
  // Runs that go on from the first place are cut there, so that all parts lie in order.
  const parts: { start: number; end: number; at: number }[] = [];
  for (const [run, first] of starts.entries()) {
    for (let done = 0, start = first; done < length; start = 0) {
      const end = Math.min(elements, start + length - done);
      parts.push({ start, end, at: run * length + done });
      done += end - start;
    }
  }
  parts.sort((a, b) => a.start - b.start);
  const all = new Float32Array(starts.length * length);
  let [offset, first] = [0, 0];
  return {
    add(tensor) {
      const behind = offset + tensor.length;
      while (first < parts.length && (parts[first] as { end: number }).end <= offset) first++;
      for (let index = first; index < parts.length; index++) {
        const { start, end, at } = parts[index] as (typeof parts)[number];
        if (start >= behind) break;
        const [from, to] = [Math.max(start, offset), Math.min(end, behind)];
        if (from < to) all.set(tensor.subarray(from - offset, to - offset), at + from - start);
      }
      offset = behind;
    },
    finish() {
      const at = new Uint32Array(all.length);
      let count = 0;
      for (let index = 0; index < all.length; index++) if (all[index] !== 0) at[count++] = index;
      const places = at.slice(0, count);
      const sketch = { at: places, values: Float32Array.from(places, (index) => all[index] as number) };
      all.fill(0);
      [offset, first] = [0, 0];
      return sketch;
    },
  };
}

function dot(a: Sketch, b: Sketch): number {
  let sum = 0;
  for (let i = 0, j = 0; i < a.at.length && j < b.at.length; ) {
    const difference = (a.at[i] as number) - (b.at[j] as number);
    if (difference === 0) sum += (a.values[i] as number) * (b.values[j] as number);
    if (difference <= 0) i++;
    if (difference >= 0) j++;
  }
  return sum;
}

export function lengthOf(sketch: Sketch): number {
  return Math.sqrt(dot(sketch, sketch));
}

/** The cosine of two sketches; 0 with one that is all zeros. */
export function cosineOf(a: Sketch, b: Sketch): number {
  const lengths = lengthOf(a) * lengthOf(b);
  return lengths > 0 ? dot(a, b) / lengths : 0;
}

/** The cosines of all pairs. */
export function cosines(sketches: readonly Sketch[]): number[][] {
  const rows = sketches.map((): number[] => sketches.map(() => 0));
  for (const [i, a] of sketches.entries())
    for (const [j, b] of sketches.entries()) if (j <= i) (rows[j] as number[])[i] = (rows[i] as number[])[j] = cosineOf(a, b);
  return rows;
}

export interface Likeness {
  /** Root of the share of its squares that the earlier submissions most like it explain, 0 to 1: with one of them the size of the cosine. */
  readonly share: number;
  /** The cosine that pairs of the group's other submissions usually have, within what can be usual. */
  readonly usual: number;
  /** The earlier submissions most like it, by their places, the most alike first; and what of each is in it, all taken at length 1. */
  readonly like: readonly number[];
  readonly parts: readonly number[];
  /** Of the weights of the others in it, the largest; absent where there are too few others. */
  readonly weight?: number;
  /** `unclear`: too few others to tell, so that what it adds to those explaining it has to do something (`effectsOf`). */
  readonly copy: boolean | "unclear";
}

/** What its losses say of a submission. */
export interface Standing {
  /** What they would pay it; 0 where that is not known. */
  readonly score: number;
  /** How far it moves them by its length (`strengthOf`); 0 where that is not known. */
  readonly strength: number;
}

/** How far a delta moves the losses of some sequences, by the length of its sketch; 0 where that is not finite. */
export function strengthOf(base: ArrayLike<number>, own: ArrayLike<number>, length: number): number {
  const strength = differenceOf(base, own) / length;
  return Number.isFinite(strength) ? strength : 0;
}

/**
 * What the submission at `place` has in common with the earlier ones of its group, of which `cosine` holds all pairs in order of commits, and whether
 * that makes it a near copy. What is usual, and whom it may hold nothing of, is learned from those alone who have a say.
 */
export function likenessOf(
  cosine: readonly (readonly number[])[],
  place: number,
  sparse: boolean,
  standings: readonly Standing[],
): Likeness {
  const standing = (index: number) => standings[index] as Standing;
  const size = (a: number, b = place): number => Math.abs(cosine[a]?.[b] as number);
  const byLikeness = (list: readonly number[]) => [...list].sort((a, b) => size(b) - size(a) || a - b);
  const explain = (sources: readonly number[]) => leastSquares(cosine, sources, place);
  const earlier = cosine.map((_, index) => index).filter((index) => index < place && size(index) > 0);
  const like = byLikeness(earlier).slice(0, maximumSources);
  const beside = besideOf(standing(place), standings[like[0] as number]);
  const others = cosine.map((_, index) => index).filter((index) => index !== place && hasSay(standing(index), beside));

  const strengthIn = (index: number) => standing(index).strength;
  const usual = usualCosineOf(shownCosines(cosine, others, strengthIn, beside.strength), sparse);
  const { share, weights: parts } = explain(like);
  const shared = { share, usual, like, parts };
  if (share >= certainShare(usual)) return { ...shared, copy: true };

  // A later submission that is more like it than any earlier one may be a copy of it, and would take the weight of what it copied.
  const nearest = like[0] === undefined ? 0 : size(like[0]);
  const near = byLikeness(others.filter((index) => index < place || size(index) < nearest)).slice(0, compared.most);
  // Of values that are signs alone, what is learned does no more than others at random; and noise costs them their gain.
  const few = near.length < compared.most && share > 0 && !sparse && "unclear";
  if (near.length < compared.least) return { ...shared, copy: few };
  const { weights } = explain(near);
  const sum = weights.reduce((total, weight) => total + Math.abs(weight), 0);
  const inOrder = near
    .map((index, at) => ({ index, part: sum > 0 ? Math.abs(weights[at] as number) / sum : 0 }))
    .sort((a, b) => b.part - a.part || a.index - b.index);
  const holds = (count: number, part: number): boolean => {
    const first = inOrder.slice(0, count);
    const all = first.reduce((total, one) => total + one.part, 0);
    return all >= part && first.every(({ index }) => index < place && size(index) >= held.cosine);
  };
  const copy = near.length < compared.most ? holds(1, held.oneOfFewer) : holds(1, held.one) || holds(2, held.two);
  return { ...shared, weight: inOrder[0]?.part as number, copy: copy || few };
}

/**
 * What others are held against: what the submission would be paid, and how far it moves losses, or what is most like it where that is known to move them less:
 * a copy that moves losses further than its original makes nobody else look weak.
 */
function besideOf({ score, strength }: Standing, nearest: Standing | undefined): Standing {
  const known = [strength, nearest?.strength ?? 0].filter((one) => one > 0);
  return { score, strength: known.length > 0 ? Math.min(...known) : 0 };
}

/**
 * Whether one has a say in judging what stands so: by a quarter of its pay, or whoever submits noise would make copies of honest work that is alike. (Half of
 * all noise gains a little, as it goes down where the other half goes up.) And by half of its strength: noise on what was learned is paid on a young base,
 * whatever its size, and lowers its cosines with all alike (attenuation: Spearman 1904), so that honest work that is alike would stand out; but by its length
 * it moves losses less than what it hides.
 */
function hasSay({ score, strength }: Standing, beside: Standing): boolean {
  return score > 0 && 4 * score >= beside.score && strength >= leastStrength.say * beside.strength;
}

/** Losses of each of some sequences: of the base, and of it plus the deltas of which `effectsOf` speaks. */
export interface RestLosses {
  readonly base: ArrayLike<number>;
  /** With the part that earlier submissions explain; and with that and the rest, which is the submission. */
  readonly explained: ArrayLike<number>;
  readonly own: ArrayLike<number>;
  /** With the explained part less the rest; plus the rest with its signs drawn at random; less that. */
  readonly mirrored: ArrayLike<number>;
  readonly scrambled: ArrayLike<number>;
  readonly scrambledMirrored: ArrayLike<number>;
}

export interface Effects {
  /** What the rest does to the losses by its length, as a part of what the explained part does by its own. */
  readonly effect: number;
  /** The same of the rest with its signs drawn at random. */
  readonly random: number;
}

/**
 * What the rest of a submission does, as roots of mean squares over sequences. Taken between a delta and its mirror, that leaves out what any step costs that
 * is long enough. `share` is that of the explained part (`Likeness`).
 */
export function effectsOf(losses: RestLosses, share: number): Effects {
  const whole = differenceOf(losses.base, losses.explained) / share;
  const rest = (a: ArrayLike<number>, b: ArrayLike<number>) => differenceOf(a, b) / 2 / Math.sqrt(1 - share ** 2) / whole;
  return { effect: rest(losses.mirrored, losses.own), random: rest(losses.scrambledMirrored, losses.scrambled) };
}

function differenceOf(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let squares = 0;
  for (let sequence = 0; sequence < a.length; sequence++) squares += ((a[sequence] as number) - (b[sequence] as number)) ** 2;
  return Math.sqrt(squares);
}

/** Whether what does no more than this is noise; never where an effect is not finite. */
export function isNoise({ effect, random }: Effects): boolean {
  return effect < least.effect && effect < least.ofRandom * random;
}

/** The random signs of a cycle's tensor of a group: 1 or -1 for each of its values. */
export function drawSigns(seed: Hash, group: number, name: string): (index: number) => 1 | -1 {
  const digest = hashToBytes(hashFields("connito/signs/1", hashToBytes(seed), u16(group), utf8(name)));
  const first = new DataView(digest.buffer, digest.byteOffset).getUint32(0, true);
  return (index) => (mixed((first + Math.imul(index, 0x9e3779b9)) | 0) < 2 ** 31 ? 1 : -1);
}

/**
 * The cosines of pairs of others that move losses nearly as far as what they are held against, by their strengths. Where there are less than two of them, those of
 * all, as they would be if they did: in a group of three the only one beside a copy and its original may be honest, and weak.
 */
function shownCosines(
  cosine: readonly (readonly number[])[],
  others: readonly number[],
  strength: (index: number) => number,
  beside: number,
): number[] {
  const pairs = (list: readonly number[], raised: (index: number) => number) =>
    list.flatMap((a) => list.filter((b) => b > a).map((b) => (cosine[a]?.[b] as number) * raised(a) * raised(b)));
  const clear = others.filter((index) => strength(index) >= leastStrength.usual * beside);
  if (clear.length > 1) return pairs(clear, () => 1);
  return pairs(others, (index) => Math.max(1, beside / strength(index)));
}

/**
 * The upper tenth of the cosines of pairs, within what can be usual; the most that can be where there is none. (Not their median or quartile: short trainings,
 * or paid work under noise, like nobody, would make what is honest and alike suspect.)
 */
function usualCosineOf(pairs: readonly number[], sparse: boolean): number {
  const { least, mostDense, mostSparse } = usualCosine;
  const most = sparse ? mostSparse : mostDense;
  const upper = [...pairs].sort((a, b) => a - b)[Math.floor((9 * pairs.length + 9) / 10) - 1] ?? most;
  return Math.min(most, Math.max(least, upper));
}

/** The share from which on a submission is a near copy. */
export function certainShare(usual: number): number {
  const rest = 1 - usual;
  return 1 - rest * Math.max(1 / 4, (5 / 8) * rest);
}

/** The deltas at `sources`, each of length 1, that together come nearest to the one at `place`; one that those before it nearly make up has no weight. */
function leastSquares(
  cosine: readonly (readonly number[])[],
  sources: readonly number[],
  place: number,
): { readonly share: number; readonly weights: readonly number[] } {
  // Gauss and Jordan, on the normal equations with their right side.
  const rows = sources.map((a) => [...sources, place].map((b) => cosine[a]?.[b] as number));
  for (const [i, pivot] of rows.entries()) {
    const by = pivot[i] as number;
    const factor = by > sameSquares ? 1 / by : 0;
    for (const k of pivot.keys()) pivot[k] = (pivot[k] as number) * factor;
    for (const row of rows) {
      const times = row[i] as number;
      if (row !== pivot) for (const k of row.keys()) row[k] = (row[k] as number) - times * (pivot[k] as number);
    }
  }
  const weights = rows.map((row) => row.at(-1) as number);
  const squares = weights.reduce((sum, weight, at) => sum + weight * (cosine[sources[at] as number]?.[place] as number), 0);
  return { share: Math.sqrt(Math.min(1, Math.max(0, squares))), weights };
}
