/** Neurons come in: by burning rao or by proof of work, into a free place or the place of the one that is pruned. */

import { hexToU8a, u8aConcat, u8aToHex } from "@polkadot/util";
import { keccakAsU8a, sha256AsU8a } from "@polkadot/util-crypto";
import { call, type Origin } from "../../metadata/pallet.ts";
import { bytes, type Hex, u64 } from "../../metadata/scale.ts";
import { accountId, netuid } from "../../metadata/types.ts";
import { burn } from "../balances.ts";
import { ensure, type Ledger } from "../ledger.ts";
import { ensureSigned, systemStorage } from "../system.ts";
import { subtensorErrors as errors, subtensorEvents as events } from "./outcomes.ts";
import { subtensorStorage as items, perNeuronNumbers } from "./storage.ts";

/** Gives an unowned hotkey to the coldkey. */
export function associate(ledger: Ledger, coldkey: Hex, hotkey: Hex): void {
  if (ledger.has(items.Owner, hotkey)) {
    return;
  }
  ledger.set(items.Owner, [hotkey], coldkey);
  ledger.set(items.OwnedHotkeys, [coldkey], [...ledger.get(items.OwnedHotkeys, coldkey), hotkey]);
  ledger.set(items.StakingHotkeys, [coldkey], [...ledger.get(items.StakingHotkeys, coldkey), hotkey]);
}

function replaced<T>(list: readonly T[], index: number, value: T): T[] {
  const copy = [...list];
  copy[index] = value;
  return copy;
}

/** What others say of a uid is about the neuron that had it. */
function clearWeightsFor(ledger: Ledger, subnet: number, uid: number): void {
  for (const [[setter], weights] of ledger.entries(items.Weights, subnet)) {
    if (weights.some(([target, value]) => target === uid && value !== 0)) {
      const cleared = weights.map(([target, value]) => [target, target === uid ? 0 : value] as const);
      ledger.set(items.Weights, [subnet, setter as number], cleared);
    }
  }
}

/** Sets everything that is kept by uid to what a new neuron starts with; its last update is the registration itself. */
function resetNeuron(ledger: Ledger, subnet: number, uid: number, hotkey: Hex): void {
  for (const name of perNeuronNumbers) {
    ledger.set(items[name], [subnet], replaced(ledger.get(items[name], subnet), uid, 0));
  }
  ledger.set(items.PruningScores, [subnet], replaced(ledger.get(items.PruningScores, subnet), uid, 0));
  ledger.set(items.Active, [subnet], replaced(ledger.get(items.Active, subnet), uid, true));
  ledger.set(items.Emission, [subnet], replaced(ledger.get(items.Emission, subnet), uid, 0n));
  ledger.set(items.LastUpdate, [subnet], replaced(ledger.get(items.LastUpdate, subnet), uid, BigInt(ledger.block)));
  ledger.set(items.ValidatorPermit, [subnet], replaced(ledger.get(items.ValidatorPermit, subnet), uid, false));
  ledger.remove(items.Weights, subnet, uid);
  ledger.remove(items.Bonds, subnet, uid);
  ledger.set(items.Keys, [subnet, uid], hotkey);
  ledger.set(items.Uids, [subnet, hotkey], uid);
  ledger.set(items.IsNetworkMember, [hotkey, subnet], true);
  ledger.set(items.BlockAtRegistration, [subnet, uid], BigInt(ledger.block));
}

/** The uid to give up: not immune before immune, then lowest pruning score, then registered earliest. The owner's hotkey stays. */
function neuronToPrune(ledger: Ledger, subnet: number, count: number): number {
  const owner = ledger.get(items.SubnetOwnerHotkey, subnet);
  const scores = ledger.get(items.PruningScores, subnet);
  const immunity = ledger.get(items.ImmunityPeriod, subnet);
  const candidates = Array.from({ length: count }, (_, uid) => {
    const registered = Number(ledger.get(items.BlockAtRegistration, subnet, uid));
    return { uid, registered, immune: ledger.block - registered < immunity, score: scores[uid] ?? 0 };
  }).filter(({ uid }) => ledger.get(items.Keys, subnet, uid) !== owner);
  candidates.sort((a, b) => Number(a.immune) - Number(b.immune) || a.score - b.score || a.registered - b.registered || a.uid - b.uid);
  const [first] = candidates;
  ensure(first !== undefined, errors.NoNeuronIdAvailable);
  return first.uid;
}

/** Gives the hotkey a uid. @returns the uid */
export function addNeuron(ledger: Ledger, subnet: number, hotkey: Hex): number {
  const count = ledger.get(items.SubnetworkN, subnet);
  let uid = count;
  if (count < ledger.get(items.MaxAllowedUids, subnet)) {
    ledger.set(items.SubnetworkN, [subnet], count + 1);
  } else {
    uid = neuronToPrune(ledger, subnet, count);
    const leaving = ledger.get(items.Keys, subnet, uid);
    ledger.remove(items.Uids, subnet, leaving);
    ledger.remove(items.IsNetworkMember, leaving, subnet);
    ledger.remove(items.Axons, subnet, leaving);
    ledger.remove(items.Prometheus, subnet, leaving);
    clearWeightsFor(ledger, subnet, uid);
  }
  resetNeuron(ledger, subnet, uid, hotkey);
  return uid;
}

function ensureOpen(ledger: Ledger, subnet: number, hotkey: Hex, allowed: boolean): void {
  ensure(allowed, errors.SubNetRegistrationDisabled);
  ensure(
    ledger.get(items.RegistrationsThisBlock, subnet) < ledger.get(items.MaxRegistrationsPerBlock, subnet),
    errors.TooManyRegistrationsThisBlock,
  );
  ensure(
    ledger.get(items.RegistrationsThisInterval, subnet) < 3 * ledger.get(items.TargetRegistrationsPerInterval, subnet),
    errors.TooManyRegistrationsThisInterval,
  );
  ensure(!ledger.has(items.Uids, subnet, hotkey), errors.HotKeyAlreadyRegisteredInSubNet);
}

function ensureSubnet(ledger: Ledger, subnet: number): void {
  ensure(subnet !== 0, errors.RegistrationNotPermittedOnRootSubnet);
  ensure(ledger.get(items.NetworksAdded, subnet), errors.SubnetNotExists);
}

function finish(
  ledger: Ledger,
  subnet: number,
  hotkey: Hex,
  coldkey: Hex,
  counter: "BurnRegistrationsThisInterval" | "POWRegistrationsThisInterval",
): void {
  associate(ledger, coldkey, hotkey);
  ensure(ledger.get(items.Owner, hotkey) === coldkey, errors.NonAssociatedColdKey);
  const uid = addNeuron(ledger, subnet, hotkey);
  for (const name of [counter, "RegistrationsThisInterval", "RegistrationsThisBlock"] as const) {
    ledger.set(items[name], [subnet], ledger.get(items[name], subnet) + 1);
  }
  ledger.deposit(events.NeuronRegistered, [subnet, uid, hotkey]);
}

function burnedRegister(ledger: Ledger, origin: Origin, subnet: number, hotkey: Hex): void {
  const coldkey = ensureSigned(origin);
  ensureSubnet(ledger, subnet);
  ensureOpen(ledger, subnet, hotkey, ledger.get(items.NetworkRegistrationAllowed, subnet));
  const cost = ledger.get(items.Burn, subnet);
  ensure(burn(ledger, coldkey, cost), errors.NotEnoughBalanceToStake);
  ledger.set(items.RAORecycledForRegistration, [subnet], ledger.get(items.RAORecycledForRegistration, subnet) + cost);
  finish(ledger, subnet, hotkey, coldkey, "BurnRegistrationsThisInterval");
}

function littleEndian(value: bigint): Uint8Array {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, value, true);
  return out;
}

/** keccak(sha256(nonce, keccak(block hash, hotkey))), the hash that work must find. */
export function sealOf(blockHash: Hex, nonce: bigint, hotkey: Hex): Hex {
  const inner = keccakAsU8a(u8aConcat(hexToU8a(blockHash), hexToU8a(hotkey)), 256);
  return u8aToHex(keccakAsU8a(sha256AsU8a(u8aConcat(littleEndian(nonce), inner)), 256));
}

/** The hash as a little-endian number, times the difficulty, fits in 256 bits. */
export function meetsDifficulty(seal: Hex, difficulty: bigint): boolean {
  const number = BigInt(u8aToHex(hexToU8a(seal).reverse()));
  return number * difficulty < 1n << 256n;
}

interface Work {
  readonly netuid: number;
  readonly blockNumber: bigint;
  readonly nonce: bigint;
  readonly work: Hex;
  readonly hotkey: Hex;
  readonly coldkey: Hex;
}

function powRegister(ledger: Ledger, origin: Origin, work: Work): void {
  ensure(ensureSigned(origin) === work.hotkey, errors.TransactorAccountShouldBeHotKey);
  ensureSubnet(ledger, work.netuid);
  ensureOpen(ledger, work.netuid, work.hotkey, ledger.get(items.NetworkPowRegistrationAllowed, work.netuid));
  const now = BigInt(ledger.block);
  ensure(work.blockNumber <= now && now - work.blockNumber < 3n, errors.InvalidWorkBlock);
  ensure(meetsDifficulty(work.work, ledger.get(items.Difficulty, work.netuid)), errors.InvalidDifficulty);
  const blockHash = ledger.get(systemStorage.BlockHash, Number(work.blockNumber));
  ensure(sealOf(blockHash, work.nonce, work.hotkey) === work.work, errors.InvalidSeal);
  ledger.set(items.UsedWork, [work.work], now);
  finish(ledger, work.netuid, work.hotkey, work.coldkey, "POWRegistrationsThisInterval");
}

export const registrationCalls = {
  register: call(6, { netuid, blockNumber: u64, nonce: u64, work: bytes, hotkey: accountId, coldkey: accountId }, powRegister),
  burned_register: call(7, { netuid, hotkey: accountId }, (ledger, origin, args) =>
    burnedRegister(ledger, origin, args.netuid, args.hotkey),
  ),
};
