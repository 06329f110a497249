/** What the chain begins with: balances, the sudo key, subnets and neurons, written as block 0's state. */

import { Keyring } from "@polkadot/keyring";
import { u8aToHex } from "@polkadot/util";
import { decodeAddress } from "@polkadot/util-crypto";
import { ConnitoError } from "../../errors.ts";
import type { StorageItem } from "./metadata/declarations.ts";
import type { Hex } from "./metadata/scale.ts";
import { issue } from "./runtime/balances.ts";
import type { Changes, WritableLedger } from "./runtime/ledger.ts";
import { createLedger } from "./runtime/ledger.ts";
import type { Runtime } from "./runtime/runtime.ts";
import { recomputePermits } from "./runtime/subtensor/epoch.ts";
import { addNeuron, associate } from "./runtime/subtensor/registration.ts";
import { changeStake } from "./runtime/subtensor/stake.ts";
import { subtensorStorage as items } from "./runtime/subtensor/storage.ts";
import { sudoStorage } from "./runtime/sudo.ts";
import { systemStorage, zeroHash } from "./runtime/system.ts";
import { version } from "./runtime/version.ts";

/** A subnet's hyperparameters by the names that Connito's chain client uses; what is left out is a default for development. */
export interface GenesisHyperparameters {
  /** Blocks between epochs, at which permits are given anew and the space for commitments is free again. */
  readonly tempo?: number;
  /** Blocks between two settings of weights by one hotkey. */
  readonly weightsRateLimit?: number;
  readonly minimumAllowedWeights?: number;
  readonly weightsVersionKey?: number;
  readonly commitRevealEnabled?: boolean;
  /** Epochs between a weights commit and its reveal. */
  readonly revealPeriodEpochs?: number;
  /** Blocks between two serve_axon of one hotkey. */
  readonly servingRateLimit?: number;
  readonly maximumUids?: number;
  readonly maximumValidators?: number;
  readonly registrationsPerBlock?: number;
  readonly registrationsPerInterval?: number;
  /** Rao that a registration burns. */
  readonly burn?: bigint;
  readonly powDifficulty?: bigint;
  readonly immunityPeriod?: number;
}

export interface GenesisSubnet {
  readonly netuid: number;
  /** SS58; need not be registered on the subnet. */
  readonly ownerHotkey: string;
  /** SS58; //Alice when left out. */
  readonly ownerColdkey?: string;
  readonly hyperparameters?: GenesisHyperparameters;
}

/** A neuron that is registered at block 0; uids follow the list's order within each subnet. */
export interface GenesisNeuron {
  readonly netuid: number;
  readonly hotkey: string;
  /** //Alice when left out. */
  readonly coldkey?: string;
  /** Alpha, in rao. With any, the neuron has a permit while it is among the `maximumValidators` with most. */
  readonly stake?: bigint;
  /** Overrides the permit until the first epoch. */
  readonly validatorPermit?: boolean;
}

export interface Genesis {
  /** Besides the development accounts, which have 1,000,000 TAO each. */
  readonly balances?: readonly { readonly address: string; readonly free: bigint }[];
  readonly subnets?: readonly GenesisSubnet[];
  readonly neurons?: readonly GenesisNeuron[];
  /** Holder of sudo; //Alice when left out. */
  readonly sudo?: string;
}

const raoPerTao = 1_000_000_000n;
const developmentBalance = 1_000_000n * raoPerTao;
const developmentUris = ["//Alice", "//Bob", "//Charlie", "//Dave", "//Eve", "//Ferdie"];

/** Small limits, so that a development subnet does not make anybody wait; mainnet's are in the storage's fallbacks. */
export const developmentHyperparameters: Required<GenesisHyperparameters> = {
  tempo: 20,
  weightsRateLimit: 5,
  minimumAllowedWeights: 1,
  weightsVersionKey: 0,
  commitRevealEnabled: false,
  revealPeriodEpochs: 1,
  servingRateLimit: 5,
  maximumUids: 256,
  maximumValidators: 64,
  registrationsPerBlock: 256,
  registrationsPerInterval: 1000,
  burn: 1_000_000n,
  powDifficulty: 100n,
  immunityPeriod: 100,
};

function accountOf(address: string): Hex {
  try {
    return u8aToHex(decodeAddress(address));
  } catch (cause) {
    throw new ConnitoError(`"${address}" in the genesis is not an SS58 address`, {
      code: "genesis-invalid",
      exit: "invalidInput",
      hint: "Give every account of the genesis as an SS58 address.",
      cause,
    });
  }
}

function invalid(message: string): never {
  throw new ConnitoError(message, { code: "genesis-invalid", exit: "invalidInput", hint: "Correct the genesis that localnet was given." });
}

function addSubnet(ledger: WritableLedger, subnet: GenesisSubnet, alice: Hex): void {
  const { netuid } = subnet;
  if (!Number.isInteger(netuid) || netuid < 1 || netuid > 65_535) {
    invalid(`Subnet ${netuid}: a netuid is a whole number from 1 to 65,535 (there is no root subnet here)`);
  }
  if (ledger.get(items.NetworksAdded, netuid)) {
    invalid(`Subnet ${netuid} is given twice`);
  }
  const values = { ...developmentHyperparameters, ...subnet.hyperparameters };
  const owner = subnet.ownerColdkey === undefined ? alice : accountOf(subnet.ownerColdkey);
  const hotkey = accountOf(subnet.ownerHotkey);
  const set = <V>(item: StorageItem<readonly [number], V>, value: Exclude<V, undefined>): void => ledger.set(item, [netuid], value);
  associate(ledger, owner, hotkey);
  set(items.NetworksAdded, true);
  set(items.SubtokenEnabled, true);
  set(items.SubnetMechanism, 1);
  set(items.SubnetOwner, owner);
  set(items.SubnetOwnerHotkey, hotkey);
  set(items.Tempo, values.tempo);
  set(items.WeightsSetRateLimit, BigInt(values.weightsRateLimit));
  set(items.MinAllowedWeights, values.minimumAllowedWeights);
  set(items.WeightsVersionKey, BigInt(values.weightsVersionKey));
  set(items.CommitRevealWeightsEnabled, values.commitRevealEnabled);
  set(items.RevealPeriodEpochs, BigInt(values.revealPeriodEpochs));
  set(items.ServingRateLimit, BigInt(values.servingRateLimit));
  set(items.MaxAllowedUids, values.maximumUids);
  set(items.MaxAllowedValidators, values.maximumValidators);
  set(items.MaxRegistrationsPerBlock, values.registrationsPerBlock);
  set(items.TargetRegistrationsPerInterval, values.registrationsPerInterval);
  set(items.Burn, values.burn);
  set(items.Difficulty, values.powDifficulty);
  set(items.ImmunityPeriod, values.immunityPeriod);
  ledger.set(items.TotalNetworks, [], ledger.get(items.TotalNetworks) + 1);
}

function addGenesisNeuron(ledger: WritableLedger, neuron: GenesisNeuron, alice: Hex): number {
  const hotkey = accountOf(neuron.hotkey);
  const coldkey = neuron.coldkey === undefined ? alice : accountOf(neuron.coldkey);
  if (!ledger.get(items.NetworksAdded, neuron.netuid)) {
    invalid(`Neuron ${neuron.hotkey}: there is no subnet ${neuron.netuid} in the genesis`);
  }
  if (ledger.has(items.Uids, neuron.netuid, hotkey)) {
    invalid(`Neuron ${neuron.hotkey} is given twice on subnet ${neuron.netuid}`);
  }
  associate(ledger, coldkey, hotkey);
  const uid = addNeuron(ledger, neuron.netuid, hotkey);
  if (neuron.stake !== undefined && neuron.stake > 0n) {
    changeStake(ledger, hotkey, coldkey, neuron.netuid, neuron.stake);
  }
  return uid;
}

let knownAccounts: readonly [Hex, ...Hex[]] | undefined;

/** Public keys of the accounts that every Substrate development chain has, //Alice first. */
function developmentAccounts(): readonly [Hex, ...Hex[]] {
  if (knownAccounts === undefined) {
    const keyring = new Keyring({ type: "sr25519" });
    knownAccounts = developmentUris.map((uri) => u8aToHex(keyring.addFromUri(uri).publicKey)) as [Hex, ...Hex[]];
  }
  return knownAccounts;
}

/** @returns every key and value of block 0. The same genesis gives the same bytes, and so the same genesis hash. */
export function genesisState(runtime: Runtime, genesis: Genesis): Changes {
  const empty = { read: () => undefined, keys: () => [] };
  const { codec } = runtime.metadata;
  const ledger = createLedger(codec, 0, empty);
  const accounts = developmentAccounts();
  const [alice] = accounts;
  for (const account of accounts) {
    issue(ledger, account, developmentBalance);
  }
  for (const { address, free } of genesis.balances ?? []) {
    issue(ledger, accountOf(address), free);
  }
  ledger.set(sudoStorage.Key, [], genesis.sudo === undefined ? alice : accountOf(genesis.sudo));
  ledger.set(systemStorage.LastRuntimeUpgrade, [], { specVersion: version.specVersion, specName: version.specName });
  for (const subnet of genesis.subnets ?? []) {
    addSubnet(ledger, subnet, alice);
  }
  const overrides: [number, number, boolean][] = [];
  for (const neuron of genesis.neurons ?? []) {
    const uid = addGenesisNeuron(ledger, neuron, alice);
    if (neuron.validatorPermit !== undefined) {
      overrides.push([neuron.netuid, uid, neuron.validatorPermit]);
    }
  }
  for (const { netuid } of genesis.subnets ?? []) {
    recomputePermits(ledger, netuid);
  }
  for (const [netuid, uid, permit] of overrides) {
    const permits = [...ledger.get(items.ValidatorPermit, netuid)];
    permits[uid] = permit;
    ledger.set(items.ValidatorPermit, [netuid], permits);
  }
  ledger.set(systemStorage.Number, [], 0);
  ledger.set(systemStorage.ParentHash, [], zeroHash);
  ledger.setRaw(codeKey, "0x00");
  return ledger.changes;
}

/** `:code`, which some clients read to see whether the runtime changed; there is no WebAssembly here. */
const codeKey: Hex = "0x3a636f6465";
