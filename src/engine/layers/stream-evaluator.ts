/**
 * Losses of a base and of many candidates in one pass over the base's weights. Layers are loaded one after another, the next while the last is
 * computed; a candidate shares the base's activations up to its first changed layer, so it costs only what it changes, and its losses have exactly the
 * bits that a pass of its own would give: the same stages run on the same inputs.
 */
import { availableParallelism } from "node:os";
import type { Architecture } from "../../model/families/index.ts";
import { type BatchShape, layOut } from "../decoder/batch.ts";
import { columnMean, padded } from "../evaluator.ts";
import { inLanes } from "../lanes.ts";
import { float32Value, int64Value, type Value } from "../runtime/value.ts";
import { type Activations, openActivations, type Scratch } from "./activations.ts";
import { createStages, type OpenStage, type Stage } from "./stages.ts";

export interface StreamEvaluatorOptions {
  readonly architecture: Architecture;
  /** Tokens predicted in a sequence. */
  readonly sequenceLength: number;
  /** Sequences in a batch. Part of the numeric form: all who compare losses must use one number. */
  readonly batchSequences: number;
  /** Batches that are computed at the same time, each on one thread; as many as there are cores where left out. */
  readonly threads?: number;
  /** The base's weights of these names, row-major fp32. Asked stage by stage, in order; what it gives is dropped two stages later. */
  load(names: readonly string[]): Promise<ReadonlyMap<string, Float32Array>>;
  /** Where activations go that do not fit; without it all stay in memory. */
  readonly scratch?: Scratch;
}

/** A model that differs from the base in some layers. */
export interface StreamCandidate {
  /** The layers with changed tensors, rising; at least one. */
  readonly layers: readonly number[];
  /** The changed tensors of one of them, given the base's. Asked once. */
  tensors(layer: number, base: ReadonlyMap<string, Float32Array>): Promise<ReadonlyMap<string, Float32Array>>;
}

export interface StreamedLosses {
  /** The mean loss of each sequence, in nats per token. */
  readonly base: Float64Array;
  /** The same for each candidate. */
  readonly candidates: readonly Float64Array[];
}

export interface StreamProgress {
  /** Stages done, of `total`. */
  readonly done: number;
  readonly total: number;
}

export interface StreamEvaluator {
  /** Errors: batch-invalid; what `load` and `tensors` throw; the signal's reason. */
  losses(
    sequences: readonly Int32Array[],
    candidates?: readonly StreamCandidate[],
    options?: { readonly onProgress?: (progress: StreamProgress) => void; readonly signal?: AbortSignal },
  ): Promise<StreamedLosses>;
  dispose(): void;
}

interface Pass {
  readonly tokens: readonly { readonly tokens: Value; readonly targets: Value; readonly count: number }[];
  readonly activations: Activations;
  readonly candidates: readonly StreamCandidate[];
  readonly signal: AbortSignal | undefined;
}

export function createStreamEvaluator(options: StreamEvaluatorOptions): StreamEvaluator {
  const { architecture, load } = options;
  const batch: BatchShape = { sequences: options.batchSequences, positions: options.sequenceLength };
  const rows = batch.sequences * batch.positions;
  const lanes = options.threads ?? availableParallelism();
  const stages = createStages({ architecture, batch, threads: 1 });
  const order: readonly Stage[] = ["embedding", ...Array.from({ length: architecture.layers }, (_, layer) => layer), "losses"];

  const losses: StreamEvaluator["losses"] = async (sequences, candidates = [], { onProgress, signal } = {}) => {
    const results = [new Float64Array(sequences.length), ...candidates.map(() => new Float64Array(sequences.length))];
    if (sequences.length === 0) return { base: results[0] as Float64Array, candidates: results.slice(1) };
    const tokens = layOutAll(sequences, batch, architecture.vocabularySize);
    const activations = await openActivations(1 + candidates.length, tokens.length, rows * architecture.hiddenSize, options.scratch);
    const pass: Pass = { tokens, activations, candidates, signal };
    try {
      let next = load(stages.namesOf("embedding"));
      for (const [index, stage] of order.entries()) {
        signal?.throwIfAborted();
        const weights = await next;
        const following = order[index + 1];
        if (following !== undefined) {
          next = load(stages.namesOf(following));
          // It is awaited in the next turn; until then its failure must not count as unhandled.
          next.catch(() => undefined);
        }
        const open = await stages.open(stage);
        if (stage === "embedding") await embedAll(pass, open, weights);
        else if (stage === "losses") await measureAll(pass, open, weights, batch, results);
        else await layerAll(pass, open, weights, stage);
        onProgress?.({ done: index + 1, total: order.length });
      }
    } finally {
      await activations.close();
    }
    return { base: results[0] as Float64Array, candidates: results.slice(1) };
  };
  return { losses, dispose: stages.dispose };

  /** A candidate without a change so far has the base's activations. */
  function modelOf(candidate: StreamCandidate, index: number, layer: number): number {
    return (candidate.layers[0] as number) < layer ? index + 1 : 0;
  }

  async function embedAll(
    { tokens, activations, signal }: Pass,
    open: OpenStage,
    weights: ReadonlyMap<string, Float32Array>,
  ): Promise<void> {
    await inLanes(lanes, [...tokens.entries()], async ([index, part]) => {
      const x = await open.run({ tokens: part.tokens }, weights, signal);
      await activations.write(0, index, x.float32());
      x.dispose();
    });
  }

  async function layerAll(pass: Pass, open: OpenStage, weights: ReadonlyMap<string, Float32Array>, layer: number): Promise<void> {
    const { tokens, activations, candidates, signal } = pass;
    const advance = (from: number, to: number, own: ReadonlyMap<string, Float32Array>) =>
      inLanes(lanes, [...tokens.keys()], async (part) => {
        const x = float32Value([rows, architecture.hiddenSize], await activations.read(from, part));
        const y = await open.run({ x }, own, signal);
        await activations.write(to, part, y.float32());
        y.dispose();
        x.dispose();
      });
    for (const [index, candidate] of candidates.entries()) {
      if ((candidate.layers[0] as number) > layer) continue;
      const own = candidate.layers.includes(layer) ? new Map([...weights, ...(await candidate.tensors(layer, weights))]) : weights;
      await advance(modelOf(candidate, index, layer), index + 1, own);
    }
    // The base comes last: candidates that begin to differ in this layer have read what it overwrites.
    await advance(0, 0, weights);
  }

  async function measureAll(
    { tokens, activations, signal }: Pass,
    open: OpenStage,
    weights: ReadonlyMap<string, Float32Array>,
    shape: BatchShape,
    results: readonly Float64Array[],
  ): Promise<void> {
    for (const [model, result] of results.entries()) {
      await inLanes(lanes, [...tokens.entries()], async ([index, part]) => {
        const x = float32Value([rows, architecture.hiddenSize], await activations.read(model, index));
        const value = await open.run({ x, tokens: part.targets }, weights, signal);
        for (let column = 0; column < part.count; column++)
          result[index * shape.sequences + column] = columnMean(value.float32(), column, shape);
        value.dispose();
        x.dispose();
      });
    }
  }
}

function layOutAll(sequences: readonly Int32Array[], batch: BatchShape, vocabularySize: number): Pass["tokens"] {
  return Array.from({ length: Math.ceil(sequences.length / batch.sequences) }, (_, index) => {
    const part = sequences.slice(index * batch.sequences, (index + 1) * batch.sequences);
    const { tokens, targets } = layOut(padded(part, batch), batch, vocabularySize);
    return { tokens: int64Value([tokens.length], tokens), targets: int64Value([targets.length], targets), count: part.length };
  });
}
