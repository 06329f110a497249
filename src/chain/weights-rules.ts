/**
 * Everything for which the chain would refuse weights, looked at before they are sent: pure rules over what the chain said at one block, in the
 * chain's own arithmetic (Subtensor: `do_set_weights`, `do_commit_weights`).
 */
import { ConnitoError } from "../errors.ts";
import type { Neuron, Subnet, Weight } from "./subnet.ts";

const largestWeight = 65_535;

/** How a validator stands on a subnet at a block. */
export interface Standing {
  readonly netuid: number;
  readonly subnet: Subnet;
  readonly neuron: Neuron;
  /** Stake in rao below which weights are refused; the subnet's owner is exempt. */
  readonly stakeThreshold: bigint;
  /** The weights that stand. */
  readonly row: readonly Weight[];
}

function invalid(message: string, hint: string): ConnitoError {
  return new ConnitoError(message, { code: "weights-invalid", exit: "invalidInput", hint });
}

/** The chain scales a row so that its largest is 65,535; zeros it keeps, though they say nothing. */
function scaled(weights: readonly Weight[]): Weight[] {
  const largest = Math.max(...weights.map(({ weight }) => weight));
  return weights.map(({ uid, weight }) => ({ uid, weight: Math.round((weight * largestWeight) / largest) }));
}

/** Whether the weights that stand say the same as these. */
export function stands(weights: readonly Weight[], row: readonly Weight[]): boolean {
  const text = (list: readonly Weight[]): string =>
    JSON.stringify(
      list
        .filter(({ weight }) => weight > 0)
        .sort((one, other) => one.uid - other.uid)
        .map(({ uid, weight }) => [uid, weight]),
    );
  return text(scaled(weights)) === text(row);
}

function isSelfWeight(weights: readonly Weight[], { neuron }: Standing): boolean {
  return weights.length === 1 && weights[0]?.uid === neuron.uid;
}

/** Throws `weights-invalid`. */
function checkValues(weights: readonly Weight[], standing: Standing): void {
  const { neurons, hyperparameters } = standing.subnet;
  const minimum = Math.min(neurons.length, hyperparameters.minimumAllowedWeights);
  if (new Set(weights.map((weight) => weight.uid)).size !== weights.length) throw invalid("a uid has two weights", "Give each uid once.");
  const stranger = weights.find(({ uid }) => !Number.isInteger(uid) || uid < 0 || uid >= neurons.length);
  if (stranger !== undefined) throw invalid(`the subnet has no uid ${stranger.uid}`, "Read the neurons again: one left meanwhile.");
  const wrong = weights.find(({ weight }) => !Number.isInteger(weight) || weight < 0 || weight > largestWeight);
  if (wrong !== undefined) throw invalid(`${wrong.weight} is no weight`, `A weight is a whole number from 0 to ${largestWeight}.`);
  if (!weights.some(({ weight }) => weight > 0))
    throw invalid("all weights are zero", "Keep the weights that stand until somebody has a score.");
  if (isSelfWeight(weights, standing)) return;
  if (weights.length < minimum) {
    throw invalid(
      `${weights.length} weights are fewer than the ${minimum} that the subnet wants`,
      "Ask the subnet's owner to lower MinAllowedWeights.",
    );
  }
  const limit = hyperparameters.maximumWeight;
  const sum = scaled(weights).reduce((total, { weight }) => total + weight, 0);
  const heavy = scaled(weights).find(({ weight }) => limit < largestWeight && weight * largestWeight > limit * sum);
  if (heavy !== undefined) {
    throw invalid(
      `uid ${heavy.uid} would have ${((100 * heavy.weight) / sum).toFixed(1)}% of the weight, and the subnet allows ${((100 * limit) / largestWeight).toFixed(1)}%`,
      "Ask the subnet's owner to raise MaxWeightsLimit, or wait until more miners have a score.",
    );
  }
}

/** Throws `weights-invalid`, `stake-too-low`, `no-validator-permit`, `weights-version-old`. */
export function checkWeights(weights: readonly Weight[], versionKey: bigint, standing: Standing): void {
  const { netuid, neuron, subnet, stakeThreshold } = standing;
  checkValues(weights, standing);
  if (neuron.hotkey !== subnet.ownerHotkey && neuron.stake < stakeThreshold) {
    throw new ConnitoError(`the hotkey has ${neuron.stake} rao of stake, and weights ask for ${stakeThreshold}`, {
      code: "stake-too-low",
      exit: "rejected",
      hint: "Stake more behind the hotkey on this subnet: `btcli stake add`.",
      retryable: true,
    });
  }
  if (!neuron.validatorPermit && !isSelfWeight(weights, standing)) {
    throw new ConnitoError(`the hotkey has no validator permit on subnet ${netuid}`, {
      code: "no-validator-permit",
      exit: "rejected",
      hint: "Permits go to the largest stakes at each epoch: stake more behind the hotkey, or wait for the epoch.",
      retryable: true,
    });
  }
  const wanted = subnet.hyperparameters.weightsVersionKey;
  if (versionKey < wanted) {
    throw new ConnitoError(`subnet ${netuid} asks for weights version ${wanted}, not ${versionKey}`, {
      code: "weights-version-old",
      exit: "rejected",
      hint: "Update this tool, or ask the subnet's owner which version it wants.",
    });
  }
}

/** The first block that may include weights, or a commit to weights, of this hotkey. */
export function allowedFrom({ neuron, subnet }: Standing): number {
  return neuron.lastUpdate === 0 ? 0 : neuron.lastUpdate + subnet.hyperparameters.weightsRateLimit;
}

export function rateLimited(block: number): ConnitoError {
  return new ConnitoError(`the chain takes new weights of this hotkey from block ${block} on`, {
    code: "weights-rate-limited",
    exit: "rejected",
    hint: `Try again at block ${block}; the subnet's WeightsSetRateLimit says how often weights may change.`,
    retryable: true,
  });
}
