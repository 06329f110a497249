/** Sets weights, after looking at everything for which the chain would refuse them. */
import { ConnitoError } from "../errors.ts";
import { readEvents } from "./events.ts";
import { bestHead } from "./heads.ts";
import { type ChainParts, finalizedAlready, notRegistered, type TransactionOptions } from "./set-commitment.ts";
import type { Signer } from "./signer.ts";
import type { State } from "./state.ts";
import { type Hyperparameters, readSubnet, type Weight, type WeightPair, weightsFrom } from "./subnet.ts";
import type { Inclusion } from "./transactions.ts";

const largestWeight = 65_535;

/** How a validator stands on a subnet at a block. */
interface Standing {
  readonly uid: number;
  readonly neurons: number;
  readonly permit: boolean;
  /** The block of its last weights, 0 for none. */
  readonly lastUpdate: number;
  readonly weights: readonly Weight[];
}

async function readStanding(state: State, netuid: number, hotkey: string): Promise<Standing> {
  const [uid, neurons, permits, updates] = await state.values<[number | undefined, number, boolean[], bigint[]]>(
    ["SubtensorModule", "Uids", netuid, hotkey],
    ["SubtensorModule", "SubnetworkN", netuid],
    ["SubtensorModule", "ValidatorPermit", netuid],
    ["SubtensorModule", "LastUpdate", netuid],
  );
  if (uid === undefined) throw notRegistered(hotkey, netuid);
  const [row] = await state.values<[WeightPair[]]>(["SubtensorModule", "Weights", netuid, uid]);
  return {
    uid,
    neurons,
    permit: permits[uid] === true,
    lastUpdate: Number(updates[uid] ?? 0n),
    weights: weightsFrom(row),
  };
}

function invalid(message: string, hint: string): ConnitoError {
  return new ConnitoError(message, { code: "weights-invalid", exit: "invalidInput", hint });
}

function checkWeights(weights: readonly Weight[], { minimumAllowedWeights }: Hyperparameters, { uid, neurons }: Standing): void {
  const isSelfWeight = weights.length === 1 && weights[0]?.uid === uid;
  const minimum = Math.min(neurons, minimumAllowedWeights);
  if (new Set(weights.map((weight) => weight.uid)).size !== weights.length) throw invalid("a uid has two weights", "Give each uid once.");
  const stranger = weights.find((weight) => !Number.isInteger(weight.uid) || weight.uid < 0 || weight.uid >= neurons);
  if (stranger !== undefined) throw invalid(`the subnet has no uid ${stranger.uid}`, "Read the neurons again: one left meanwhile.");
  const wrong = weights.find(({ weight }) => !Number.isInteger(weight) || weight < 0 || weight > largestWeight);
  if (wrong !== undefined) throw invalid(`${wrong.weight} is no weight`, `A weight is a whole number from 0 to ${largestWeight}.`);
  if (!weights.some(({ weight }) => weight > 0))
    throw invalid("all weights are zero", "Keep the weights that stand until somebody has a score.");
  if (!isSelfWeight && weights.length < minimum) {
    throw invalid(
      `${weights.length} weights are fewer than the ${minimum} that the subnet wants`,
      "Ask the subnet's owner to lower MinAllowedWeights.",
    );
  }
}

/** The first block that may include weights of this hotkey. */
function allowedFrom({ lastUpdate }: Standing, { weightsRateLimit }: Hyperparameters): number {
  return lastUpdate === 0 ? 0 : lastUpdate + weightsRateLimit;
}

/** As the chain keeps them: the largest scaled to 65,535. */
function asKept(weights: readonly Weight[]): string {
  const largest = Math.max(...weights.map(({ weight }) => weight));
  const kept = weights
    .map(({ uid, weight }) => [uid, Math.round((weight * largestWeight) / largest)] as const)
    .filter(([, weight]) => weight > 0);
  return JSON.stringify(kept.sort(([one], [other]) => one - other));
}

function commitRevealEnabled(netuid: number): ConnitoError {
  return new ConnitoError(`subnet ${netuid} wants weights committed first and revealed later, which this version cannot do yet`, {
    code: "commit-reveal-enabled",
    exit: "rejected",
    hint: "The subnet's owner can switch it off: `btcli sudo set --param commit_reveal_weights_enabled --value false`.",
  });
}

function rateLimited(block: number): ConnitoError {
  return new ConnitoError(`the chain takes new weights of this hotkey from block ${block} on`, {
    code: "weights-rate-limited",
    exit: "rejected",
    hint: `Try again at block ${block}; the subnet's WeightsSetRateLimit says how often weights may change.`,
    retryable: true,
  });
}

/**
 * Resolves when the weights stand in a finalised block; at once where the same weights stand and are too fresh to be set again. `versionKey` is the
 * version of the weights' rules, which must not be below the subnet's.
 *
 * Throws `not-registered`, `no-validator-permit`, `weights-invalid`, `weights-version-old`, `weights-rate-limited` (retryable; names the block),
 * `commit-reveal-enabled`, and what Sender.send throws.
 */
export async function setWeights(
  parts: ChainParts,
  signer: Signer,
  netuid: number,
  weights: readonly Weight[],
  versionKey: number | bigint,
  { until, signal }: TransactionOptions = {},
): Promise<Inclusion> {
  const { link, stateAt, tracker, sender } = parts;

  async function done(): Promise<Inclusion | undefined> {
    const head = await bestHead(link);
    const state = await stateAt(head.hash);
    const [{ hyperparameters }, standing] = await Promise.all([readSubnet(state, netuid), readStanding(state, netuid, signer.address)]);
    checkWeights(weights, hyperparameters, standing);
    const allowed = allowedFrom(standing, hyperparameters);
    const mayBeSet = head.number + 1 >= allowed;
    if (!mayBeSet && asKept(weights) === asKept(standing.weights)) {
      let heads = await tracker.now(signal);
      while (heads.finalized < standing.lastUpdate) heads = await tracker.changed(heads, signal);
      return finalizedAlready(parts, standing.lastUpdate, async (at) => {
        const events = await readEvents(at);
        return events.findLast(
          ({ name, data }) => name === "WeightsSet" && (data as number[])[0] === netuid && (data as number[])[1] === standing.uid,
        )?.extrinsicIndex;
      });
    }
    if (hyperparameters.commitRevealEnabled) throw commitRevealEnabled(netuid);
    if (!standing.permit && !(weights.length === 1 && weights[0]?.uid === standing.uid)) {
      throw new ConnitoError(`the hotkey has no validator permit on subnet ${netuid}`, {
        code: "no-validator-permit",
        exit: "rejected",
        hint: "Permits go to the largest stakes at each epoch: stake more behind the hotkey, or wait for the epoch.",
        retryable: true,
      });
    }
    if (BigInt(versionKey) < hyperparameters.weightsVersionKey) {
      throw new ConnitoError(`subnet ${netuid} asks for weights version ${hyperparameters.weightsVersionKey}, not ${versionKey}`, {
        code: "weights-version-old",
        exit: "rejected",
        hint: "Update this tool, or ask the subnet's owner which version it wants.",
      });
    }
    if (!mayBeSet) throw rateLimited(allowed);
    return undefined;
  }

  return sender.send({
    what: "the weights",
    signer,
    done,
    until,
    signal,
    call: {
      pallet: "SubtensorModule",
      name: "set_weights",
      args: {
        netuid,
        dests: weights.map(({ uid }) => uid),
        weights: weights.map(({ weight }) => weight),
        version_key: BigInt(versionKey),
      },
    },
  });
}
