/**
 * Pays: turns the agreed scores of the last cycles into weights on the chain. Where the subnet wants them committed first, this cycle's are
 * committed, and those of earlier cycles revealed whose epoch has come.
 */

import { randomBytes } from "node:crypto";
import type { Weight } from "../../chain/client.ts";
import { ConnitoError } from "../../errors.ts";
import type { CycleScores } from "../../protocol/weights.ts";
import { weightsOf } from "../../protocol/weights.ts";
import type { Context } from "../context.ts";
import type { Membership } from "../membership.ts";
import { agreedVerdicts } from "./agreed.ts";

export interface SetWeightsResult {
  readonly cycle: number;
  readonly weights: readonly Weight[];
  /** The block that holds the weights, or the commit to them; absent when there was nothing to set. */
  readonly block?: number;
  /** The blocks in which they can be revealed, where they were only committed to. */
  readonly reveal?: { readonly from: number; readonly until: number };
  /** The earlier cycles whose weights were revealed now, and the blocks that hold them. */
  readonly revealed: readonly { readonly cycle: number; readonly block: number }[];
  /** Why nothing was sent. */
  readonly skipped?: string;
}

/** What the journal keeps of a cycle's weights. The version key is decimal digits. */
interface Intent {
  readonly weights: readonly Weight[];
  readonly versionKey: string;
}

interface Effect {
  readonly block: number;
  readonly reveal?: { readonly from: number; readonly until: number };
}

const saltBytes = 16;
/** The chain takes no weights for now; the next cycle's cover this one's scores too. */
const passingCodes = new Set(["weights-rate-limited", "weights-commits-full"]);

function saltName(cycle: number): string {
  return `weights-salt-${cycle}`;
}

/** Sends the weights of the cycle. Nobody having earned anything yet, or the chain's rate limit, is not a failure. */
export async function setWeights(context: Context, membership: Membership, input: { cycle: number }): Promise<SetWeightsResult> {
  const { cycle } = input;
  const { journal } = context.workspace;
  const revealed = await revealDue(context);
  const noted = journal.find(`weights/${cycle}`);
  const done = noted.effect?.data as Effect | undefined;
  const intent = (noted.intent?.data as Intent | undefined) ?? (await intend(context, membership, cycle));
  const { weights } = intent;
  if (done !== undefined) return { cycle, weights, ...done, revealed };
  if (weights.length === 0) return { cycle, weights, revealed, skipped: "no miner has earned a score yet" };
  try {
    const effect = await send(context, cycle, intent);
    await journal.effect(`weights/${cycle}`, effect);
    return { cycle, weights, ...effect, revealed };
  } catch (error) {
    if (!(error instanceof ConnitoError) || !passingCodes.has(error.code)) throw error;
    return { cycle, weights, revealed, skipped: error.message };
  }
}

/** The cycle's weights, in the journal before anything is sent: after a crash the very same are sent, so that it is seen that they stand. */
async function intend(context: Context, membership: Membership, cycle: number): Promise<Intent> {
  const { chain, clock, netuid, workspace } = context;
  const { window } = membership.task.weights;
  const history: CycleScores[] = [];
  for (let past = Math.max(0, cycle - window + 1); past <= cycle; past++) {
    const verdicts = await agreedVerdicts(context, membership, past);
    const scored = verdicts?.filter(({ status }) => status !== "unscored");
    if (scored !== undefined) history.push({ cycle: past, scores: new Map(scored.map(({ miner, score }) => [miner, score])) });
  }
  const { finalized } = await clock.now();
  const { neurons, hyperparameters } = await chain.subnet(netuid, finalized.hash);
  const weights = weightsOf(history, window, cycle, new Map(neurons.map((neuron) => [neuron.hotkey, neuron.uid])));
  const intent = { weights, versionKey: String(hyperparameters.weightsVersionKey) };
  if (weights.length > 0) await workspace.journal.intent(`weights/${cycle}`, intent);
  return intent;
}

/** In the way that the subnet wants now. */
async function send(context: Context, cycle: number, { weights, versionKey }: Intent): Promise<Effect> {
  const { chain, clock, netuid, signal, signer, workspace } = context;
  const { finalized } = await clock.now();
  const { commitRevealEnabled } = await chain.hyperparameters(netuid, finalized.hash);
  if (!commitRevealEnabled) {
    const { block } = await chain.setWeights(signer, netuid, weights, BigInt(versionKey), { signal });
    return { block };
  }
  const salt = await workspace.secret(saltName(cycle), () => randomBytes(saltBytes));
  const sealed = { weights, versionKey: BigInt(versionKey), salt };
  const { block, reveal } = await chain.commitWeights(signer, netuid, sealed, { signal });
  return { block, reveal };
}

/**
 * Reveals the weights of earlier cycles whose epoch has come, the oldest first: a reveal ends all commits before it. The chain is asked each time which blocks those
 * are: what it promised at the commit moves with the subnet's tempo.
 */
async function revealDue({ chain, netuid, signal, signer, workspace }: Context): Promise<SetWeightsResult["revealed"]> {
  const { journal } = workspace;
  const revealed: { cycle: number; block: number }[] = [];
  for (const { cycle, intent } of unrevealed(journal)) {
    const salt = await workspace.findSecret(saltName(cycle));
    if (salt === undefined) continue;
    try {
      const sealed = { weights: intent.weights, versionKey: BigInt(intent.versionKey), salt };
      const { block } = await chain.revealWeights(signer, netuid, sealed, { signal });
      await journal.effect(`weights-reveal/${cycle}`, { block });
      revealed.push({ cycle, block });
    } catch (error) {
      if (!(error instanceof ConnitoError)) throw error;
      if (error.code === "weights-reveal-early") continue;
      if (error.retryable) throw error;
      await journal.failed(`weights-reveal/${cycle}`, { code: error.code, message: error.message });
    }
  }
  return revealed;
}

interface Unrevealed {
  readonly cycle: number;
  readonly intent: Intent;
}

function unrevealed(journal: Context["workspace"]["journal"]): Unrevealed[] {
  const cycles = new Set(
    journal.entries().flatMap(({ key }) => (key.startsWith("weights/") ? [Number(key.slice("weights/".length))] : [])),
  );
  return [...cycles]
    .sort((one, other) => one - other)
    .flatMap((cycle) => {
      const { intent, effect } = journal.find(`weights/${cycle}`);
      const { effect: opened, failed } = journal.find(`weights-reveal/${cycle}`);
      const reveal = (effect?.data as Effect | undefined)?.reveal;
      return reveal === undefined || opened !== undefined || failed !== undefined ? [] : [{ cycle, intent: intent?.data as Intent }];
    });
}
