/** Sets weights plainly, on subnets that do not ask for a commit first, after looking at everything for which the chain would refuse them. */
import { ConnitoError } from "../errors.ts";
import { readEvents } from "./events.ts";
import { bestHead } from "./heads.ts";
import { type ChainParts, finalizedAlready, notRegistered, type TransactionOptions } from "./set-commitment.ts";
import type { Signer } from "./signer.ts";
import type { State } from "./state.ts";
import { readSubnet, type Weight, type WeightPair, weightsFrom } from "./subnet.ts";
import type { Inclusion } from "./transactions.ts";
import { allowedFrom, checkWeights, rateLimited, type Standing, stands } from "./weights-rules.ts";

/** In two round trips. Throws `not-registered`, `subnet-not-found`. */
export async function readStanding(state: State, netuid: number, hotkey: string): Promise<Standing> {
  const subnet = await readSubnet(state, netuid);
  const neuron = subnet.neurons.find((one) => one.hotkey === hotkey);
  if (neuron === undefined) throw notRegistered(hotkey, netuid);
  const [stakeThreshold, row] = await state.values<[bigint, WeightPair[]]>(
    ["SubtensorModule", "StakeThreshold"],
    ["SubtensorModule", "Weights", netuid, neuron.uid],
  );
  return { netuid, subnet, neuron, stakeThreshold, row: weightsFrom(row) };
}

/**
 * Resolves when the weights stand in a finalised block; at once where the same weights stand and are too fresh to be set again. `versionKey` is the
 * version of the weights' rules, which must not be below the subnet's.
 *
 * Throws `not-registered`, `no-validator-permit`, `stake-too-low`, `weights-invalid`, `weights-version-old`, `weights-rate-limited` (retryable; names
 * the block), `commit-reveal-enabled` (then commit-weights.ts is the way), and what Sender.send throws.
 */
export async function setWeights(
  parts: ChainParts,
  signer: Signer,
  netuid: number,
  weights: readonly Weight[],
  versionKey: bigint,
  { until, signal }: TransactionOptions = {},
): Promise<Inclusion> {
  const { link, stateAt, tracker, sender } = parts;

  async function done(): Promise<Inclusion | undefined> {
    const head = await bestHead(link);
    const standing = await readStanding(await stateAt(head.hash), netuid, signer.address);
    checkWeights(weights, versionKey, standing);
    const { neuron, subnet, row } = standing;
    const allowed = allowedFrom(standing);
    const mayBeSet = head.number + 1 >= allowed;
    if (!mayBeSet && !subnet.hyperparameters.commitRevealEnabled && stands(weights, row)) {
      let heads = await tracker.now(signal);
      while (heads.finalized < neuron.lastUpdate) heads = await tracker.changed(heads, signal);
      return finalizedAlready(parts, neuron.lastUpdate, async (at) => {
        const events = await readEvents(at);
        return events.findLast(
          ({ name, data }) => name === "WeightsSet" && (data as number[])[0] === netuid && (data as number[])[1] === neuron.uid,
        )?.extrinsicIndex;
      });
    }
    if (subnet.hyperparameters.commitRevealEnabled) {
      throw new ConnitoError(`subnet ${netuid} wants weights committed first and revealed later`, {
        code: "commit-reveal-enabled",
        exit: "rejected",
        hint: "Commit them; the subnet's owner changed this just now.",
        retryable: true,
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
        version_key: versionKey,
      },
    },
  });
}
