/** What the router of each layer does with a domain's tokens: what experts are selected and grouped by (docs/protocol.md, section 5). */
import { ConnitoError } from "../errors.ts";
import { energyUnit, gateUnit, pairPlace, type RouterStatistics } from "../protocol/experts/router-statistics.ts";
import { scalar, type Tensor } from "./graph/graph.ts";
import { add, multiply } from "./graph/operators/elementwise.ts";
import { reduceSum } from "./graph/operators/reduce.ts";
import { type ObservedSample, observeLayers } from "./layers/observe-layers.ts";
import type { Observe } from "./layers/stages.ts";
import type { Value } from "./runtime/value.ts";

/**
 * Runs the model's layers over the sequences, one after another, and counts what the routers chose: the weight that each expert's output is given, how many
 * tokens chose it, how many chose each pair, and how much of what its matrices multiply comes through.
 * Errors: statistics-non-finite; those of observeLayers.
 */
export async function routerStatistics(sample: ObservedSample): Promise<RouterStatistics> {
  const { experts: count, expertsPerToken } = sample.architecture;
  const domains: RouterStatistics["domains"] = sample.domains.map(({ name, sequences }) => ({
    name,
    tokens: sequences.length * sample.sequenceLength,
    layers: [],
  }));
  for await (const { layer, batches } of observeLayers(sample, observe)) {
    const sums = domains.map(() => ({
      gate: new Float64Array(count),
      chosen: new Float64Array(count),
      pairs: new Float64Array((count * (count - 1)) / 2),
      energy: new Float64Array(count),
    }));
    for await (const { domain, sequences, columns, seen } of batches) {
      const { gate, chosen, pairs, energy } = sums[domain] as (typeof sums)[number];
      const experts = (seen.experts as Value).int64();
      const gates = (seen.gates as Value).float32();
      for (let token = 0; token * expertsPerToken < experts.length; token++) {
        if (token % columns >= sequences) continue;
        for (let slot = token * expertsPerToken; slot < (token + 1) * expertsPerToken; slot++) {
          const expert = Number(experts[slot]);
          gate[expert]! += gates[slot] as number;
          chosen[expert]! += 1;
          for (let other = token * expertsPerToken; other < slot; other++) pairs[pairPlace(Number(experts[other]), expert, count)]! += 1;
        }
      }
      // Columns that only fill a batch up stand in its sums: they are taken out in proportion.
      for (let expert = 0; expert < count; expert++)
        energy[expert]! += ((seen[`energy ${expert}`] as Value).float32()[0] as number) * (sequences / columns);
    }
    for (const [index, { gate, chosen, pairs, energy }] of sums.entries()) {
      if (![...gate, ...energy].every(Number.isFinite)) throw nonFinite(layer, domains[index]?.name as string);
      domains[index]?.layers.push({
        layer,
        // Rounded weights may come out a hair below nothing.
        gate: Array.from(gate, (sum) => Math.max(0, Math.round(sum * gateUnit))),
        chosen: [...chosen],
        pairs: [...pairs],
        energy: Array.from(energy, (sum) => Math.min(Number.MAX_SAFE_INTEGER, Math.round(sum * energyUnit))),
      });
    }
  }
  return { format: "connito/router-statistics/1", expertsPerToken, domains };
}

/** Gate and up read the input, down what is inside: by expert, the sum over its tokens of twice the one's mean square and the other's. */
const observe: Observe = ({ routed, weighed }) => ({
  experts: routed.experts,
  gates: routed.gates,
  ...Object.fromEntries(
    weighed().map(({ input, inner }, expert) => [`energy ${expert}`, add(meanSquares(input, 2), meanSquares(inner, 1))]),
  ),
});

/** Of x [rows, n], `times` the sum over the rows of the mean of their squares, [1, 1]. */
function meanSquares(x: Tensor, times: number): Tensor {
  const scaled = multiply(x, scalar(x.graph, Math.sqrt(times / Number(x.shape[1]))));
  return reduceSum(multiply(scaled, scaled), [0, 1]);
}

function nonFinite(layer: number, domain: string): ConnitoError {
  return new ConnitoError(`what the experts of layer ${layer} do on ${domain} is not finite`, {
    code: "statistics-non-finite",
    exit: "invalidInput",
    hint: "The base computes infinities on the domains' texts: use another base.",
  });
}
