/**
 * From the contributors' deltas to one gradient for a group (docs/protocol.md, section 9): norms capped against the peers', then the
 * task's choice of an average that a minority cannot drag away. Deltas are lists of tensors in canonical order, alike for all contributors;
 * contributors come in merge order. Elementwise work is fp32, one rounding an operation; norms and distances are fp64 in a stated order,
 * so that the result has the same bits on every machine.
 */
import { averageDeltas } from "./outer-step.ts";
import type { Task } from "./task.ts";

/** One contributor's delta: its tensors in canonical order. */
export type Delta = readonly Float32Array[];
export type AggregationRule = Pick<Task["merge"], "method" | "tolerated" | "normCap">;

const { fround } = Math;

/** The group's gradient, tensor by tensor. At least one contributor; one alone is taken as it is. */
export function aggregateDeltas(contributors: readonly Delta[], rule: AggregationRule): Float32Array[] {
  const first = contributors[0];
  if (first === undefined) throw new Error("nothing to aggregate");
  const capped = capNorms(contributors, rule.normCap);
  const suspects = Math.floor(rule.tolerated * capped.length);
  const tensorwise = (combine: (values: readonly Float32Array[]) => Float32Array) =>
    first.map((_, tensor) => combine(capped.map((delta) => delta[tensor] as Float32Array)));
  switch (rule.method) {
    case "mean":
      return tensorwise(averageDeltas);
    case "trimmed-mean":
      return tensorwise((values) => middleMean(values, suspects));
    case "median":
      return tensorwise(coordinateMedian);
    case "centred-clipping":
      return centredClipping(capped, tensorwise(coordinateMedian));
    case "krum": {
      const distances = capped.map((delta) => capped.map((other) => distance(delta, other)));
      const chosen = krumChoice(distances, suspects);
      return tensorwise((values) => averageDeltas(chosen.map((index) => values[index] as Float32Array)));
    }
  }
}

/** Sum of the squares of `a - b` (of `a`, without `b`): four lanes by place modulo 4, each from the left, then (0 + 1) + (2 + 3). */
export function squaredDistance(a: Float32Array, b?: Float32Array): number {
  const lanes = [0, 0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const difference = (a[i] as number) - (b === undefined ? 0 : (b[i] as number));
    lanes[i & 3] = (lanes[i & 3] as number) + difference * difference;
  }
  const [l0, l1, l2, l3] = lanes as [number, number, number, number];
  return l0 + l1 + (l2 + l3);
}

/** Over all tensors, from the first on. */
function distance(a: Delta, b?: Delta): number {
  return a.reduce((sum, tensor, index) => sum + squaredDistance(tensor, b?.[index]), 0);
}

/** The lower median. */
function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[(values.length - 1) >> 1] as number;
}

/** Who is longer than `cap` times the median norm is shortened to that. */
function capNorms(contributors: readonly Delta[], cap: number): Delta[] {
  const factors = normFactors(
    contributors.map((delta) => Math.sqrt(distance(delta))),
    cap,
  );
  return contributors.map((delta, index) => {
    const factor = factors[index] as number;
    return factor === 1 ? delta : delta.map((tensor) => tensor.map((value) => value * factor));
  });
}

/** What each contributor's values are multiplied by, given their norms: fp32, 1 where the norm is within `cap` times the median. */
export function normFactors(norms: readonly number[], cap: number): number[] {
  return shortened(norms, cap * median(norms));
}

/** What each contributor's pull is multiplied by, given the distances to the centre. */
export function clippingFactors(distances: readonly number[]): number[] {
  return shortened(distances, median(distances));
}

function shortened(lengths: readonly number[], limit: number): number[] {
  return lengths.map((length) => (length > limit ? fround(limit / length) : 1));
}

/** Coordinate by coordinate, the mean of what is left when the `trim` lowest and highest values are dropped: added rising. */
function middleMean(values: readonly Float32Array[], trim: number): Float32Array {
  const kept = values.length - 2 * trim;
  const share = fround(1 / kept);
  const result = new Float32Array((values[0] as Float32Array).length);
  const column = new Float32Array(values.length);
  for (let i = 0; i < result.length; i++) {
    for (let k = 0; k < column.length; k++) column[k] = (values[k] as Float32Array)[i] as number;
    column.sort();
    let sum = column[trim] as number;
    for (let k = trim + 1; k < trim + kept; k++) sum = fround(sum + (column[k] as number));
    result[i] = sum * share;
  }
  return result;
}

/** The middle value of each coordinate; of an even number the mean of the two in the middle. */
function coordinateMedian(values: readonly Float32Array[]): Float32Array {
  return middleMean(values, (values.length - 1) >> 1);
}

/**
 * One step of centred clipping (Karimireddy, He, Jaggi, arXiv 2012.10333) from the coordinate median: each contributor pulls the centre
 * towards itself, nobody further than the median distance.
 */
function centredClipping(contributors: readonly Delta[], centre: readonly Float32Array[]): Float32Array[] {
  const factors = clippingFactors(contributors.map((delta) => Math.sqrt(distance(delta, centre))));
  return centre.map((middle, tensor) => {
    const pulls = contributors.map((delta, index) => {
      const factor = factors[index] as number;
      return (delta[tensor] as Float32Array).map((value, i) => factor * fround(value - (middle[i] as number)));
    });
    return averageDeltas(pulls).map((pull, i) => (middle[i] as number) + pull);
  });
}

/**
 * Multi-Krum (Blanchard et al., NeurIPS 2017): the `n - suspects` contributors whose squared distances to their `n - suspects - 2` nearest
 * peers (at least one) sum to the least, in merge order. Ties: the earlier in merge order. Of two or fewer all are taken.
 */
export function krumChoice(squaredDistances: readonly (readonly number[])[], suspects: number): number[] {
  const indices = squaredDistances.map((_, index) => index);
  if (indices.length <= 2) return indices;
  const nearest = Math.max(1, indices.length - suspects - 2);
  const scores = squaredDistances.map((row, index) => {
    const others = row.filter((_, other) => other !== index).sort((a, b) => a - b);
    return others.slice(0, nearest).reduce((sum, value) => sum + value, 0);
  });
  const best = [...indices].sort((a, b) => (scores[a] as number) - (scores[b] as number) || a - b);
  return best.slice(0, indices.length - suspects).sort((a, b) => a - b);
}
