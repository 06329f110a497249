/** What a subnet is at one block: its neurons, its owner, its hyperparameters, and the weights that stand on the chain. */
import type { Codec } from "@polkadot/types/types";
import { ConnitoError } from "../errors.ts";
import { type Hotkey, hotkeyOf } from "../protocol/hotkey.ts";
import type { State } from "./state.ts";

export interface Neuron {
  readonly hotkey: Hotkey;
  readonly uid: number;
  /** All stake behind the hotkey on this subnet, in rao. */
  readonly stake: bigint;
  readonly validatorPermit: boolean;
  /** The block at which the hotkey took this uid. */
  readonly registeredAt: number;
}

export interface Hyperparameters {
  /** Blocks between epochs. */
  readonly tempo: number;
  /** Blocks between two settings of weights by one hotkey. */
  readonly weightsRateLimit: number;
  readonly minimumAllowedWeights: number;
  readonly weightsVersionKey: bigint;
  /** Whether weights must be committed first and revealed later. */
  readonly commitRevealEnabled: boolean;
  /** Epochs between a weights commit and its reveal. */
  readonly revealPeriodEpochs: number;
}

export interface Weight {
  readonly uid: number;
  /** u16; the largest of a row is 65,535. */
  readonly weight: number;
}

interface NumberCodec extends Codec {
  toNumber(): number;
  toBigInt(): bigint;
}

interface NeuronLite extends Codec {
  readonly hotkey: Codec;
  readonly uid: NumberCodec;
  readonly stake: Iterable<readonly [Codec, NumberCodec]>;
  readonly validatorPermit: { readonly isTrue: boolean };
}

export function numberOf(codec: Codec | undefined): number {
  return (codec as NumberCodec).toNumber();
}

/** A compact number, in older runtimes wrapped once more, as a bigint. */
function bigIntOf(codec: Codec | undefined): bigint {
  return BigInt((codec as Codec).toString());
}

function subnetMissing(netuid: number): ConnitoError {
  return new ConnitoError(`there is no subnet ${netuid} on this chain`, {
    code: "subnet-not-found",
    exit: "invalidInput",
    hint: "Check --netuid and --network.",
  });
}

/** Throws `subnet-not-found`. For reads that would otherwise answer with defaults. */
async function requireSubnet(state: State, netuid: number): Promise<void> {
  const [exists] = await state.values(["subtensorModule", "networksAdded", netuid]);
  if (exists === undefined || exists.isEmpty) throw subnetMissing(netuid);
}

/** The neurons by rising uid, in two round trips whatever their number. Throws `subnet-not-found`. */
export async function readNeurons(state: State, netuid: number): Promise<Neuron[]> {
  const neurons = [...((await state.call("neuronInfoRuntimeApi", "getNeuronsLite", netuid)) as unknown as Iterable<NeuronLite>)];
  if (neurons.length === 0) {
    await requireSubnet(state, netuid);
    return [];
  }
  const uids = neurons.map((neuron) => neuron.uid.toNumber());
  const registered = await state.values(...uids.map((uid) => ["subtensorModule", "blockAtRegistration", netuid, uid] as const));
  return neurons
    .map((neuron, index) => ({
      hotkey: hotkeyOf(neuron.hotkey.toU8a()),
      uid: neuron.uid.toNumber(),
      stake: [...neuron.stake].reduce((sum, [, amount]) => sum + amount.toBigInt(), 0n),
      validatorPermit: neuron.validatorPermit.isTrue,
      registeredAt: numberOf(registered[index]),
    }))
    .sort((one, other) => one.uid - other.uid);
}

/** The subnet owner's hotkey, undefined while it has none. Throws `subnet-not-found`. */
export async function readSubnetOwnerHotkey(state: State, netuid: number): Promise<Hotkey | undefined> {
  const [owner] = await state.values(["subtensorModule", "subnetOwnerHotkey", netuid]);
  if (owner !== undefined && !owner.isEmpty) return hotkeyOf(owner.toU8a());
  await requireSubnet(state, netuid);
  return undefined;
}

/** In one round trip. Throws `subnet-not-found`. */
export async function readHyperparameters(state: State, netuid: number): Promise<Hyperparameters> {
  const items = [
    "networksAdded",
    "tempo",
    "weightsSetRateLimit",
    "minAllowedWeights",
    "weightsVersionKey",
    "commitRevealWeightsEnabled",
    "revealPeriodEpochs",
  ];
  const values = await state.values(...items.map((item) => ["subtensorModule", item, netuid] as const));
  const [exists, tempo, rateLimit, minimum, versionKey, commitReveal, revealPeriod] = values;
  if (exists === undefined || exists.isEmpty) throw subnetMissing(netuid);
  return {
    tempo: numberOf(tempo),
    weightsRateLimit: numberOf(rateLimit),
    minimumAllowedWeights: numberOf(minimum),
    weightsVersionKey: bigIntOf(versionKey),
    commitRevealEnabled: commitReveal?.isEmpty === false,
    revealPeriodEpochs: numberOf(revealPeriod),
  };
}

/** A row of weights as the chain keeps it. */
export function weightsFrom(row: Codec | undefined): Weight[] {
  const pairs = row as unknown as Iterable<readonly [NumberCodec, NumberCodec]> | undefined;
  return [...(pairs ?? [])].map(([uid, weight]) => ({ uid: uid.toNumber(), weight: weight.toNumber() }));
}

/** Every neuron's weights, by its uid; who has set none is absent. */
export async function readWeights(state: State, netuid: number): Promise<Map<number, Weight[]>> {
  const rows = await state.entries("subtensorModule", "weights", netuid);
  const read = rows.map(({ keys: [, uid], value }) => [numberOf(uid), weightsFrom(value)] as const);
  return new Map(read.filter(([, row]) => row.length > 0).sort(([one], [other]) => one - other));
}
