/** SubnetInfoRuntimeApi: a subnet's hyperparameters, and the metagraph, which is everything of a subnet in one answer. */

import { method } from "../../metadata/pallet.ts";
import { bool, compact, i64, option, struct, u16 } from "../../metadata/scale.ts";
import { netuid } from "../../metadata/types.ts";
import type { Ledger } from "../ledger.ts";
import { type Answer, answerOf, column, compact16, compact64, plainOf } from "./columns.ts";
import { metagraph } from "./metagraph.ts";
import { subtensorStorage as items } from "./storage.ts";

const shared = {
  rho: compact16(items.Rho),
  kappa: compact16(items.Kappa),
  immunityPeriod: compact16(items.ImmunityPeriod),
  minAllowedWeights: compact16(items.MinAllowedWeights),
  maxWeightsLimit: compact16(items.MaxWeightsLimit),
  tempo: compact16(items.Tempo),
  minDifficulty: compact64(items.MinDifficulty),
  maxDifficulty: compact64(items.MaxDifficulty),
  weightsVersion: compact64(items.WeightsVersionKey),
  weightsRateLimit: compact64(items.WeightsSetRateLimit),
  adjustmentInterval: compact16(items.AdjustmentInterval),
  activityCutoff: compact16(items.ActivityCutoff),
  registrationAllowed: plainOf(bool, items.NetworkRegistrationAllowed),
  targetRegsPerInterval: compact16(items.TargetRegistrationsPerInterval),
  minBurn: compact64(items.MinBurn),
  maxBurn: compact64(items.MaxBurn),
  bondsMovingAvg: compact64(items.BondsMovingAverage),
  maxRegsPerBlock: compact16(items.MaxRegistrationsPerBlock),
  servingRateLimit: compact64(items.ServingRateLimit),
  maxValidators: compact16(items.MaxAllowedValidators),
  adjustmentAlpha: compact64(items.AdjustmentAlpha),
  difficulty: compact64(items.Difficulty),
  commitRevealPeriod: compact64(items.RevealPeriodEpochs),
  commitRevealWeightsEnabled: plainOf(bool, items.CommitRevealWeightsEnabled),
  alphaHigh: column(compact(u16), (ledger, subnet) => ledger.get(items.AlphaValues, subnet)[1]),
  alphaLow: column(compact(u16), (ledger, subnet) => ledger.get(items.AlphaValues, subnet)[0]),
  liquidAlphaEnabled: plainOf(bool, items.LiquidAlphaOn),
};

const hyperparameters = answerOf("pallet_subtensor::rpc_info::subnet_info::SubnetHyperparams", shared);

const hyperparametersV2 = answerOf("pallet_subtensor::rpc_info::subnet_info::SubnetHyperparamsV2", {
  ...shared,
  alphaSigmoidSteepness: column(struct("substrate_fixed::FixedI64", { bits: i64 }), () => ({ bits: 1000n << 32n })),
  yumaVersion: column(compact(u16), () => 2),
  subnetIsActive: plainOf(bool, items.SubtokenEnabled),
  transfersEnabled: column(bool, () => false),
  bondsResetEnabled: column(bool, () => false),
  userLiquidityEnabled: column(bool, () => false),
});

/** Nothing for a subnet that there is not. */
const ofSubnet = ({ type, read }: Answer) =>
  method({ netuid }, option(type), (ledger: Ledger, args) =>
    ledger.get(items.NetworksAdded, args.netuid) ? read(ledger, args.netuid) : undefined,
  );

export const subnetApi = {
  get_subnet_hyperparams: ofSubnet(hyperparameters),
  get_subnet_hyperparams_v2: ofSubnet(hyperparametersV2),
  get_metagraph: ofSubnet(metagraph),
};
