/** What a subnet is at one block: its neurons, its owner, its hyperparameters, and the weights that stand on the chain. */
import { ConnitoError } from "../errors.ts";
import type { Hotkey } from "../protocol/hotkey.ts";
import type { State } from "./state.ts";

export interface Neuron {
  readonly hotkey: Hotkey;
  readonly coldkey: string;
  readonly uid: number;
  /** The stake weight behind the hotkey on this subnet, in rao: what the chain's own consensus and its permits go by. */
  readonly stake: bigint;
  readonly validatorPermit: boolean;
  /** The block at which the hotkey took this uid. */
  readonly registeredAt: number;
  /** The block of its last weights, 0 for none. */
  readonly lastUpdate: number;
  /** Where it says it can be reached; undefined where it never said. */
  readonly axon?: { readonly address: string; readonly port: number };
}

export interface Hyperparameters {
  /** Blocks between epochs. */
  readonly tempo: number;
  /** Blocks between two settings of weights by one hotkey. */
  readonly weightsRateLimit: number;
  readonly minimumAllowedWeights: number;
  /** The largest share of a row that one weight may have, of 65,535; a row of one's own uid alone is exempt. */
  readonly maximumWeight: number;
  readonly weightsVersionKey: bigint;
  /** Whether weights must be committed first and revealed later. */
  readonly commitRevealEnabled: boolean;
  /** Epochs between a weights commit and its reveal. */
  readonly revealPeriodEpochs: number;
}

export interface Subnet {
  readonly ownerHotkey: Hotkey | undefined;
  readonly hyperparameters: Hyperparameters;
  /** By rising uid. */
  readonly neurons: readonly Neuron[];
}

export interface Weight {
  readonly uid: number;
  /** u16; the largest of a row is 65,535. */
  readonly weight: number;
}

interface Axon {
  readonly ip: bigint;
  readonly port: number;
  readonly ip_type: number;
}

/** What is used of the answer of SubnetInfoRuntimeApi.get_metagraph; the lists are by uid. */
interface Metagraph {
  readonly owner_hotkey: string;
  readonly tempo: number;
  readonly min_allowed_weights: number;
  readonly max_weights_limit: number;
  readonly weights_version: bigint;
  readonly weights_rate_limit: bigint;
  readonly commit_reveal_weights_enabled: boolean;
  readonly commit_reveal_period: bigint;
  readonly hotkeys: readonly string[];
  readonly coldkeys: readonly string[];
  readonly axons: readonly Axon[];
  readonly validator_permit: readonly boolean[];
  readonly last_update: readonly bigint[];
  readonly block_at_registration: readonly bigint[];
  readonly total_stake: readonly bigint[];
}

/** The account that stands where no key was ever set. */
const noKey = "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM";

function subnetMissing(netuid: number): ConnitoError {
  return new ConnitoError(`there is no subnet ${netuid} on this chain`, {
    code: "subnet-not-found",
    exit: "invalidInput",
    hint: "Check --netuid and --network.",
  });
}

function addressOf(ip: bigint, type: number): string {
  if (type === 4) return [24n, 16n, 8n, 0n].map((shift) => (ip >> shift) & 255n).join(".");
  return Array.from({ length: 8 }, (_, index) => ((ip >> BigInt(112 - 16 * index)) & 65_535n).toString(16)).join(":");
}

function neuronOf(graph: Metagraph, uid: number): Neuron {
  const axon = graph.axons[uid];
  return {
    hotkey: graph.hotkeys[uid] as Hotkey,
    coldkey: graph.coldkeys[uid] ?? noKey,
    uid,
    stake: graph.total_stake[uid] ?? 0n,
    validatorPermit: graph.validator_permit[uid] === true,
    registeredAt: Number(graph.block_at_registration[uid] ?? 0n),
    lastUpdate: Number(graph.last_update[uid] ?? 0n),
    ...(axon === undefined || axon.port === 0 ? {} : { axon: { address: addressOf(axon.ip, axon.ip_type), port: axon.port } }),
  };
}

/** All of a subnet in one round trip, whatever the number of its neurons. Throws `subnet-not-found`. */
export async function readSubnet(state: State, netuid: number): Promise<Subnet> {
  const graph = await state.call<Metagraph | undefined>("SubnetInfoRuntimeApi", "get_metagraph", netuid);
  if (graph === undefined) throw subnetMissing(netuid);
  return {
    ownerHotkey: graph.owner_hotkey === noKey ? undefined : graph.owner_hotkey,
    hyperparameters: {
      tempo: graph.tempo,
      weightsRateLimit: Number(graph.weights_rate_limit),
      minimumAllowedWeights: graph.min_allowed_weights,
      maximumWeight: graph.max_weights_limit,
      weightsVersionKey: BigInt(graph.weights_version),
      commitRevealEnabled: graph.commit_reveal_weights_enabled,
      revealPeriodEpochs: Number(graph.commit_reveal_period),
    },
    neurons: graph.hotkeys.map((_, uid) => neuronOf(graph, uid)),
  };
}

/** A row of weights as the chain keeps it. */
export type WeightPair = readonly [uid: number, weight: number];

export function weightsFrom(row: readonly WeightPair[]): Weight[] {
  return row.map(([uid, weight]) => ({ uid, weight }));
}

/** Every neuron's weights, by its uid; who has set none is absent. */
export async function readWeights(state: State, netuid: number): Promise<Map<number, Weight[]>> {
  const rows = await state.entries<WeightPair[]>("SubtensorModule", "Weights", netuid);
  const read = rows.map(({ keys: [, uid], value }) => [uid as number, weightsFrom(value)] as const);
  return new Map(read.filter(([, row]) => row.length > 0).sort(([one], [other]) => one - other));
}
