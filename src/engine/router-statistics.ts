/**
 * What the router of each layer does with a domain's tokens: what experts are selected and grouped by (docs/protocol.md, section 5). The model passes through
 * memory a layer at a time, so that whoever has a checkpoint can measure it, however large it is.
 */
import type { Architecture } from "../model/families/index.ts";
import { gateUnit, type LayerStatistics, pairPlace, type RouterStatistics } from "../protocol/experts/router-statistics.ts";
import { type BatchShape, layOut } from "./decoder/batch.ts";
import { padded } from "./evaluator.ts";
import { openActivations, type Scratch } from "./layers/activations.ts";
import { createStages } from "./layers/stages.ts";
import { float32Value, int64Value, type Value } from "./runtime/value.ts";

export interface RouterStatisticsOptions {
  readonly architecture: Architecture;
  /** The weights of these names, row-major fp32. Asked a layer at a time, in order. */
  load(names: readonly string[]): Promise<ReadonlyMap<string, Float32Array>>;
  /** By domain, sequences of `sequenceLength + 1` tokens, of which the last only counts as the target that it is. */
  readonly domains: readonly { readonly name: string; readonly sequences: readonly Int32Array[] }[];
  readonly sequenceLength: number;
  readonly threads?: number;
  /** Where what stands between two layers goes if it does not fit; without it all stays in memory. */
  readonly scratch?: Scratch;
  /** In layers. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/** Tokens in a batch, about: enough for large matrix products. */
const batchTokens = 1024;

/** Some sequences of one domain. */
interface Batch {
  readonly domain: number;
  readonly tokens: Value;
  /** Sequences; the batch is filled up with others that do not count. */
  readonly count: number;
}

/**
 * Runs the model's layers over the sequences and counts what the routers chose: the weight that each expert's output is given, how many
 * tokens chose it, and how many chose each pair.
 * Errors: unknown-family, config-not-computable, batch-invalid; what `load` throws; the signal's reason.
 */
export async function routerStatistics(options: RouterStatisticsOptions): Promise<RouterStatistics> {
  const { architecture, load, domains, sequenceLength, threads, signal } = options;
  const { experts, expertsPerToken, expertLayers, hiddenSize, vocabularySize } = architecture;
  const shape: BatchShape = { sequences: Math.max(1, Math.floor(batchTokens / sequenceLength)), positions: sequenceLength };
  const rows = shape.sequences * shape.positions;
  const batches = domains.flatMap(({ sequences }, domain) =>
    Array.from({ length: Math.ceil(sequences.length / shape.sequences) }, (_, index): Batch => {
      const part = sequences.slice(index * shape.sequences, (index + 1) * shape.sequences);
      const { tokens } = layOut(padded(part, shape), shape, vocabularySize);
      return { domain, tokens: int64Value([tokens.length], tokens), count: part.length };
    }),
  );
  const counted = domains.map(({ name, sequences }) => ({
    name,
    tokens: sequences.length * sequenceLength,
    layers: [] as LayerStatistics[],
  }));

  const stages = createStages({ architecture, batch: shape, ...(threads !== undefined && { threads }) });
  const activations = await openActivations(1, batches.length, rows * hiddenSize, options.scratch);
  try {
    const embedding = await stages.open("embedding");
    const ofEmbedding = await load(embedding.names);
    for (const [index, { tokens }] of batches.entries()) {
      const x = await embedding.run({ tokens }, ofEmbedding, signal);
      await activations.write(0, index, x.float32());
      x.dispose();
    }
    const layers = (expertLayers.at(-1) as number) + 1;
    for (let layer = 0; layer < layers; layer++) {
      const sums = domains.map(() => createCounts(experts));
      const stage = await stages.openRouted(layer);
      const weights = await load(stage.names);
      for (const [index, { domain, count }] of batches.entries()) {
        const x = float32Value([rows, hiddenSize], await activations.read(0, index));
        const { y, routed } = await stage.run({ x }, weights, signal);
        await activations.write(0, index, y.float32());
        const decision = routed && { experts: routed.experts.int64(), gates: routed.gates.float32() };
        // Rows of one position lie together: the sequences that do not count are the last of each.
        for (let token = 0; decision !== undefined && token < rows; token++)
          if (token % shape.sequences < count) sums[domain]?.add(decision, token * expertsPerToken, expertsPerToken);
        for (const value of [x, y, routed?.experts, routed?.gates]) value?.dispose();
      }
      if (expertLayers.includes(layer))
        for (const [domain, sum] of sums.entries()) counted[domain]?.layers.push({ layer, ...sum.result() });
      options.onProgress?.(layer + 1, layers);
    }
  } finally {
    stages.dispose();
    await activations.close();
  }
  return { format: "connito/router-statistics/1", expertsPerToken, domains: counted };
}

/** Counts of one layer and domain. */
function createCounts(experts: number) {
  const gate = new Float64Array(experts);
  const chosen = new Float64Array(experts);
  const pairs = new Float64Array((experts * (experts - 1)) / 2);
  return {
    /** One token: the experts from `first` on, and their weights. */
    add(decision: { readonly experts: BigInt64Array; readonly gates: Float32Array }, first: number, expertsPerToken: number): void {
      for (let slot = first; slot < first + expertsPerToken; slot++) {
        const expert = Number(decision.experts[slot]);
        gate[expert]! += decision.gates[slot] as number;
        chosen[expert]! += 1;
        for (let other = first; other < slot; other++) pairs[pairPlace(Number(decision.experts[other]), expert, experts)]! += 1;
      }
    },
    result: () => ({
      // Rounded weights may come out a hair below nothing.
      gate: Array.from(gate, (sum) => Math.max(0, Math.round(sum * gateUnit))),
      chosen: [...chosen],
      pairs: [...pairs],
    }),
  };
}
