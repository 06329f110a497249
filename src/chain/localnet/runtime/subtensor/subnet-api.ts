/** SubnetInfoRuntimeApi: a subnet's hyperparameters in one answer. */

import { method } from "../../metadata/pallet.ts";
import { bool, compact, option, struct, u16, u64 } from "../../metadata/scale.ts";
import { netuid } from "../../metadata/types.ts";
import type { Ledger } from "../ledger.ts";
import { subtensorStorage as items } from "./storage.ts";

const c16 = compact(u16);
const c64 = compact(u64);

const hyperparameters = struct("pallet_subtensor::rpc_info::subnet_info::SubnetHyperparams", {
  rho: c16,
  kappa: c16,
  immunityPeriod: c16,
  minAllowedWeights: c16,
  maxWeightsLimit: c16,
  tempo: c16,
  minDifficulty: c64,
  maxDifficulty: c64,
  weightsVersion: c64,
  weightsRateLimit: c64,
  adjustmentInterval: c16,
  activityCutoff: c16,
  registrationAllowed: bool,
  targetRegsPerInterval: c16,
  minBurn: c64,
  maxBurn: c64,
  bondsMovingAvg: c64,
  maxRegsPerBlock: c16,
  servingRateLimit: c64,
  maxValidators: c16,
  adjustmentAlpha: c64,
  difficulty: c64,
  commitRevealPeriod: c64,
  commitRevealWeightsEnabled: bool,
  alphaHigh: c16,
  alphaLow: c16,
  liquidAlphaEnabled: bool,
});

function hyperparametersOf(ledger: Ledger, subnet: number) {
  const [alphaLow, alphaHigh] = ledger.get(items.AlphaValues, subnet);
  return {
    rho: ledger.get(items.Rho, subnet),
    kappa: ledger.get(items.Kappa, subnet),
    immunityPeriod: ledger.get(items.ImmunityPeriod, subnet),
    minAllowedWeights: ledger.get(items.MinAllowedWeights, subnet),
    maxWeightsLimit: ledger.get(items.MaxWeightsLimit, subnet),
    tempo: ledger.get(items.Tempo, subnet),
    minDifficulty: ledger.get(items.MinDifficulty, subnet),
    maxDifficulty: ledger.get(items.MaxDifficulty, subnet),
    weightsVersion: ledger.get(items.WeightsVersionKey, subnet),
    weightsRateLimit: ledger.get(items.WeightsSetRateLimit, subnet),
    adjustmentInterval: ledger.get(items.AdjustmentInterval, subnet),
    activityCutoff: ledger.get(items.ActivityCutoff, subnet),
    registrationAllowed: ledger.get(items.NetworkRegistrationAllowed, subnet),
    targetRegsPerInterval: ledger.get(items.TargetRegistrationsPerInterval, subnet),
    minBurn: ledger.get(items.MinBurn, subnet),
    maxBurn: ledger.get(items.MaxBurn, subnet),
    bondsMovingAvg: ledger.get(items.BondsMovingAverage, subnet),
    maxRegsPerBlock: ledger.get(items.MaxRegistrationsPerBlock, subnet),
    servingRateLimit: ledger.get(items.ServingRateLimit, subnet),
    maxValidators: ledger.get(items.MaxAllowedValidators, subnet),
    adjustmentAlpha: ledger.get(items.AdjustmentAlpha, subnet),
    difficulty: ledger.get(items.Difficulty, subnet),
    commitRevealPeriod: ledger.get(items.RevealPeriodEpochs, subnet),
    commitRevealWeightsEnabled: ledger.get(items.CommitRevealWeightsEnabled, subnet),
    alphaHigh,
    alphaLow,
    liquidAlphaEnabled: ledger.get(items.LiquidAlphaOn, subnet),
  };
}

export const subnetApi = {
  get_subnet_hyperparams: method({ netuid }, option(hyperparameters), (ledger, args) =>
    ledger.get(items.NetworksAdded, args.netuid) ? hyperparametersOf(ledger, args.netuid) : undefined,
  ),
};
