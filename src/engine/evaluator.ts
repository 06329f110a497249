/**
 * The loss of a model on sequences: the number that Proof-of-Loss stands on. One graph form and one batch shape for every call, float32 throughout, and
 * the tokens' losses averaged in a fixed order in float64: the same sequences and weights give the same bits on every repeat.
 */
import type { Architecture } from "../model/families/index.ts";
import { type BatchShape, layOut } from "./decoder/batch.ts";
import { buildDecoder, targetsInput, tokensInput } from "./decoder/decoder.ts";
import { createGraph } from "./graph/graph.ts";
import { lowerGraph } from "./graph/lower.ts";
import { encodeModel } from "./onnx/writer.ts";
import { openSession } from "./runtime/session.ts";
import { float32Value, int64Value, type Value } from "./runtime/value.ts";
import { checkWeights } from "./weights.ts";

export interface EvaluatorOptions {
  readonly architecture: Architecture;
  /** Every tensor of the architecture by name, row-major. They are not copied, and must stay as they are. */
  readonly weights: ReadonlyMap<string, Float32Array>;
  /** Tokens predicted in a sequence. */
  readonly sequenceLength: number;
  /** Sequences in a batch. Part of the numeric form: all who compare losses must use one number. */
  readonly batchSequences: number;
  /** Threads of the computation; as many as there are cores where left out. */
  readonly threads?: number;
}

export interface Evaluator {
  /**
   * The mean loss of each sequence of `sequenceLength + 1` tokens, in nats per token; not finite where the weights make it so.
   * Weights that are replaced meanwhile count from the next call on. `onProgress` is told after each batch.
   * Errors: batch-invalid; the signal's reason.
   */
  losses(sequences: readonly Int32Array[], onProgress?: (progress: Progress) => void, signal?: AbortSignal): Promise<Float64Array>;
  /**
   * Puts other values in the place of some tensors, at no cost; they are not copied, and must stay as they are. Replacing them by the former
   * arrays restores the model. Errors: weights-mismatch, and then nothing is replaced.
   */
  replace(tensors: ReadonlyMap<string, Float32Array>): void;
  /** Releases everything, after the calls that are under way. */
  dispose(): void;
}

export interface Progress {
  /** Sequences done. */
  readonly done: number;
  readonly total: number;
}

/** Errors: unknown-family, config-not-computable, weights-mismatch, and those of the runtime. */
export async function openEvaluator(options: EvaluatorOptions): Promise<Evaluator> {
  const { architecture } = options;
  const batch: BatchShape = { sequences: options.batchSequences, positions: options.sequenceLength };
  const shapes = checkWeights(architecture, options.weights);
  const current = new Map(options.weights);
  const graph = createGraph();
  const { losses } = buildDecoder(graph, architecture, batch);
  const session = await openSession(
    encodeModel(lowerGraph(graph, { losses })),
    options.threads === undefined ? {} : { threads: options.threads },
  );
  const values: Record<string, Value> = {};
  const put = (name: string, data: Float32Array) => {
    current.set(name, data);
    values[name] = float32Value(shapes.get(name) as readonly number[], data);
  };
  for (const [name, data] of options.weights) put(name, data);

  return {
    losses: async (sequences, onProgress, signal) => {
      const weights = { ...values };
      const result = new Float64Array(sequences.length);
      for (let start = 0; start < sequences.length; start += batch.sequences) {
        const part = sequences.slice(start, start + batch.sequences);
        const { tokens, targets } = layOut(padded(part, batch), batch, architecture.vocabularySize);
        const feeds = {
          ...weights,
          [tokensInput]: int64Value([tokens.length], tokens),
          [targetsInput]: int64Value([targets.length], targets),
        };
        const outputs = await session.run(feeds, ["losses"], signal === undefined ? {} : { signal });
        const value = outputs["losses"] as Value;
        for (const index of part.keys()) result[start + index] = columnMean(value.float32(), index, batch);
        value.dispose();
        onProgress?.({ done: start + part.length, total: sequences.length });
      }
      return result;
    },
    replace: (tensors) => {
      checkWeights(architecture, new Map([...current, ...tensors]));
      for (const [name, data] of tensors) put(name, data);
    },
    dispose: () => session.dispose(),
  };
}

/** Fills a short batch with copies of its first sequence, whose results nobody reads. */
export function padded(sequences: readonly Int32Array[], { sequences: count }: BatchShape): Int32Array[] {
  return Array.from({ length: count }, (_, index) => sequences[index] ?? (sequences[0] as Int32Array));
}

/** The mean of one sequence's losses in a batch's [positions * sequences], in the order of its tokens. */
export function columnMean(losses: Float32Array, column: number, { sequences, positions }: BatchShape): number {
  let sum = 0;
  for (let position = 0; position < positions; position++) sum += losses[position * sequences + column] as number;
  return sum / positions;
}
