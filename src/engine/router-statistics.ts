/** What the router of each layer does with a domain's tokens: the scores that experts are selected by (docs/protocol.md, section 5). */
import type { Architecture } from "../model/families/index.ts";
import type { ExpertScores } from "../protocol/experts/esft.ts";
import { type BatchShape, layOut } from "./decoder/batch.ts";
import { buildDecoder, tokensInput } from "./decoder/decoder.ts";
import { padded } from "./evaluator.ts";
import { createGraph } from "./graph/graph.ts";
import { lowerGraph } from "./graph/lower.ts";
import { encodeModel } from "./onnx/writer.ts";
import { openSession } from "./runtime/session.ts";
import { float32Value, int64Value, type Value } from "./runtime/value.ts";
import { checkWeights } from "./weights.ts";

export interface ExpertScoresOptions {
  readonly architecture: Architecture;
  /** Every tensor of the architecture by name, row-major. */
  readonly weights: ReadonlyMap<string, Float32Array>;
  /** Sequences of `sequenceLength + 1` tokens, of which the last only counts as the target that it is. */
  readonly sequences: readonly Int32Array[];
  readonly sequenceLength: number;
  readonly threads?: number;
  readonly onProgress?: (progress: { readonly done: number; readonly total: number }) => void;
  readonly signal?: AbortSignal;
}

/** Tokens in a batch, about: enough for large matrix products. */
const batchTokens = 1024;

/**
 * Runs the model's layers over the sequences and sums up what the routers chose. Gate: the mean weight that an expert's output is given, 0 where it was not
 * chosen. Token: the mean of 1/K where it was one of the K chosen, else 0.
 * Errors: unknown-family, config-not-computable, weights-mismatch, batch-invalid; the signal's reason.
 */
export async function expertScores(options: ExpertScoresOptions): Promise<ExpertScores> {
  const { architecture, sequences, sequenceLength, signal } = options;
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
    const sums = routed.map(({ layer }) => ({
      layer,
      gate: new Float64Array(architecture.experts),
      chosen: new Float64Array(architecture.experts),
    }));
    for (let start = 0; start < sequences.length; start += batch.sequences) {
      const part = sequences.slice(start, start + batch.sequences);
      const { tokens } = layOut(padded(part, batch), batch, architecture.vocabularySize);
      values.set(tokensInput, int64Value([tokens.length], tokens));
      const feeds = Object.fromEntries(session.inputs.map((name) => [name, values.get(name) as Value]));
      const results = await session.run(feeds, session.outputs, signal === undefined ? {} : { signal });
      for (const { layer, gate, chosen } of sums) {
        const experts = (results[`experts.${layer}`] as Value).int64();
        const gates = (results[`gates.${layer}`] as Value).float32();
        for (const [slot, expert] of experts.entries()) {
          const column = Math.floor(slot / architecture.expertsPerToken) % batch.sequences;
          if (column >= part.length) continue;
          gate[Number(expert)]! += gates[slot] as number;
          chosen[Number(expert)]! += 1;
        }
      }
      for (const value of Object.values(results)) value.dispose();
      options.onProgress?.({ done: start + part.length, total: sequences.length });
    }
    const tokens = sequences.length * sequenceLength;
    const share = 1 / Math.max(tokens, 1);
    return {
      format: "connito/expert-scores/1",
      tokens,
      layers: sums.map(({ layer, gate, chosen }) => ({
        layer,
        gate: Array.from(gate, (sum) => sum * share),
        token: Array.from(chosen, (count) => (count * share) / architecture.expertsPerToken),
      })),
    };
  } finally {
    session.dispose();
  }
}
