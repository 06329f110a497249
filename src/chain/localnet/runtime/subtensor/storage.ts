/** SubtensorModule's storage, as far as the localnet fills it; the fallbacks are mainnet's. */

import { map, optionalMap, single, storage } from "../../metadata/declarations.ts";
import { bool, boundedBytes, bytes, tuple, u8, u16, u64, vec } from "../../metadata/scale.ts";
import { accountId, axonInfo, hash, netuid, prometheusInfo, u64f64 } from "../../metadata/types.ts";
import { zeroHash as zeroAccount } from "../system.ts";

const subnet = [["Identity", netuid]] as const;
const subnetAndUid = [
  ["Identity", netuid],
  ["Identity", u16],
] as const;
const subnetAndHotkey = [
  ["Identity", netuid],
  ["Blake2_128Concat", accountId],
] as const;
const hotkey = [["Blake2_128Concat", accountId]] as const;
const hotkeyAndSubnet = [
  ["Blake2_128Concat", accountId],
  ["Identity", netuid],
] as const;

const weightList = vec(tuple(u16, u16));

export const subtensorStorage = storage("SubtensorModule", {
  // Keys and their owners.
  Owner: map(hotkey, accountId, zeroAccount),
  OwnedHotkeys: map(hotkey, vec(accountId), []),
  StakingHotkeys: map(hotkey, vec(accountId), []),
  Delegates: map(hotkey, u16, 11_796),
  // Stake, in alpha; shares are worth one alpha each since nothing is emitted.
  TotalIssuance: single(u64, 0n),
  TotalStake: single(u64, 0n),
  StakeThreshold: single(u64, 0n),
  TotalHotkeyAlpha: map(hotkeyAndSubnet, u64, 0n),
  TotalHotkeyShares: map(hotkeyAndSubnet, u64f64, { bits: 0n }),
  Alpha: map([["Blake2_128Concat", accountId], ...hotkeyAndSubnet], u64f64, { bits: 0n }),
  SubnetTAO: map(subnet, u64, 0n),
  SubnetAlphaIn: map(subnet, u64, 0n),
  SubnetAlphaOut: map(subnet, u64, 0n),
  // Subnets.
  TotalNetworks: single(u16, 0),
  NetworksAdded: map(subnet, bool, false),
  NetworkRegisteredAt: map(subnet, u64, 0n),
  SubnetworkN: map(subnet, u16, 0),
  SubnetOwner: map(subnet, accountId, zeroAccount),
  SubnetOwnerHotkey: map(subnet, accountId, zeroAccount),
  SubnetMechanism: map(subnet, u16, 0),
  TokenSymbol: map(subnet, bytes, "0xf09d9c8f"),
  SubtokenEnabled: map(subnet, bool, false),
  FirstEmissionBlockNumber: optionalMap(subnet, u64),
  MechanismCountCurrent: map([["Twox64Concat", netuid]], u8, 1),
  BlocksSinceLastStep: map(subnet, u64, 0n),
  LastMechansimStepBlock: map(subnet, u64, 0n),
  // Hyperparameters.
  Tempo: map(subnet, u16, 360),
  Rho: map(subnet, u16, 10),
  Kappa: map(subnet, u16, 32_767),
  ImmunityPeriod: map(subnet, u16, 4096),
  ActivityCutoff: map(subnet, u16, 5000),
  MinAllowedWeights: map(subnet, u16, 1024),
  MaxWeightsLimit: map(subnet, u16, 65_535),
  MaxAllowedUids: map(subnet, u16, 256),
  MinAllowedUids: map(subnet, u16, 64),
  MaxAllowedValidators: map(subnet, u16, 128),
  WeightsVersionKey: map(subnet, u64, 0n),
  WeightsSetRateLimit: map(subnet, u64, 100n),
  CommitRevealWeightsEnabled: map(subnet, bool, true),
  CommitRevealWeightsVersion: single(u16, 4),
  RevealPeriodEpochs: map([["Twox64Concat", netuid]], u64, 1n),
  ServingRateLimit: map(subnet, u64, 50n),
  AdjustmentInterval: map(subnet, u16, 100),
  AdjustmentAlpha: map(subnet, u64, 0n),
  BondsMovingAverage: map(subnet, u64, 900_000n),
  NetworkRegistrationAllowed: map(subnet, bool, true),
  NetworkPowRegistrationAllowed: map(subnet, bool, true),
  MaxRegistrationsPerBlock: map(subnet, u16, 1),
  TargetRegistrationsPerInterval: map(subnet, u16, 2),
  Burn: map(subnet, u64, 100_000_000n),
  MinBurn: map(subnet, u64, 500_000n),
  MaxBurn: map(subnet, u64, 100_000_000_000n),
  Difficulty: map(subnet, u64, 10_000_000n),
  MinDifficulty: map(subnet, u64, 10_000_000n),
  MaxDifficulty: map(subnet, u64, 4_611_686_018_427_387_903n),
  LiquidAlphaOn: map([["Blake2_128Concat", netuid]], bool, false),
  AlphaValues: map(subnet, tuple(u16, u16), [45_875, 58_982]),
  // Registrations.
  RegistrationsThisBlock: map(subnet, u16, 0),
  RegistrationsThisInterval: map(subnet, u16, 0),
  BurnRegistrationsThisInterval: map(subnet, u16, 0),
  POWRegistrationsThisInterval: map(subnet, u16, 0),
  LastAdjustmentBlock: map(subnet, u64, 0n),
  RAORecycledForRegistration: map(subnet, u64, 0n),
  UsedWork: map([["Identity", bytes]], u64, 0n),
  // Neurons.
  Uids: optionalMap(subnetAndHotkey, u16),
  Keys: map(subnetAndUid, accountId, zeroAccount),
  IsNetworkMember: map(hotkeyAndSubnet, bool, false),
  BlockAtRegistration: map(subnetAndUid, u64, 0n),
  Active: map(subnet, vec(bool), []),
  Rank: map(subnet, vec(u16), []),
  Trust: map(subnet, vec(u16), []),
  Consensus: map(subnet, vec(u16), []),
  Incentive: map(subnet, vec(u16), []),
  Dividends: map(subnet, vec(u16), []),
  Emission: map(subnet, vec(u64), []),
  LastUpdate: map(subnet, vec(u64), []),
  ValidatorTrust: map(subnet, vec(u16), []),
  PruningScores: map(subnet, vec(u16), []),
  ValidatorPermit: map(subnet, vec(bool), []),
  StakeWeight: map(subnet, vec(u16), []),
  Weights: map(subnetAndUid, weightList, []),
  Bonds: map(subnetAndUid, weightList, []),
  Axons: optionalMap(subnetAndHotkey, axonInfo),
  Prometheus: optionalMap(subnetAndHotkey, prometheusInfo),
  WeightCommits: optionalMap(
    [
      ["Twox64Concat", netuid],
      ["Twox64Concat", accountId],
    ],
    vec(tuple(hash, u64, u64, u64)),
  ),
  /** By the epoch of the commit: hotkey, block, ciphertext, round of the beacon. */
  TimelockedWeightCommits: map(
    [
      ["Twox64Concat", netuid],
      ["Twox64Concat", u64],
    ],
    vec(tuple(accountId, u64, boundedBytes(), u64)),
    [],
  ),
});

/** The lists that hold one value a uid, with what a new neuron starts with. */
export const perNeuronNumbers = ["Rank", "Trust", "Consensus", "Incentive", "Dividends", "ValidatorTrust", "StakeWeight"] as const;
