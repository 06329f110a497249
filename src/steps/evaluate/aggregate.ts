/**
 * One gradient from a group's contributors, as protocol/aggregate.ts has the rule, with the same bits: tensor by tensor, so that memory holds one
 * tensor of each contributor however large the model. What the rule wants to know of whole deltas (norms, distances) is found first, in passes of
 * its own; the gradient is then computed as it is read, where submissions are decoded to.
 */

import { averageDeltas, middleMean, multiply, squaredDistance } from "../../kernels/merge.ts";
import type { Tensors, Values } from "../../model/tensors.ts";
import { type AggregationRule, clippingFactors, krumChoice, normFactors } from "../../protocol/aggregate.ts";
import { largestOf, openWorkplace, type Workplace } from "./workplace.ts";

/** The arrays that `aggregate` works in: one for each contributor, and one more. */
export function aggregationPlace(contributors: number, largest: number): Workplace {
  return openWorkplace(contributors + 1, largest);
}

/**
 * The gradient of at least one contributor; contributors come in merge order, and all have the same tensors. Several gradients may share a workplace for
 * the most contributors and the largest tensor of them.
 */
export async function aggregate(contributors: readonly Tensors[], rule: AggregationRule, shared?: Workplace): Promise<Tensors> {
  const [first] = contributors;
  if (first === undefined) throw new Error("nothing to aggregate");
  const { sizes } = first;
  const count = contributors.length;
  const workplace = shared ?? aggregationPlace(count, largestOf(sizes));
  const suspects = Math.floor(rule.tolerated * count);

  /** Some contributors' values of a tensor, each in a place of its own to be worked on, and a spare place. */
  const withValues = <T>(of: readonly Tensors[], name: string, work: (values: readonly Values[], spare: Values) => T): Promise<T> =>
    workplace.use(sizes.get(name) ?? 0, async (places) => work(await readInto(of, name, places), places.at(-1) as Values));
  const computed = (compute: (name: string, places: readonly Values[]) => Promise<Values>): Tensors => ({
    sizes,
    read: (name, into) =>
      workplace.use(sizes.get(name) ?? 0, async (places) => {
        const values = await compute(name, places);
        const result = into ?? new Float32Array(values.length);
        result.set(values);
        return result;
      }),
  });

  const squares = contributors.map(() => 0);
  for (const name of sizes.keys())
    await withValues(contributors, name, (values) =>
      addTo(
        squares,
        values.map((one) => squaredDistance(one)),
      ),
    );
  const factors = normFactors(squares.map(Math.sqrt), rule.normCap);
  const capped = contributors.map((tensors, index) => shortened(tensors, factors[index] as number));
  const averaged = (chosen: readonly Tensors[]) => computed(async (name, places) => average(await readInto(chosen, name, places)));
  const median = async (name: string, places: readonly Values[]) =>
    middleMean(await readInto(capped, name, places), (count - 1) >> 1, places.at(-1));
  switch (rule.method) {
    case "mean":
      return averaged(capped);
    case "trimmed-mean":
      return computed(async (name, places) => middleMean(await readInto(capped, name, places), suspects, places.at(-1)));
    case "median":
      return computed(median);
    case "centred-clipping": {
      const distances = contributors.map(() => 0);
      for (const [name, length] of sizes) {
        await workplace.use(length, async (places) => {
          const centre = await median(name, places);
          const values = await readInto(capped, name, places);
          addTo(
            distances,
            values.map((one) => squaredDistance(one, centre)),
          );
        });
      }
      const clips = clippingFactors(distances.map(Math.sqrt));
      return computed(async (name, places) => {
        const centre = await median(name, places);
        return clipped(await readInto(capped, name, places), centre, clips);
      });
    }
    case "krum": {
      const distances = contributors.map(() => contributors.map(() => 0));
      for (const name of sizes.keys()) await withValues(capped, name, (values) => addPairs(distances, values));
      return averaged(krumChoice(distances, suspects).map((index) => capped[index] as Tensors));
    }
  }
}

function readInto(all: readonly Tensors[], name: string, places: readonly Values[]): Promise<Values[]> {
  return Promise.all(
    all.map(async (tensors, index) => {
      const place = places[index] as Values;
      await tensors.read(name, place);
      return place;
    }),
  );
}

function shortened({ sizes, read }: Tensors, factor: number): Tensors {
  if (factor === 1) return { sizes, read };
  return { sizes, read: async (name, into) => multiply(await read(name, into), factor, into) };
}

function average(values: readonly Values[]): Values {
  return averageDeltas(values, values[0]);
}

function addTo(sums: number[], values: readonly number[]): void {
  for (const [index, value] of values.entries()) sums[index] = (sums[index] as number) + value;
}

/** Adds the squared distances of each pair. */
function addPairs(sums: readonly number[][], values: readonly Values[]): void {
  for (const [row, a] of values.entries())
    addTo(
      sums[row] as number[],
      values.map((b, column) => (row === column ? 0 : squaredDistance(a, b))),
    );
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
