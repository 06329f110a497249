/** What may stand in for the experts that a slice lacks. */
import type { TensorSpec } from "../../src/model/families/index.ts";
import type { Domain, Policy, StandIns } from "./experiment.ts";
import { affine, exact, type Format, normal, nothing, q4, steps, ternary } from "./formats.ts";

/** Every missing expert in one format. */
export function uniform(format: Format): Policy {
  return {
    name: format.name,
    standIns: ({ weights }, missing) => ({
      values: new Map(missing.map((spec) => [spec.name, format.round(weights.get(spec.name) as Float32Array, spec.shape)])),
      bits: format.bits,
    }),
  };
}

/** Each missing expert's tensors are the mean of all missing ones of its layer. */
export const meanOfMissing: Policy = {
  name: "mean of the missing",
  standIns: ({ weights }, missing) => {
    const byPlace = groupBy(missing, ({ layer, part }) => `${layer} ${part}`);
    const values = new Map<string, Float32Array>();
    for (const specs of byPlace.values()) {
      const tensors = specs.map(({ name }) => weights.get(name) as Float32Array);
      const average = (tensors[0] as Float32Array).map(
        (_, at) => tensors.reduce((sum, one) => sum + (one[at] as number), 0) / tensors.length,
      );
      for (const { name } of specs) values.set(name, average);
    }
    return { values, bits: 16 / (missing.length / byPlace.size) };
  },
};

const ladder: readonly Format[] = [
  nothing,
  normal(1, 64),
  ternary(64),
  normal(2, 64),
  normal(3, 64),
  steps(4, 64),
  steps(5, 64),
  steps(6, 64),
];

/**
 * Formats by how much the domain's tokens want each expert: what is left of the budget goes where a bit lowers the expected error most, an error being the
 * squared error of the expert's values times its share of the layer's tokens.
 */
export function byUse(budget: number): Policy {
  return {
    name: `by use, ${budget} bits`,
    standIns: ({ weights }, missing, domain): StandIns => {
      const places = [...groupBy(missing, ({ layer, expert }) => `${layer} ${expert}`).values()];
      const candidates = places.map((specs) => {
        const share = shareOf(domain, specs[0] as TensorSpec);
        return ladder.map((format) => {
          const rounded = specs.map(({ name, shape }) => ({ name, values: format.round(weights.get(name) as Float32Array, shape) }));
          const error = rounded.reduce((sum, { name, values }) => sum + squaredError(values, weights.get(name) as Float32Array), 0);
          return { bits: format.bits, error: share * error, rounded };
        });
      });
      const rungs = allot(candidates, budget * places.length);
      const chosen = candidates.map((options, place) => options[rungs[place] as number] as (typeof options)[number]);
      return {
        values: new Map(chosen.flatMap(({ rounded }) => rounded.map(({ name, values }) => [name, values]))),
        bits: chosen.reduce((sum, { bits }) => sum + bits, 0) / places.length,
      };
    },
  };
}

/** The option of each place, so that their bits are within the budget: always the step that lowers the error most for its bits. */
function allot(places: readonly (readonly { readonly bits: number; readonly error: number }[])[], budget: number): number[] {
  const rungs = places.map(() => 0);
  for (let left = budget; ; ) {
    let best: { place: number; rung: number; cost: number; value: number } | undefined;
    for (const [place, rung] of rungs.entries()) {
      const options = places[place] as (typeof places)[number];
      const from = options[rung] as (typeof options)[number];
      for (const [next, to] of options.entries()) {
        const cost = to.bits - from.bits;
        const value = (from.error - to.error) / cost;
        if (next > rung && cost <= left && value > (best?.value ?? 0)) best = { place, rung: next, cost, value };
      }
    }
    if (best === undefined) return rungs;
    rungs[best.place] = best.rung;
    left -= best.cost;
  }
}

function squaredError(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, index) => sum + (value - (b[index] as number)) ** 2, 0);
}

function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(key(item), [...(groups.get(key(item)) ?? []), item]);
  return groups;
}

function shareOf({ scores }: Domain, { layer, expert }: TensorSpec): number {
  return scores.layers.find((one) => one.layer === layer)?.token[expert as number] ?? 0;
}

export const policies: readonly Policy[] = [
  uniform(exact),
  uniform(nothing),
  meanOfMissing,
  uniform(q4),
  uniform(affine(3, 32)),
  uniform(affine(2, 32)),
  uniform(normal(3, 64)),
  uniform(normal(2, 64)),
  uniform(ternary(64)),
  byUse(3),
  byUse(2),
  byUse(1),
];
