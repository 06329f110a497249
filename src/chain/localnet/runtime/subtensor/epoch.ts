/**
 * Epochs of a subnet, by mainnet's arithmetic, and what one does here: validator permits are given anew to the
 * `MaxAllowedValidators` neurons with most stake, of those with at least StakeThreshold and more than none. Nothing is
 * emitted and no consensus is computed: ranks, incentives and dividends stay zero.
 */

import type { Hex } from "../../metadata/scale.ts";
import type { Ledger } from "../ledger.ts";
import { subtensorStorage as items } from "./storage.ts";

export function epochIndex(ledger: Ledger, netuid: number, block: number): number {
  return Math.floor((block + netuid + 1) / (ledger.get(items.Tempo, netuid) + 1));
}

/** Blocks until the epoch runs; infinite for tempo 0, which never does. */
export function blocksUntilEpoch(netuid: number, tempo: number, block: number): number {
  return tempo === 0 ? Number.POSITIVE_INFINITY : tempo - ((block + netuid + 1) % (tempo + 1));
}

/** Alpha on a hotkey in a subnet, by all its coldkeys. */
export const stakeOf = (ledger: Ledger, hotkey: Hex, netuid: number): bigint => ledger.get(items.TotalHotkeyAlpha, hotkey, netuid);

export function hotkeysOf(ledger: Ledger, netuid: number): Hex[] {
  return Array.from({ length: ledger.get(items.SubnetworkN, netuid) }, (_, uid) => ledger.get(items.Keys, netuid, uid));
}

/** Who has a permit, by uid. Of equal stakes the higher uid wins, as in the chain's sort. */
export function permitsByStake(stakes: readonly bigint[], places: number, threshold: bigint): boolean[] {
  const chosen = stakes
    .map((stake, uid) => ({ stake, uid }))
    .filter(({ stake }) => stake > 0n && stake >= threshold)
    .sort((a, b) => (a.stake === b.stake ? b.uid - a.uid : a.stake < b.stake ? 1 : -1))
    .slice(0, places);
  const permits = stakes.map(() => false);
  for (const { uid } of chosen) {
    permits[uid] = true;
  }
  return permits;
}

export function recomputePermits(ledger: Ledger, netuid: number): void {
  const stakes = hotkeysOf(ledger, netuid).map((hotkey) => stakeOf(ledger, hotkey, netuid));
  const permits = permitsByStake(stakes, ledger.get(items.MaxAllowedValidators, netuid), ledger.get(items.StakeThreshold));
  ledger.set(items.ValidatorPermit, [netuid], permits);
}

/** Time-locked commits whose reveal period has passed go. */
function dropExpiredTimelocked(ledger: Ledger, subnet: number): void {
  const oldest = BigInt(epochIndex(ledger, subnet, ledger.block)) - ledger.get(items.RevealPeriodEpochs, subnet);
  for (const [[epoch]] of ledger.entries(items.TimelockedWeightCommits, subnet)) {
    if ((epoch as bigint) < oldest) {
      ledger.remove(items.TimelockedWeightCommits, subnet, epoch as bigint);
    }
  }
}

export function subnetsOf(ledger: Ledger): number[] {
  return ledger.entries(items.NetworksAdded).flatMap(([[netuid], added]) => (added ? [netuid as number] : []));
}

/** What happens in every block before its extrinsics. */
export function onInitialize(ledger: Ledger): void {
  for (const netuid of subnetsOf(ledger)) {
    if (ledger.get(items.RegistrationsThisBlock, netuid) !== 0) {
      ledger.set(items.RegistrationsThisBlock, [netuid], 0);
    }
    const interval = ledger.get(items.AdjustmentInterval, netuid);
    if (ledger.block - Number(ledger.get(items.LastAdjustmentBlock, netuid)) >= interval) {
      ledger.set(items.LastAdjustmentBlock, [netuid], BigInt(ledger.block));
      ledger.set(items.RegistrationsThisInterval, [netuid], 0);
      ledger.set(items.BurnRegistrationsThisInterval, [netuid], 0);
      ledger.set(items.POWRegistrationsThisInterval, [netuid], 0);
    }
    if (blocksUntilEpoch(netuid, ledger.get(items.Tempo, netuid), ledger.block) === 0) {
      recomputePermits(ledger, netuid);
      dropExpiredTimelocked(ledger, netuid);
      ledger.set(items.BlocksSinceLastStep, [netuid], 0n);
      ledger.set(items.LastMechansimStepBlock, [netuid], BigInt(ledger.block));
    } else {
      ledger.set(items.BlocksSinceLastStep, [netuid], ledger.get(items.BlocksSinceLastStep, netuid) + 1n);
    }
  }
}
