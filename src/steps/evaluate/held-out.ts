/** The held-out sequences of a task, and the evaluator that measures a model on some of them. */

import { readSequences } from "../../data/text.ts";
import { type Evaluator, openEvaluator } from "../../engine/evaluator.ts";
import { ConnitoError } from "../../errors.ts";
import type { DrawnSequence } from "../../protocol/evaluation.ts";
import type { Context } from "../context.ts";
import { slice as bringSlice, resolveSlice, type Slice } from "../distribute/slice.ts";
import { maximumDataBytes, peerSources, provideObject } from "../fetch.ts";
import type { Membership } from "../membership.ts";
import { sliceTokenizer, sliceWeights } from "../model-weights.ts";

/** Sequences evaluated in one pass. Part of the protocol's numerics: the batch shape moves the last bits of a loss. */
const evaluationBatch = 8;

/** A sequence drawn for evaluation, with its place in the task's domains. */
export interface HeldOutSequence extends DrawnSequence {
  readonly tokens: Int32Array;
}

/** All held-out sequences by domain, in the task's order. @throws held-out-missing */
export async function heldOutSequences(context: Context, membership: Membership, slice: Slice): Promise<Int32Array[][]> {
  const { task } = membership;
  const sources = await peerSources(context, task);
  const tokenizer = await sliceTokenizer(context, slice);
  const domains: Int32Array[][] = [];
  for (const { name, heldOut } of task.data.domains) {
    await provideObject(context, sources, { hash: heldOut, maximumBytes: maximumDataBytes, what: `the held-out text of ${name}` }).catch(
      (cause: unknown) => {
        if (context.signal.aborted) throw cause;
        throw new ConnitoError(`The held-out text of domain ${name} (${heldOut}) is not here and no peer delivers it.`, {
          code: "held-out-missing",
          exit: "network",
          retryable: true,
          hint: "Held-out text is served to validators only, by the owner and other validators. Check the hotkey's permit, or name a peer with --peer.",
          cause,
        });
      },
    );
    const location = await context.workspace.objects.locate(heldOut);
    const { sequences } = await readSequences({ file: location?.file ?? "", tokenizer, sequenceLength: task.data.sequenceLength });
    domains.push(sequences);
  }
  return domains;
}

/** The whole model at one version, ready to be measured. Call `close` when done. */
export interface OpenModel {
  readonly slice: Slice;
  readonly weights: ReadonlyMap<string, Float32Array>;
  readonly evaluator: Evaluator;
  close(): void;
}

/** Fetches what is missing of the version, and opens an evaluator on it. */
export async function openWholeModel(context: Context, membership: Membership, root: string): Promise<OpenModel> {
  await bringSlice(context, membership, { root, group: "whole" });
  const resolved = await resolveSlice(context, membership, { root, group: "whole" });
  const weights = await sliceWeights(context, resolved);
  const evaluator = await openEvaluator({
    architecture: resolved.architecture,
    weights,
    sequenceLength: membership.task.data.sequenceLength,
    batchSequences: evaluationBatch,
    threads: context.threads,
  });
  return { slice: resolved, weights, evaluator, close: () => evaluator.dispose() };
}
