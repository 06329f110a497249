/** Stake: rao becomes alpha one to one (there is no pool to price it), held in shares worth one alpha each. */

import { call } from "../../metadata/pallet.ts";
import { type Hex, u64 } from "../../metadata/scale.ts";
import { accountId, netuid } from "../../metadata/types.ts";
import { burn, issue } from "../balances.ts";
import { ensure, type Ledger } from "../ledger.ts";
import { ensureSigned } from "../system.ts";
import { subtensorErrors as errors, subtensorEvents as events } from "./outcomes.ts";
import { subtensorStorage as items } from "./storage.ts";

/** Rao below which staking is refused. */
const minimumStake = 500_000n;

/** Adds (or with a negative amount takes) alpha of a coldkey on a hotkey; the rao is the caller's business. */
export function changeStake(ledger: Ledger, hotkey: Hex, coldkey: Hex, subnet: number, amount: bigint): void {
  const add = (bits: bigint): { bits: bigint } => ({ bits: bits + (amount << 64n) });
  ledger.set(items.TotalHotkeyAlpha, [hotkey, subnet], ledger.get(items.TotalHotkeyAlpha, hotkey, subnet) + amount);
  ledger.set(items.TotalHotkeyShares, [hotkey, subnet], add(ledger.get(items.TotalHotkeyShares, hotkey, subnet).bits));
  ledger.set(items.Alpha, [hotkey, coldkey, subnet], add(ledger.get(items.Alpha, hotkey, coldkey, subnet).bits));
  ledger.set(items.TotalStake, [], ledger.get(items.TotalStake) + amount);
  ledger.set(items.SubnetTAO, [subnet], ledger.get(items.SubnetTAO, subnet) + amount);
  ledger.set(items.SubnetAlphaOut, [subnet], ledger.get(items.SubnetAlphaOut, subnet) + amount);
  const staking = ledger.get(items.StakingHotkeys, coldkey);
  if (!staking.includes(hotkey)) {
    ledger.set(items.StakingHotkeys, [coldkey], [...staking, hotkey]);
  }
}

export const alphaOf = (ledger: Ledger, hotkey: Hex, coldkey: Hex, subnet: number): bigint =>
  ledger.get(items.Alpha, hotkey, coldkey, subnet).bits >> 64n;

function ensureStakeable(ledger: Ledger, hotkey: Hex, subnet: number): void {
  ensure(ledger.get(items.NetworksAdded, subnet), errors.SubnetNotExists);
  ensure(ledger.get(items.SubtokenEnabled, subnet), errors.SubtokenDisabled);
  ensure(ledger.has(items.Owner, hotkey), errors.HotKeyAccountNotExists);
}

export const stakeCalls = {
  add_stake: call(
    2,
    { hotkey: accountId, netuid, amountStaked: u64 },
    (ledger, origin, { hotkey, netuid: subnet, amountStaked }) => {
      const coldkey = ensureSigned(origin);
      ensureStakeable(ledger, hotkey, subnet);
      ensure(amountStaked >= minimumStake, errors.AmountTooLow);
      ensure(burn(ledger, coldkey, amountStaked), errors.NotEnoughBalanceToStake);
      changeStake(ledger, hotkey, coldkey, subnet, amountStaked);
      ledger.deposit(events.StakeAdded, [coldkey, hotkey, amountStaked, amountStaked, subnet, 0n]);
    },
    { paysFee: true },
  ),
  remove_stake: call(
    3,
    { hotkey: accountId, netuid, amountUnstaked: u64 },
    (ledger, origin, { hotkey, netuid: subnet, amountUnstaked }) => {
      const coldkey = ensureSigned(origin);
      ensureStakeable(ledger, hotkey, subnet);
      ensure(amountUnstaked >= minimumStake, errors.AmountTooLow);
      ensure(alphaOf(ledger, hotkey, coldkey, subnet) >= amountUnstaked, errors.NotEnoughStakeToWithdraw);
      changeStake(ledger, hotkey, coldkey, subnet, -amountUnstaked);
      issue(ledger, coldkey, amountUnstaked);
      ledger.deposit(events.StakeRemoved, [coldkey, hotkey, amountUnstaked, amountUnstaked, subnet, 0n]);
    },
    { paysFee: true },
  ),
};
