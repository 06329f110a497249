/**
 * Watching a model's experts at work on sequences, one layer's weights at a time: each layer's batches are computed one after another, with whatever is to be
 * seen of its experts beside the result, and what stands between two layers waits in memory or in a scratch file.
 */
import type { Architecture } from "../../model/families/index.ts";
import { type BatchShape, layOut } from "../decoder/batch.ts";
import { padded } from "../evaluator.ts";
import { elementCount, float32Value, int64Value, type Value } from "../runtime/value.ts";
import { openActivations, type Scratch } from "./activations.ts";
import { createStages, type Observe } from "./stages.ts";

export interface ObservedSample {
  readonly architecture: Architecture;
  /** Weights by name, row-major fp32. Asked for a layer at a time, in order. */
  load(names: readonly string[]): Promise<ReadonlyMap<string, Float32Array>>;
  /** By domain, sequences of `sequenceLength + 1` tokens, of which the last only counts as the target that it is. */
  readonly domains: readonly { readonly name: string; readonly sequences: readonly Int32Array[] }[];
  readonly sequenceLength: number;
  /** Where what stands between layers goes if it does not fit; without it all stays in memory. */
  readonly scratch?: Scratch;
  readonly threads?: number;
  /** Layers done, up to the last that has experts. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/** Some sequences of one domain in a layer. Rows are ordered as decoder/batch.ts says; the columns from `sequences` on are filled up and count for nothing. */
export interface SeenBatch {
  readonly domain: number;
  readonly sequences: number;
  readonly columns: number;
  readonly seen: Readonly<Record<string, Value>>;
}

/** Tokens in a batch, about: enough for large matrix products. */
const batchTokens = 1024;

/**
 * Gives the batches of each layer with experts, layer by layer, rising, as they are computed: what is seen is to be read before the next one is asked for. With
 * `summed` it is float32, and after each batch the sum over those of the layer so far, in arrays that are the caller's. Errors: unknown-family, config-not-computable, batch-invalid; what `load` throws; the signal's reason.
 */
export async function* observeLayers(
  sample: ObservedSample,
  observe: Observe,
  { summed = false }: { readonly summed?: boolean } = {},
): AsyncGenerator<{ readonly layer: number; readonly batches: AsyncIterable<SeenBatch> }> {
  const { architecture, load, sequenceLength, threads, signal } = sample;
  const batch: BatchShape = { sequences: Math.max(1, Math.floor(batchTokens / sequenceLength)), positions: sequenceLength };
  const shape = [batch.sequences * batch.positions, architecture.hiddenSize];
  const stages = createStages({ architecture, batch, ...(threads === undefined ? {} : { threads }) });
  const parts = sample.domains.flatMap(({ sequences }, domain) =>
    Array.from({ length: Math.ceil(sequences.length / batch.sequences) }, (_, index) => {
      const start = index * batch.sequences;
      return { domain, sequences: sequences.slice(start, start + batch.sequences) };
    }),
  );
  const total = Math.max(...architecture.expertLayers) + 1;
  const between = await openActivations(1, parts.length, (shape[0] as number) * architecture.hiddenSize, sample.scratch);

  async function embed(): Promise<void> {
    const open = await stages.open("embedding");
    const weights = await load(open.names);
    for (const [index, { sequences }] of parts.entries()) {
      const { tokens } = layOut(padded(sequences, batch), batch, architecture.vocabularySize);
      const x = await open.run({ tokens: int64Value([tokens.length], tokens) }, weights, signal);
      await between.write(0, index, x.float32());
      x.dispose();
    }
  }

  /** One batch through a layer, by whatever runs it. */
  async function advance(index: number, run: (x: Value) => Promise<Value>): Promise<void> {
    signal?.throwIfAborted();
    const x = float32Value(shape, await between.read(0, index));
    const y = await run(x);
    await between.write(0, index, y.float32());
    y.dispose();
    x.dispose();
  }

  async function* batchesOf(layer: number, weights: ReadonlyMap<string, Float32Array>): AsyncGenerator<SeenBatch> {
    const open = await stages.openObserved(layer, observe, summed);
    const sums = Object.fromEntries(
      Object.entries(open.sums).map(([name, shape]) => [name, float32Value(shape, new Float32Array(elementCount(shape)))]),
    );
    for (const [index, { domain, sequences }] of parts.entries()) {
      let seen: Readonly<Record<string, Value>> = {};
      await advance(index, async (x) => {
        const run = await open.run(x, weights, { sums, signal });
        seen = run.seen;
        return run.x;
      });
      yield { domain, sequences: sequences.length, columns: batch.sequences, seen };
      if (!summed) for (const value of Object.values(seen)) value.dispose();
    }
    for (const value of Object.values(sums)) value.dispose();
  }

  try {
    await embed();
    for (let layer = 0; layer < total; layer++) {
      const weights = await load(stages.namesOf(layer));
      if (architecture.expertLayers.includes(layer)) yield { layer, batches: batchesOf(layer, weights) };
      else {
        const open = await stages.open(layer);
        for (const index of parts.keys()) await advance(index, (x) => open.run({ x }, weights, signal));
      }
      sample.onProgress?.(layer + 1, total);
    }
  } finally {
    await between.close();
    stages.dispose();
  }
}
