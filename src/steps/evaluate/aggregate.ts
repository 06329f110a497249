/**
 * One gradient from a group's contributors, as protocol/aggregate.ts has the rule, with the same bits: tensor by tensor, so that memory holds one
 * tensor of each contributor however large the model. What the rule wants to know of whole deltas (norms, distances) is found first, in passes of
 * its own; the gradient is then computed as it is read.
 */

import { averageDeltas, middleMean, multiply, squaredDistance } from "../../kernels/merge.ts";
import type { Tensors } from "../../model/tensors.ts";
import { type AggregationRule, clippingFactors, krumChoice, normFactors } from "../../protocol/aggregate.ts";

/** The gradient of at least one contributor; contributors come in merge order, and all have the same tensors. */
export async function aggregate(contributors: readonly Tensors[], rule: AggregationRule): Promise<Tensors> {
  const [first] = contributors;
  if (first === undefined) throw new Error("nothing to aggregate");
  const { sizes } = first;
  const factors = normFactors(await measureAll(contributors), rule.normCap);
  const capped = contributors.map((tensors, index) => scaled(tensors, factors[index] as number));
  const suspects = Math.floor(rule.tolerated * capped.length);
  const values = (name: string, of = capped) => Promise.all(of.map((tensors) => tensors.read(name)));
  const median: Tensors = { sizes, read: async (name) => middleMean(await values(name), (capped.length - 1) >> 1) };
  switch (rule.method) {
    case "mean":
      return { sizes, read: async (name) => averageDeltas(await values(name)) };
    case "trimmed-mean":
      return { sizes, read: async (name) => middleMean(await values(name), suspects) };
    case "median":
      return median;
    case "centred-clipping": {
      const clips = clippingFactors((await distancesOf(capped, median)).map(Math.sqrt));
      return { sizes, read: async (name) => clipped(await values(name), await median.read(name), clips) };
    }
    case "krum": {
      const chosen = krumChoice(await pairwise(capped), suspects).map((index) => capped[index] as Tensors);
      return { sizes, read: async (name) => averageDeltas(await values(name, chosen)) };
    }
  }
}

function scaled(tensors: Tensors, factor: number): Tensors {
  return factor === 1 ? tensors : { sizes: tensors.sizes, read: async (name) => multiply(await tensors.read(name), factor) };
}

/** The norm of each, over all its tensors. */
async function measureAll(all: readonly Tensors[]): Promise<number[]> {
  const squares: number[] = [];
  for (const { sizes, read } of all) {
    let sum = 0;
    for (const name of sizes.keys()) sum += squaredDistance(await read(name));
    squares.push(sum);
  }
  return squares.map(Math.sqrt);
}

/** Squared distances to one point. */
async function distancesOf(all: readonly Tensors[], point: Tensors): Promise<number[]> {
  const sums = all.map(() => 0);
  for (const name of point.sizes.keys()) {
    const middle = await point.read(name);
    for (const [index, { read }] of all.entries()) sums[index] = (sums[index] as number) + squaredDistance(await read(name), middle);
  }
  return sums;
}

/** Squared distances of each pair. */
async function pairwise(all: readonly Tensors[]): Promise<number[][]> {
  const sums = all.map(() => all.map(() => 0));
  for (const name of all[0]?.sizes.keys() ?? []) {
    const values = await Promise.all(all.map(({ read }) => read(name)));
    for (const [row, a] of values.entries())
      for (const [column, b] of values.entries())
        if (row !== column) (sums[row] as number[])[column] = ((sums[row] as number[])[column] as number) + squaredDistance(a, b);
  }
  return sums;
}

function clipped(values: readonly Float32Array[], middle: Float32Array, factors: readonly number[]): Float32Array {
  const pulls = values.map((own, index) => {
    const pull = new Float32Array(own.length);
    const factor = factors[index] as number;
    for (let i = 0; i < pull.length; i++) pull[i] = factor * Math.fround((own[i] as number) - (middle[i] as number));
    return pull;
  });
  const result = averageDeltas(pulls);
  for (let i = 0; i < result.length; i++) result[i] = (middle[i] as number) + (result[i] as number);
  return result;
}
