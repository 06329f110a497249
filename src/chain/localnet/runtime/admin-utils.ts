/** AdminUtils: how root, or for some the subnet's owner, sets hyperparameters. One line a call. */

import { type EventDefinition, errors, type StorageItem } from "../metadata/declarations.ts";
import { type CallDefinition, call, type Origin, type PalletDefinition } from "../metadata/pallet.ts";
import { bool, type Scale, u16, u64 } from "../metadata/scale.ts";
import { accountId, netuid } from "../metadata/types.ts";
import { ensure, type Ledger } from "./ledger.ts";
import { subtensorEvents as events, subtensorErrors } from "./subtensor/outcomes.ts";
import { subtensorStorage as items } from "./subtensor/storage.ts";
import { ensureRoot } from "./system.ts";

const adminErrors = errors("AdminUtils", { SubnetDoesNotExist: 0 });

/** Epochs between a weights commit and its reveal. */
const longestRevealPeriod = 100n;

type Who = "root" | "owner";

function ensureMay(ledger: Ledger, origin: Origin, subnet: number, who: Who): void {
  ensure(ledger.get(items.NetworksAdded, subnet), adminErrors.SubnetDoesNotExist);
  if (who === "owner" && origin.kind === "signed") {
    ensure(origin.account === ledger.get(items.SubnetOwner, subnet), subtensorErrors.NotSubnetOwner);
  } else {
    ensureRoot(origin);
  }
}

/** A call that writes one value of a subnet and says so. The argument's name is part of the call's metadata. */
function setter<V>(
  index: number,
  argument: string,
  type: Scale<V>,
  item: StorageItem<readonly [number], V>,
  event: EventDefinition<readonly [number, V]> | undefined,
  who: Who = "owner",
): CallDefinition {
  return call(index, { netuid, [argument]: type } as Record<string, Scale<unknown>>, (ledger, origin, args) => {
    const subnet = args.netuid as number;
    const value = args[argument] as V;
    ensureMay(ledger, origin, subnet, who);
    ledger.set(item, [subnet], value as Exclude<V, undefined>);
    if (event !== undefined) {
      ledger.deposit(event, [subnet, value]);
    }
  });
}

export const adminUtils: PalletDefinition = {
  name: "AdminUtils",
  index: 19,
  errors: adminErrors,
  calls: {
    sudo_set_serving_rate_limit: setter(3, "servingRateLimit", u64, items.ServingRateLimit, events.ServingRateLimitSet),
    sudo_set_weights_version_key: setter(6, "weightsVersionKey", u64, items.WeightsVersionKey, events.WeightsVersionKeySet),
    sudo_set_weights_set_rate_limit: setter(
      7,
      "weightsSetRateLimit",
      u64,
      items.WeightsSetRateLimit,
      events.WeightsSetRateLimitSet,
      "root",
    ),
    sudo_set_adjustment_interval: setter(8, "adjustmentInterval", u16, items.AdjustmentInterval, events.AdjustmentIntervalSet, "root"),
    sudo_set_immunity_period: setter(13, "immunityPeriod", u16, items.ImmunityPeriod, events.ImmunityPeriodSet),
    sudo_set_min_allowed_weights: setter(14, "minAllowedWeights", u16, items.MinAllowedWeights, events.MinAllowedWeightSet),
    sudo_set_max_allowed_uids: setter(15, "maxAllowedUids", u16, items.MaxAllowedUids, events.MaxAllowedUidsSet, "root"),
    sudo_set_activity_cutoff: setter(18, "activityCutoff", u16, items.ActivityCutoff, events.ActivityCutoffSet),
    sudo_set_network_registration_allowed: setter(
      19,
      "registrationAllowed",
      bool,
      items.NetworkRegistrationAllowed,
      events.RegistrationAllowed,
    ),
    sudo_set_network_pow_registration_allowed: setter(
      20,
      "registrationAllowed",
      bool,
      items.NetworkPowRegistrationAllowed,
      events.PowRegistrationAllowed,
    ),
    sudo_set_target_registrations_per_interval: setter(
      21,
      "targetRegistrationsPerInterval",
      u16,
      items.TargetRegistrationsPerInterval,
      events.RegistrationPerIntervalSet,
      "root",
    ),
    sudo_set_min_burn: setter(22, "minBurn", u64, items.MinBurn, events.MinBurnSet),
    sudo_set_max_burn: setter(23, "maxBurn", u64, items.MaxBurn, events.MaxBurnSet),
    sudo_set_difficulty: setter(24, "difficulty", u64, items.Difficulty, events.DifficultySet, "root"),
    sudo_set_max_allowed_validators: setter(
      25,
      "maxAllowedValidators",
      u16,
      items.MaxAllowedValidators,
      events.MaxAllowedValidatorsSet,
      "root",
    ),
    sudo_set_max_registrations_per_block: setter(
      27,
      "maxRegistrationsPerBlock",
      u16,
      items.MaxRegistrationsPerBlock,
      events.MaxRegistrationsPerBlockSet,
      "root",
    ),
    sudo_set_tempo: setter(30, "tempo", u16, items.Tempo, events.TempoSet, "root"),
    sudo_set_stake_threshold: call(42, { minStake: u64 }, (ledger, origin, { minStake }) => {
      ensureRoot(origin);
      ledger.set(items.StakeThreshold, [], minStake);
      ledger.deposit(events.StakeThresholdSet, [minStake]);
    }),
    sudo_set_commit_reveal_weights_enabled: setter(49, "enabled", bool, items.CommitRevealWeightsEnabled, events.CommitRevealEnabled),
    sudo_set_commit_reveal_weights_interval: call(57, { netuid, interval: u64 }, (ledger, origin, { netuid: subnet, interval }) => {
      ensureMay(ledger, origin, subnet, "owner");
      ensure(interval <= longestRevealPeriod, subtensorErrors.RevealPeriodTooLarge);
      ensure(interval >= 1n, subtensorErrors.RevealPeriodTooSmall);
      ledger.set(items.RevealPeriodEpochs, [subnet], interval);
      ledger.deposit(events.CommitRevealPeriodsSet, [subnet, interval]);
    }),
    sudo_set_commit_reveal_version: call(71, { version: u16 }, (ledger, origin, { version }) => {
      ensureRoot(origin);
      ledger.set(items.CommitRevealWeightsVersion, [], version);
      ledger.deposit(events.CommitRevealVersionSet, [version]);
    }),
    sudo_set_subtoken_enabled: setter(66, "subtokenEnabled", bool, items.SubtokenEnabled, undefined, "root"),
    sudo_set_sn_owner_hotkey: setter(67, "hotkey", accountId, items.SubnetOwnerHotkey, events.SubnetOwnerHotkeySet),
  },
};
