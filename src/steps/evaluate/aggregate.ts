/**
 * One gradient from a group's contributors, as protocol/aggregate.ts has the rule, with the same bits: tensor by tensor, so that memory holds one
 * tensor of each contributor however large the model. What the rule wants to know of whole deltas (norms, distances) is found first, in passes of
 * its own; the gradient is then computed as it is read, in an arena of the kernels that submissions are decoded into.
 */

import { exclusive } from "../../engine/exclusive.ts";
import { averageDeltas, middleMean, multiply, squaredDistance } from "../../kernels/merge.ts";
import { openArena } from "../../kernels/module.ts";
import type { Tensors, Values } from "../../model/tensors.ts";
import { type AggregationRule, clippingFactors, krumChoice, normFactors } from "../../protocol/aggregate.ts";

/** The gradient of at least one contributor; contributors come in merge order, and all have the same tensors. */
export async function aggregate(contributors: readonly Tensors[], rule: AggregationRule): Promise<Tensors> {
  const [first] = contributors;
  if (first === undefined) throw new Error("nothing to aggregate");
  const { sizes } = first;
  const largest = Math.max(0, ...sizes.values());
  const count = contributors.length;
  const arena = openArena((count + 1) * largest, count + 1);
  const places = Array.from({ length: count }, () => arena.take(largest));
  const spare = arena.take(largest);

  /** Each one's values of a tensor, in the arena, for whoever asks next to overwrite. */
  const read = (all: readonly Tensors[], name: string): Promise<Values[]> => {
    const size = sizes.get(name) ?? 0;
    return Promise.all(all.map((tensors, index) => into(tensors, name, (places[index] as Values).subarray(0, size))));
  };
  const squares = contributors.map(() => 0);
  for (const name of sizes.keys())
    for (const [index, values] of (await read(contributors, name)).entries())
      squares[index] = (squares[index] as number) + squaredDistance(values);
  const factors = normFactors(squares.map(Math.sqrt), rule.normCap);
  const capped = contributors.map((tensors, index) => shortened(tensors, factors[index] as number));
  const suspects = Math.floor(rule.tolerated * count);
  const median = async (name: string) => {
    const values = await read(capped, name);
    return middleMean(values, (count - 1) >> 1, spare.subarray(0, sizes.get(name)));
  };

  const one = exclusive();
  /** What is computed lies in the arena; it is copied out only where it is wanted elsewhere. */
  const computed = (compute: (name: string) => Promise<Values>): Tensors => ({
    sizes,
    read: (name, target) =>
      one(async () => {
        const values = await compute(name);
        target?.set(values);
        return target ?? values;
      }),
  });
  switch (rule.method) {
    case "mean":
      return computed(async (name) => average(await read(capped, name)));
    case "trimmed-mean":
      return computed(async (name) => middle(await read(capped, name), suspects));
    case "median":
      return computed(median);
    case "centred-clipping": {
      const distances = contributors.map(() => 0);
      for (const name of sizes.keys()) {
        const centre = await median(name);
        for (const [index, values] of (await read(capped, name)).entries())
          distances[index] = (distances[index] as number) + squaredDistance(values, centre);
      }
      const clips = clippingFactors(distances.map(Math.sqrt));
      return computed(async (name) => {
        const centre = await median(name);
        return clipped(await read(capped, name), centre, clips);
      });
    }
    case "krum": {
      const distances = contributors.map(() => contributors.map(() => 0));
      for (const name of sizes.keys()) addPairs(await read(capped, name), distances);
      const chosen = krumChoice(distances, suspects).map((index) => capped[index] as Tensors);
      return computed(async (name) => average(await read(chosen, name)));
    }
  }
}

async function into(tensors: Tensors, name: string, place: Values): Promise<Values> {
  await tensors.read(name, place);
  return place;
}

function shortened({ sizes, read }: Tensors, factor: number): Tensors {
  if (factor === 1) return { sizes, read };
  return {
    sizes,
    read: async (name, target) => multiply(await read(name, target), factor, target),
  };
}

function average(values: readonly Values[]): Values {
  return averageDeltas(values, values[0]);
}

function middle(values: readonly Values[], trim: number): Values {
  return middleMean(values, trim, values[0]);
}

/** Adds the squared distances of each pair. */
function addPairs(values: readonly Values[], sums: number[][]): void {
  for (const [row, a] of values.entries()) {
    for (let column = 0; column < row; column++) {
      const square = squaredDistance(a, values[column] as Values);
      (sums[row] as number[])[column] = ((sums[row] as number[])[column] as number) + square;
      (sums[column] as number[])[row] = ((sums[column] as number[])[row] as number) + square;
    }
  }
}

/** Pulls the centre, in its place, towards each by `factor * (value - centre)`, averaged. */
function clipped(values: readonly Values[], centre: Values, factors: readonly number[]): Values {
  for (const [index, own] of values.entries()) {
    const factor = factors[index] as number;
    for (let i = 0; i < own.length; i++) own[i] = factor * Math.fround((own[i] as number) - (centre[i] as number));
  }
  const pull = average(values);
  for (let i = 0; i < pull.length; i++) centre[i] = (centre[i] as number) + (pull[i] as number);
  return centre;
}
