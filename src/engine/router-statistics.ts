/** What the router of each layer does with a domain's tokens: what experts are selected and grouped by (docs/protocol.md, section 5). */
import type { Architecture } from "../model/families/index.ts";
import { gateUnit, pairPlace, type RouterStatistics } from "../protocol/experts/router-statistics.ts";
import { type BatchShape, layOut } from "./decoder/batch.ts";
import { buildDecoder, tokensInput } from "./decoder/decoder.ts";
import { padded } from "./evaluator.ts";
import { createGraph } from "./graph/graph.ts";
import { lowerGraph } from "./graph/lower.ts";
import { encodeModel } from "./onnx/writer.ts";
import { openSession } from "./runtime/session.ts";
import { float32Value, int64Value, type Value } from "./runtime/value.ts";
import { checkWeights } from "./weights.ts";

export interface RouterStatisticsOptions {
  readonly architecture: Architecture;
  /** Every tensor of the architecture by name, row-major. */
  readonly weights: ReadonlyMap<string, Float32Array>;
  /** By domain, sequences of `sequenceLength + 1` tokens, of which the last only counts as the target that it is. */
  readonly domains: readonly { readonly name: string; readonly sequences: readonly Int32Array[] }[];
  readonly sequenceLength: number;
  readonly threads?: number;
  readonly onProgress?: (progress: { readonly done: number; readonly total: number }) => void;
  readonly signal?: AbortSignal;
}

/** Tokens in a batch, about: enough for large matrix products. */
const batchTokens = 1024;

/**
 * Runs the model's layers over the sequences and counts what the routers chose: the weight that each expert's output is given, how many
 * tokens chose it, and how many chose each pair.
 * Errors: unknown-family, config-not-computable, weights-mismatch, batch-invalid; the signal's reason.
 */
export async function routerStatistics(options: RouterStatisticsOptions): Promise<RouterStatistics> {
  const { architecture, sequenceLength, signal } = options;
  const { experts: count, expertsPerToken } = architecture;
  const batch: BatchShape = { sequences: Math.max(1, Math.floor(batchTokens / sequenceLength)), positions: sequenceLength };
  const shapes = checkWeights(architecture, options.weights);
  const graph = createGraph();
  const { routed } = buildDecoder(graph, architecture, batch);
  const outputs = Object.fromEntries(
    routed.flatMap(({ layer, experts, gates }) => [
      [`experts.${layer}`, experts],
      [`gates.${layer}`, gates],
    ]),
  );
  const session = await openSession(
    encodeModel(lowerGraph(graph, outputs)),
    options.threads === undefined ? {} : { threads: options.threads },
  );
  try {
    const values = new Map([...shapes].map(([name, shape]) => [name, float32Value(shape, options.weights.get(name) as Float32Array)]));
    const total = options.domains.reduce((sum, { sequences }) => sum + sequences.length, 0);
    let done = 0;
    const domains: RouterStatistics["domains"] = [];
    for (const { name, sequences } of options.domains) {
      const sums = routed.map(({ layer }) => ({
        layer,
        gate: new Float64Array(count),
        chosen: new Float64Array(count),
        pairs: new Float64Array((count * (count - 1)) / 2),
      }));
      for (let start = 0; start < sequences.length; start += batch.sequences) {
        const part = sequences.slice(start, start + batch.sequences);
        const { tokens } = layOut(padded(part, batch), batch, architecture.vocabularySize);
        values.set(tokensInput, int64Value([tokens.length], tokens));
        const feeds = Object.fromEntries(session.inputs.map((input) => [input, values.get(input) as Value]));
        const results = await session.run(feeds, session.outputs, signal === undefined ? {} : { signal });
        for (const { layer, gate, chosen, pairs } of sums) {
          const experts = (results[`experts.${layer}`] as Value).int64();
          const gates = (results[`gates.${layer}`] as Value).float32();
          for (let token = 0; token * expertsPerToken < experts.length; token++) {
            if (token % batch.sequences >= part.length) continue;
            for (let slot = token * expertsPerToken; slot < (token + 1) * expertsPerToken; slot++) {
              const expert = Number(experts[slot]);
              gate[expert]! += gates[slot] as number;
              chosen[expert]! += 1;
              for (let other = token * expertsPerToken; other < slot; other++)
                pairs[pairPlace(Number(experts[other]), expert, count)]! += 1;
            }
          }
        }
        for (const value of Object.values(results)) value.dispose();
        done += part.length;
        options.onProgress?.({ done, total });
      }
      domains.push({
        name,
        tokens: sequences.length * sequenceLength,
        layers: sums.map(({ layer, gate, chosen, pairs }) => ({
          layer,
          // Rounded weights may come out a hair below nothing.
          gate: Array.from(gate, (sum) => Math.max(0, Math.round(sum * gateUnit))),
          chosen: [...chosen],
          pairs: [...pairs],
        })),
      });
    }
    return { format: "connito/router-statistics/1", expertsPerToken, domains };
  } finally {
    session.dispose();
  }
}
