/** Weights: set plainly, or by commit and reveal, with mainnet's refusals in mainnet's order. */

import { u8aConcat } from "@polkadot/util";
import { call, type Origin } from "../../metadata/pallet.ts";
import { type Hex, u8, u16, u64, vec } from "../../metadata/scale.ts";
import { accountId, hash, netuid } from "../../metadata/types.ts";
import { blake2Hex } from "../hashing.ts";
import { DispatchError, ensure, type Ledger } from "../ledger.ts";
import { ensureSigned } from "../system.ts";
import { epochIndex, stakeOf } from "./epoch.ts";
import { customErrors, subtensorErrors as errors, subtensorEvents as events } from "./outcomes.ts";
import { subtensorStorage as items } from "./storage.ts";

const largestWeight = 65_535;
export const maximumUnrevealedCommits = 10;

/** The subnet's owner may set weights without. */
function hasStake(ledger: Ledger, subnet: number, hotkey: Hex): boolean {
  return hotkey === ledger.get(items.SubnetOwnerHotkey, subnet) || stakeOf(ledger, hotkey, subnet) >= ledger.get(items.StakeThreshold);
}

export function setLastUpdate(ledger: Ledger, subnet: number, uid: number): void {
  const updates = [...ledger.get(items.LastUpdate, subnet)];
  updates[uid] = BigInt(ledger.block);
  ledger.set(items.LastUpdate, [subnet], updates);
}

export function withinRateLimit(ledger: Ledger, subnet: number, uid: number): boolean {
  const last = ledger.get(items.LastUpdate, subnet)[uid] ?? 0n;
  return last === 0n || BigInt(ledger.block) - last >= ledger.get(items.WeightsSetRateLimit, subnet);
}

/** Scales so that the largest is 65,535, in the chain's own arithmetic: 32 fractional bits, each step cut off, the last rounded. */
export function upscale(values: readonly number[]): number[] {
  const largest = BigInt(Math.max(0, ...values));
  if (largest === 0n) {
    return [...values];
  }
  const one = 1n << 32n;
  const scaled = (value: bigint): bigint =>
    largest > 32_768n ? value * ((BigInt(largestWeight) * one) / largest) : (value * BigInt(largestWeight) * one) / largest;
  return values.map((value) => Math.min(largestWeight, Number((scaled(BigInt(value)) + one / 2n) / one)));
}

interface Weights {
  readonly netuid: number;
  readonly uids: readonly number[];
  readonly values: readonly number[];
  readonly versionKey: bigint;
}

function setWeights(ledger: Ledger, hotkey: Hex, { netuid: subnet, uids, values, versionKey }: Weights): void {
  const commitReveal = ledger.get(items.CommitRevealWeightsEnabled, subnet);
  ensure(subnet !== 0, errors.CanNotSetRootNetworkWeights);
  ensure(uids.length === values.length, errors.WeightVecNotEqualSize);
  ensure(ledger.get(items.NetworksAdded, subnet), errors.SubnetNotExists);
  const count = ledger.get(items.SubnetworkN, subnet);
  ensure(uids.length <= count, errors.UidsLengthExceedUidsInSubNet);
  const uid = ledger.get(items.Uids, subnet, hotkey);
  ensure(uid !== undefined, errors.HotKeyNotRegisteredInSubNet);
  ensure(hasStake(ledger, subnet, hotkey), errors.NotEnoughStakeToSetWeights);
  const required = ledger.get(items.WeightsVersionKey, subnet);
  ensure(required === 0n || versionKey >= required, errors.IncorrectWeightVersionKey);
  ensure(commitReveal || withinRateLimit(ledger, subnet, uid), errors.SettingWeightsTooFast);
  const isSelfWeight = values.length === 1 && uids[0] === uid;
  ensure(isSelfWeight || ledger.get(items.ValidatorPermit, subnet)[uid] === true, errors.NeuronNoValidatorPermit);
  ensure(new Set(uids).size === uids.length, errors.DuplicateUids);
  ensure(
    uids.every((target) => target < count),
    errors.UidVecContainInvalidOne,
  );
  ensure(isSelfWeight || values.length >= Math.min(count, ledger.get(items.MinAllowedWeights, subnet)), errors.WeightVecLengthIsLow);
  const scaled = upscale(values);
  const limit = ledger.get(items.MaxWeightsLimit, subnet);
  const sum = scaled.reduce((total, value) => total + value, 0);
  ensure(
    isSelfWeight || limit === largestWeight || scaled.every((value) => value * largestWeight <= limit * sum),
    errors.MaxWeightExceeded,
  );
  ledger.set(
    items.Weights,
    [subnet, uid],
    uids.map((target, index) => [target, scaled[index] as number] as const),
  );
  if (!commitReveal) {
    setLastUpdate(ledger, subnet, uid);
  }
  ledger.deposit(events.WeightsSet, [subnet, uid]);
}

/** Blocks in which a commit of the given block may be revealed: all of the epoch RevealPeriodEpochs later. */
function revealWindow(ledger: Ledger, subnet: number, block: number): { first: number; last: number } {
  const tempo = ledger.get(items.Tempo, subnet);
  const epoch = epochIndex(ledger, subnet, block) + Number(ledger.get(items.RevealPeriodEpochs, subnet));
  const first = Math.max(0, epoch * (tempo + 1) - (subnet + 1));
  return { first, last: first + tempo };
}

type RevealState = "early" | "open" | "expired";

function revealState(ledger: Ledger, subnet: number, committedAt: bigint): RevealState {
  const now = epochIndex(ledger, subnet, ledger.block);
  const opens = epochIndex(ledger, subnet, Number(committedAt)) + Number(ledger.get(items.RevealPeriodEpochs, subnet));
  return now < opens ? "early" : now === opens ? "open" : "expired";
}

type Commit = readonly [Hex, bigint, bigint, bigint];

/** Drops the expired from the front of a hotkey's queue of commits. */
function splitExpired(ledger: Ledger, subnet: number, commits: readonly Commit[]): { expired: readonly Commit[]; live: readonly Commit[] } {
  const firstLive = commits.findIndex(([, block]) => revealState(ledger, subnet, block) !== "expired");
  const cut = firstLive === -1 ? commits.length : firstLive;
  return { expired: commits.slice(0, cut), live: commits.slice(cut) };
}

function commitWeights(ledger: Ledger, hotkey: Hex, subnet: number, commitHash: Hex): void {
  ensure(ledger.get(items.CommitRevealWeightsEnabled, subnet), errors.CommitRevealDisabled);
  const uid = ledger.get(items.Uids, subnet, hotkey);
  ensure(uid !== undefined, errors.HotKeyNotRegisteredInSubNet);
  ensure(withinRateLimit(ledger, subnet, uid), errors.CommittingWeightsTooFast);
  const { live } = splitExpired(ledger, subnet, ledger.get(items.WeightCommits, subnet, hotkey) ?? []);
  ensure(live.length < maximumUnrevealedCommits, errors.TooManyUnrevealedCommits);
  const window = revealWindow(ledger, subnet, ledger.block);
  const commit: Commit = [commitHash, BigInt(ledger.block), BigInt(window.first), BigInt(window.last)];
  ledger.set(items.WeightCommits, [subnet, hotkey], [...live, commit]);
  ledger.deposit(events.WeightsCommitted, [hotkey, subnet, commitHash]);
  setLastUpdate(ledger, subnet, uid);
}

interface Reveal extends Weights {
  readonly salt: readonly number[];
}

/** blake2_256 of the SCALE of (hotkey, netuid, uids, values, salt, version key). */
export function weightsCommitHash(ledger: Pick<Ledger, "codec">, hotkey: Hex, reveal: Reveal): Hex {
  const { encode } = ledger.codec;
  const lists = [reveal.uids, reveal.values, reveal.salt].map((list) => encode(vec(u16), list));
  return blake2Hex(u8aConcat(encode(accountId, hotkey), encode(u16, reveal.netuid), ...lists, encode(u64, reveal.versionKey)));
}

function revealWeights(ledger: Ledger, hotkey: Hex, reveal: Reveal): void {
  const subnet = reveal.netuid;
  ensure(ledger.get(items.CommitRevealWeightsEnabled, subnet), errors.CommitRevealDisabled);
  const commits = ledger.get(items.WeightCommits, subnet, hotkey);
  ensure(commits !== undefined, errors.NoWeightsCommitFound);
  const { expired, live } = splitExpired(ledger, subnet, commits);
  const provided = weightsCommitHash(ledger, hotkey, reveal);
  const position = live.findIndex(([commitHash]) => commitHash === provided);
  const found = live[position];
  if (found === undefined) {
    ensure(!expired.some(([commitHash]) => commitHash === provided), errors.ExpiredWeightCommit);
    throw new DispatchError(live.length === 0 ? errors.NoWeightsCommitFound : errors.InvalidRevealCommitHashNotMatch);
  }
  ensure(revealState(ledger, subnet, found[1]) === "open", errors.RevealTooEarly);
  const left = live.slice(position + 1);
  if (left.length === 0) {
    ledger.remove(items.WeightCommits, subnet, hotkey);
  } else {
    ledger.set(items.WeightCommits, [subnet, hotkey], left);
  }
  setWeights(ledger, hotkey, reveal);
  ledger.deposit(events.WeightsRevealed, [hotkey, subnet, provided]);
}

/** Subtensor's extension keeps hotkeys without the stake out of the pool. */
export function validateStake(ledger: Ledger, origin: Origin, args: { readonly netuid: number }): number | undefined {
  return hasStake(ledger, args.netuid, ensureSigned(origin)) ? undefined : customErrors.stakeAmountTooLow;
}

interface PlainWeights {
  readonly netuid: number;
  readonly dests: readonly number[];
  readonly weights: readonly number[];
  readonly versionKey: bigint;
}

function plainWeights(ledger: Ledger, origin: Origin, { netuid: subnet, dests, weights, versionKey }: PlainWeights): void {
  const hotkey = ensureSigned(origin);
  ensure(!ledger.get(items.CommitRevealWeightsEnabled, subnet), errors.CommitRevealEnabled);
  setWeights(ledger, hotkey, { netuid: subnet, uids: dests, values: weights, versionKey });
}

function validateReveal(ledger: Ledger, origin: Origin, reveal: Reveal): number | undefined {
  const hotkey = ensureSigned(origin);
  const refusal = validateStake(ledger, origin, reveal);
  if (refusal !== undefined) {
    return refusal;
  }
  const provided = weightsCommitHash(ledger, hotkey, reveal);
  const commit = (ledger.get(items.WeightCommits, reveal.netuid, hotkey) ?? []).find(([commitHash]) => commitHash === provided);
  if (commit === undefined) {
    return customErrors.commitNotFound;
  }
  return revealState(ledger, reveal.netuid, commit[1]) === "open" ? undefined : customErrors.commitBlockNotInRevealRange;
}

/** A subnet may have several mechanisms, each with weights of its own; here it has one, whose index is the subnet's. */
export function ensureMechanism(ledger: Ledger, { netuid: subnet, mecid }: { readonly netuid: number; readonly mecid: number }): void {
  ensure(mecid < ledger.get(items.MechanismCountCurrent, subnet), errors.MechanismDoesNotExist);
}

const set = { dests: vec(u16), weights: vec(u16), versionKey: u64 };
const reveal = { uids: vec(u16), values: vec(u16), salt: vec(u16), versionKey: u64 };

export const weightCalls = {
  set_weights: call(0, { netuid, ...set }, plainWeights, { validate: validateStake }),
  commit_weights: call(
    96,
    { netuid, commitHash: hash },
    (ledger, origin, args) => commitWeights(ledger, ensureSigned(origin), args.netuid, args.commitHash),
    { validate: validateStake },
  ),
  reveal_weights: call(97, { netuid, ...reveal }, (ledger, origin, args) => revealWeights(ledger, ensureSigned(origin), args), {
    validate: validateReveal,
  }),
  set_mechanism_weights: call(
    119,
    { netuid, mecid: u8, ...set },
    (ledger, origin, args) => {
      ensureMechanism(ledger, args);
      plainWeights(ledger, origin, args);
    },
    { validate: validateStake },
  ),
  commit_mechanism_weights: call(
    115,
    { netuid, mecid: u8, commitHash: hash },
    (ledger, origin, args) => {
      ensureMechanism(ledger, args);
      commitWeights(ledger, ensureSigned(origin), args.netuid, args.commitHash);
    },
    { validate: validateStake },
  ),
  reveal_mechanism_weights: call(
    116,
    { netuid, mecid: u8, ...reveal },
    (ledger, origin, args) => {
      ensureMechanism(ledger, args);
      revealWeights(ledger, ensureSigned(origin), args);
    },
    { validate: validateReveal },
  ),
};
