/**
 * What the routers of a model do with the tokens of a task's domains, counted in whole numbers, so that the same document gives the same
 * scores and the same groups on every machine.
 */
import * as v from "valibot";
import { ConnitoError } from "../../errors.ts";
import type { ExpertScores } from "./esft.ts";

/** Gate weights are summed up in whole millionths. */
export const gateUnit = 1_000_000;
/** Energies in whole thousandths. */
export const energyUnit = 1_000;

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const counts = v.pipe(v.array(count), v.maxLength(65_536 * 512));

const schema = v.strictObject({
  format: v.literal("connito/router-statistics/1"),
  expertsPerToken: v.pipe(count, v.minValue(1)),
  domains: v.pipe(
    v.array(
      v.strictObject({
        name: v.string(),
        /** Tokens the routers saw. */
        tokens: count,
        layers: v.array(
          v.strictObject({
            layer: count,
            /** Sum of the gate weights that each expert was given, in millionths. */
            gate: counts,
            /** How many tokens chose each expert. */
            chosen: counts,
            /** How many tokens chose both experts of a pair: (0,1), (0,2), .., (0,E-1), (1,2), .. */
            pairs: counts,
            /**
             * By expert, the sum over its tokens of the square of the token's weight times twice the mean square of what the expert reads and once that of what it
             * has inside, in thousandths: what the squared error of its matrices is to be weighed with.
             */
            energy: counts,
          }),
        ),
      }),
    ),
    v.minLength(1),
    v.maxLength(256),
  ),
});

export type RouterStatistics = v.InferOutput<typeof schema>;
export type DomainStatistics = RouterStatistics["domains"][number];
export type LayerStatistics = DomainStatistics["layers"][number];

/** Where the pair of two different experts stands among the pairs of `experts`. */
export function pairPlace(one: number, other: number, experts: number): number {
  const [low, high] = one < other ? [one, other] : [other, one];
  return low * experts - (low * (low + 1)) / 2 + (high - low - 1);
}

/** The statistics that a parsed JSON value is. Throws `router-statistics-invalid`. */
export function parseRouterStatistics(value: unknown): RouterStatistics {
  const result = v.safeParse(schema, value);
  if (!result.success) {
    const [issue] = result.issues;
    throw invalid(`${v.getDotPath(issue) ?? "the document"}: ${issue.message}`);
  }
  const { domains } = result.output;
  const shape = ({ layers }: DomainStatistics) => layers.map(({ layer, gate }) => `${layer}:${gate.length}`).join();
  for (const domain of domains) {
    if (shape(domain) !== shape(domains[0] as DomainStatistics))
      throw invalid(`${domain.name} is of another model than ${domains[0]?.name}`);
    for (const [index, { layer, gate, chosen, pairs, energy }] of domain.layers.entries()) {
      if (index > 0 && layer <= (domain.layers[index - 1]?.layer ?? 0)) throw invalid("its layers do not rise");
      if (
        gate.length === 0 ||
        chosen.length !== gate.length ||
        energy.length !== gate.length ||
        pairs.length !== (gate.length * (gate.length - 1)) / 2
      )
        throw invalid(`layer ${layer} of ${domain.name} has counts for different numbers of experts`);
    }
  }
  return result.output;
}

/** ESFT's scores over the tokens of all domains together. */
export function scoresOf({ expertsPerToken, domains }: RouterStatistics): ExpertScores {
  const tokens = domains.reduce((sum, domain) => sum + domain.tokens, 0);
  const share = 1 / Math.max(tokens, 1);
  const total = (layer: number, what: "gate" | "chosen") => {
    const lists = domains.map(({ layers }) => (layers[layer] as LayerStatistics)[what]);
    return (lists[0] as number[]).map((_, expert) => lists.reduce((sum, list) => sum + (list[expert] as number), 0));
  };
  return {
    format: "connito/expert-scores/1",
    tokens,
    layers: (domains[0] as DomainStatistics).layers.map(({ layer }, index) => ({
      layer,
      gate: total(index, "gate").map((sum) => Math.min(1, (sum / gateUnit) * share)),
      token: total(index, "chosen").map((sum) => Math.min(1, (sum * share) / expertsPerToken)),
    })),
  };
}

function invalid(reason: string): ConnitoError {
  return new ConnitoError(`The document is no router statistics: ${reason}`, {
    code: "router-statistics-invalid",
    exit: "invalidInput",
    hint: "Run `connito esft select --save-statistics FILE` on the model to make them again.",
  });
}
