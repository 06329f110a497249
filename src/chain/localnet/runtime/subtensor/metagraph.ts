/** The metagraph of a subnet: its hyperparameters and, in lists by uid, all of its neurons. What emission would move is zero. */

import { hexToU8a } from "@polkadot/util";
import { bool, bytes, compact, type Hex, i128, option, struct, tuple, u8, u16, u64, u128, vec } from "../../metadata/scale.ts";
import { accountId, axonInfo, netuid } from "../../metadata/types.ts";
import type { Ledger } from "../ledger.ts";
import { answerOf, type Column, column, compact16, compact64, plainOf, zero64 } from "./columns.ts";
import { hotkeysOf, stakeOf } from "./epoch.ts";
import { noAxon } from "./neuron-api.ts";
import { subtensorStorage as items } from "./storage.ts";

const identityOf = (path: string, ...names: string[]) => struct(path, Object.fromEntries(names.map((name) => [name, bytes])));

const subnetIdentity = identityOf(
  "pallet_subtensor::pallet::SubnetIdentityV3",
  ...["subnetName", "githubRepo", "subnetContact", "subnetUrl", "discord", "description", "logoUrl", "additional"],
);
const chainIdentity = identityOf(
  "pallet_subtensor::pallet::ChainIdentityV2",
  ...["name", "url", "githubRepo", "image", "discord", "description", "additional"],
);

const byteList = vec(compact(u8));
const compacts16 = vec(compact(u16));
const compacts64 = vec(compact(u64));
const dividends = vec(tuple(accountId, compact(u64)));

/** A list with one value a neuron. */
const each =
  <T>(read: (ledger: Ledger, hotkey: Hex, subnet: number, uid: number) => T) =>
  (ledger: Ledger, subnet: number): T[] =>
    hotkeysOf(ledger, subnet).map((hotkey, uid) => read(ledger, hotkey, subnet, uid));

const stakes: Column<readonly bigint[]> = column(
  compacts64,
  each((ledger, hotkey, subnet) => stakeOf(ledger, hotkey, subnet)),
);

export const metagraph = answerOf("pallet_subtensor::rpc_info::metagraph::Metagraph", {
  netuid: column(compact(netuid), (_, subnet) => subnet),
  name: column(byteList, () => []),
  symbol: column(byteList, (ledger, subnet) => [...hexToU8a(ledger.get(items.TokenSymbol, subnet))]),
  identity: column(option(subnetIdentity), () => undefined),
  networkRegisteredAt: compact64(items.NetworkRegisteredAt),
  ownerHotkey: plainOf(accountId, items.SubnetOwnerHotkey),
  ownerColdkey: plainOf(accountId, items.SubnetOwner),
  block: column(compact(u64), (ledger) => BigInt(ledger.block)),
  tempo: compact16(items.Tempo),
  lastStep: compact64(items.LastMechansimStepBlock),
  blocksSinceLastStep: compact64(items.BlocksSinceLastStep),
  subnetEmission: zero64,
  alphaIn: compact64(items.SubnetAlphaIn),
  alphaOut: compact64(items.SubnetAlphaOut),
  taoIn: compact64(items.SubnetTAO),
  alphaOutEmission: zero64,
  alphaInEmission: zero64,
  taoInEmission: zero64,
  pendingAlphaEmission: zero64,
  pendingRootEmission: zero64,
  subnetVolume: column(compact(u128), () => 0n),
  movingPrice: column(struct("substrate_fixed::FixedI128", { bits: i128 }), () => ({ bits: 1n << 32n })),
  rho: compact16(items.Rho),
  kappa: compact16(items.Kappa),
  minAllowedWeights: compact16(items.MinAllowedWeights),
  maxWeightsLimit: compact16(items.MaxWeightsLimit),
  weightsVersion: compact64(items.WeightsVersionKey),
  weightsRateLimit: compact64(items.WeightsSetRateLimit),
  activityCutoff: compact16(items.ActivityCutoff),
  maxValidators: compact16(items.MaxAllowedValidators),
  numUids: compact16(items.SubnetworkN),
  maxUids: compact16(items.MaxAllowedUids),
  burn: compact64(items.Burn),
  difficulty: compact64(items.Difficulty),
  registrationAllowed: plainOf(bool, items.NetworkRegistrationAllowed),
  powRegistrationAllowed: plainOf(bool, items.NetworkPowRegistrationAllowed),
  immunityPeriod: compact16(items.ImmunityPeriod),
  minDifficulty: compact64(items.MinDifficulty),
  maxDifficulty: compact64(items.MaxDifficulty),
  minBurn: compact64(items.MinBurn),
  maxBurn: compact64(items.MaxBurn),
  adjustmentAlpha: compact64(items.AdjustmentAlpha),
  adjustmentInterval: compact16(items.AdjustmentInterval),
  targetRegsPerInterval: compact16(items.TargetRegistrationsPerInterval),
  maxRegsPerBlock: compact16(items.MaxRegistrationsPerBlock),
  servingRateLimit: compact64(items.ServingRateLimit),
  commitRevealWeightsEnabled: plainOf(bool, items.CommitRevealWeightsEnabled),
  commitRevealPeriod: compact64(items.RevealPeriodEpochs),
  liquidAlphaEnabled: plainOf(bool, items.LiquidAlphaOn),
  alphaHigh: column(compact(u16), (ledger, subnet) => ledger.get(items.AlphaValues, subnet)[1]),
  alphaLow: column(compact(u16), (ledger, subnet) => ledger.get(items.AlphaValues, subnet)[0]),
  bondsMovingAvg: compact64(items.BondsMovingAverage),
  hotkeys: column(vec(accountId), hotkeysOf),
  coldkeys: column(
    vec(accountId),
    each((ledger, hotkey) => ledger.get(items.Owner, hotkey)),
  ),
  identities: column(
    vec(option(chainIdentity)),
    each(() => undefined),
  ),
  axons: column(
    vec(axonInfo),
    each((ledger, hotkey, subnet) => ledger.get(items.Axons, subnet, hotkey) ?? noAxon),
  ),
  active: plainOf(vec(bool), items.Active),
  validatorPermit: plainOf(vec(bool), items.ValidatorPermit),
  pruningScore: plainOf(compacts16, items.PruningScores),
  lastUpdate: plainOf(compacts64, items.LastUpdate),
  emission: plainOf(compacts64, items.Emission),
  dividends: plainOf(compacts16, items.Dividends),
  incentives: plainOf(compacts16, items.Incentive),
  consensus: plainOf(compacts16, items.Consensus),
  trust: plainOf(compacts16, items.Trust),
  rank: plainOf(compacts16, items.Rank),
  blockAtRegistration: column(
    compacts64,
    each((ledger, _, subnet, uid) => ledger.get(items.BlockAtRegistration, subnet, uid)),
  ),
  alphaStake: stakes,
  taoStake: column(
    compacts64,
    each(() => 0n),
  ),
  totalStake: stakes,
  taoDividendsPerHotkey: column(dividends, () => []),
  alphaDividendsPerHotkey: column(dividends, () => []),
});
