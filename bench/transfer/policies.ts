/** What may stand in for the experts that a slice lacks. */

import { feedbackOf } from "../../src/kernels/low-bits.ts";
import { createLowBits, readLowBits } from "../../src/model/low-bits.ts";
import { allotBits } from "../../src/protocol/experts/allot-bits.ts";
import type { Policy, StandIns } from "./experiment.ts";
import { affine, exact, type Format, normal, nothing, q4, ternary } from "./formats.ts";

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

/** The product's: bits where both domains' tokens use them, made once for both, rounded for what the experts are given; or rounded for themselves. */
export function byUse(budget: number, { feedback }: { readonly feedback: boolean } = { feedback: true }): Policy {
  return {
    name: feedback ? `by use, ${budget} bits` : `by use, rounded plainly, ${budget} bits`,
    standIns: ({ architecture, weights, statistics, moments }, missing, _domain, group): StandIns => {
      const layers = architecture.expertLayers.map((layer) => ({
        layer,
        groupOf: Array.from({ length: architecture.experts }, (_, expert) => (group(layer, expert) ? 0 : 1)),
      }));
      const allotted = new Map(allotBits(statistics, layers, 2, budget).map(({ layer, bits }) => [layer, bits]));
      let bytes = 0;
      const values = missing.map(({ name, shape, layer, expert, part }): [string, Float32Array] => {
        const exact = weights.get(name) as Float32Array;
        const bits = allotted.get(layer as number)?.[expert as number] ?? 0;
        if (bits === 0) return [name, new Float32Array(exact.length)];
        const given = moments.find((one) => one.layer === layer)?.experts[expert as number];
        const seen = part === "expert.down" ? given?.inner : given?.input;
        const copy = createLowBits(shape, bits, feedback && seen !== undefined ? feedbackOf(seen) : undefined);
        copy.put(exact, 0);
        bytes += copy.bytes.length;
        return [name, readLowBits(copy.bytes, shape, bits)];
      });
      const parameters = values.reduce((sum, [, { length }]) => sum + length, 0);
      return { values: new Map(values), bits: (8 * bytes) / parameters };
    },
  };
}

function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(key(item), [...(groups.get(key(item)) ?? []), item]);
  return groups;
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
  byUse(2, { feedback: false }),
  byUse(3),
  byUse(2),
  byUse(1.5),
  byUse(1),
];
