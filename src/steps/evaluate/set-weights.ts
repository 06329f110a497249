/** Pays: turns the agreed scores of the last cycles into weights on the chain. */

import { ConnitoError } from "../../errors.ts";
import type { CycleScores } from "../../protocol/weights.ts";
import { weightsOf } from "../../protocol/weights.ts";
import { readJson } from "../../workspace/files.ts";
import type { Context } from "../context.ts";
import type { Membership } from "../membership.ts";
import type { MergeResult } from "./merge.ts";

export interface SetWeightsResult {
  readonly cycle: number;
  readonly weights: readonly { readonly uid: number; readonly weight: number }[];
  /** The block that holds the weights; absent when there was nothing to set. */
  readonly block?: number;
  /** Why nothing was sent. */
  readonly skipped?: string;
}

/**
 * Sends the weights of the cycle. Nobody having earned anything yet, or the chain's rate limit, is not a failure: the next cycle's weights
 * cover this one's scores too.
 */
export async function setWeights(context: Context, membership: Membership, input: { cycle: number }): Promise<SetWeightsResult> {
  const { chain, netuid, signer, workspace } = context;
  const { window } = membership.task.weights;
  const key = `weights/${input.cycle}`;
  const noted = workspace.journal.find(key);
  const intended = noted.intent?.data as { weights: SetWeightsResult["weights"] } | undefined;
  const done = noted.effect?.data as { block: number } | undefined;
  if (intended !== undefined && done !== undefined) return { cycle: input.cycle, weights: intended.weights, block: done.block };

  const history: CycleScores[] = [];
  for (let cycle = Math.max(0, input.cycle - window + 1); cycle <= input.cycle; cycle++) {
    const merged = await readJson<Pick<MergeResult, "verdicts">>(workspace.layout.cycle(cycle, "merge.json"));
    if (merged !== undefined) history.push({ cycle, scores: new Map(merged.verdicts.map((entry) => [entry.miner, entry.score])) });
  }
  const { finalized } = await context.clock.now();
  const [neurons, limits] = await Promise.all([chain.neurons(netuid, finalized.hash), chain.hyperparameters(netuid, finalized.hash)]);
  // After a crash the very weights that were meant are sent, so that the chain client can see that they stand there already.
  const weights =
    intended?.weights ?? weightsOf(history, window, input.cycle, new Map(neurons.map((neuron) => [neuron.hotkey, neuron.uid])));
  if (weights.length === 0) return { cycle: input.cycle, weights, skipped: "no miner has earned a score yet" };

  if (intended === undefined) await workspace.journal.intent(key, { weights });
  try {
    const { block } = await chain.setWeights(signer, netuid, weights, limits.weightsVersionKey, { signal: context.signal });
    await workspace.journal.effect(key, { block });
    return { cycle: input.cycle, weights, block };
  } catch (error) {
    if (error instanceof ConnitoError && error.code === "weights-rate-limited")
      return { cycle: input.cycle, weights, skipped: error.message };
    throw error;
  }
}
