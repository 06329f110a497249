/**
 * The one question that scoring, the gate and the owner's watch ask: what are the losses of a version, and of models that differ from it in some
 * tensors, on these sequences? Answered in one pass over the version's pieces, a layer at a time, for all of them together.
 */

import { join } from "node:path";
import { createStreamEvaluator, type StreamCandidate, type StreamEvaluatorOptions } from "../../engine/layers/stream-evaluator.ts";
import { type Architecture, listWeights } from "../../model/families/index.ts";
import type { Tensors } from "../../model/tensors.ts";
import type { Context } from "../context.ts";
import { slice as bringSlice, resolveSlice, type Slice } from "../distribute/slice.ts";
import type { Membership } from "../membership.ts";
import { sliceLoader } from "../model-weights.ts";
import { measureExternally } from "./external-losses.ts";
import type { MeasureLosses } from "./measure-losses.ts";

/** A version of the whole model on this machine, ready to be measured. Call `close` when done. */
export interface OpenModel {
  readonly slice: Slice;
  readonly losses: MeasureLosses;
  close(): Promise<void>;
}

/** Sequences in a batch. Part of the protocol's numerics: the batch's shape moves the last bits of a loss. */
const evaluationBatch = 8;
/** Bytes of activations that stay in memory; more go to a file in the state directory. */
const activationMemory = 512 * 2 ** 20;

/** Fetches what is missing of the version, and opens it. Its weights stay on the disk until they are needed. */
export async function openWholeModel(context: Context, membership: Membership, root: string): Promise<OpenModel> {
  await bringSlice(context, membership, { root, group: "whole" });
  const slice = await resolveSlice(context, membership, { root, group: "whole" });
  const load = sliceLoader(context, slice);
  const { signal, threads, workspace } = context;
  const shared = { architecture: slice.architecture, sequenceLength: membership.task.data.sequenceLength, load, signal };
  const scratch = { directory: workspace.directory, memoryBytes: activationMemory };
  const engine = measureByEngine({ ...shared, threads, scratch });
  if (context.scorer === undefined) return { slice, losses: engine.losses, close: async () => engine.close() };
  const external = measureExternally({
    command: context.scorer,
    directory: join(workspace.directory, "scorer"),
    base: root,
    ...shared,
    config: await workspace.objects.read(slice.manifest.config),
    tokenizer: await workspace.objects.read(slice.manifest.tokenizer),
    engine: engine.losses,
    progress: context.progress,
  });
  const close = async () => {
    engine.close();
    await external.close();
  };
  return { slice, losses: external.losses, close };
}

/** Measures by the built-in engine, all models in one pass over the weights. */
export function measureByEngine(options: Omit<StreamEvaluatorOptions, "batchSequences"> & { readonly signal: AbortSignal }): {
  readonly losses: MeasureLosses;
  close(): void;
} {
  const evaluator = createStreamEvaluator({ ...options, batchSequences: evaluationBatch });
  return {
    losses: (sequences, candidates = []) =>
      evaluator.losses(
        sequences.map(({ tokens }) => tokens),
        candidates.map((deltas) => candidateOf(options.architecture, deltas)),
        { signal: options.signal },
      ),
    close: () => evaluator.dispose(),
  };
}

function candidateOf(architecture: Architecture, deltas: Tensors): StreamCandidate {
  const names = new Map<number, string[]>();
  for (const { name, layer } of listWeights(architecture)) {
    if (layer === undefined || !deltas.sizes.has(name)) continue;
    names.set(layer, [...(names.get(layer) ?? []), name]);
  }
  return {
    layers: [...names.keys()].sort((a, b) => a - b),
    tensors: async (layer, base) => {
      const changed = new Map<string, Float32Array>();
      for (const name of names.get(layer) ?? []) changed.set(name, sum(base.get(name) as Float32Array, await deltas.read(name)));
      return changed;
    },
  };
}

/** One rounding to fp32 a value. */
function sum(base: Float32Array, delta: Float32Array): Float32Array {
  const result = new Float32Array(base.length);
  for (let i = 0; i < result.length; i++) result[i] = (base[i] as number) + (delta[i] as number);
  return result;
}
