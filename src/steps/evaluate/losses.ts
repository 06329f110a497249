/**
 * The one question that scoring, the gate and the owner's watch ask: what are the losses of a version, and of models that differ from it in some
 * tensors, on these sequences? Answered in one pass over the version's pieces, a layer at a time, for all of them together.
 */

import { createStreamEvaluator, type StreamCandidate } from "../../engine/layers/stream-evaluator.ts";
import { type Architecture, listWeights } from "../../model/families/index.ts";
import type { Tensors } from "../../model/tensors.ts";
import type { Context } from "../context.ts";
import { slice as bringSlice, resolveSlice, type Slice } from "../distribute/slice.ts";
import type { Membership } from "../membership.ts";
import { sliceLoader } from "../model-weights.ts";
import type { HeldOutSequence } from "./held-out.ts";

/** Mean loss of each sequence, nats per token; not finite where the weights make it so. */
export interface Losses {
  readonly base: Float64Array;
  readonly candidates: readonly Float64Array[];
}

/** Losses of the base, and of the base plus each candidate's deltas. A candidate's losses do not depend on what is measured beside it. */
export type MeasureLosses = (sequences: readonly HeldOutSequence[], candidates?: readonly Tensors[]) => Promise<Losses>;

/** A version of the whole model on this machine, ready to be measured. Call `close` when done. */
export interface OpenModel {
  readonly slice: Slice;
  readonly losses: MeasureLosses;
  close(): void;
}

/** Sequences in a batch. Part of the protocol's numerics: the batch's shape moves the last bits of a loss. */
const evaluationBatch = 8;
/** Bytes of activations that stay in memory; more go to a file in the state directory. */
const activationMemory = 512 * 2 ** 20;

/** Fetches what is missing of the version, and opens it. Its weights stay on the disk until they are needed. */
export async function openWholeModel(context: Context, membership: Membership, root: string): Promise<OpenModel> {
  await bringSlice(context, membership, { root, group: "whole" });
  const slice = await resolveSlice(context, membership, { root, group: "whole" });
  const evaluator = createStreamEvaluator({
    architecture: slice.architecture,
    sequenceLength: membership.task.data.sequenceLength,
    batchSequences: evaluationBatch,
    threads: context.threads,
    load: sliceLoader(context, slice),
    scratch: { directory: context.workspace.directory, memoryBytes: activationMemory },
  });
  return {
    slice,
    losses: (sequences, candidates = []) =>
      evaluator.losses(
        sequences.map(({ tokens }) => tokens),
        candidates.map((deltas) => candidateOf(slice.architecture, deltas)),
        { signal: context.signal },
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
