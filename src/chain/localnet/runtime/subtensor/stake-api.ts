/** StakeInfoRuntimeApi: what a coldkey has staked where. */

import { method } from "../../metadata/pallet.ts";
import { bool, compact, type Hex, option, struct, tuple, u64, vec } from "../../metadata/scale.ts";
import { accountId, netuid } from "../../metadata/types.ts";
import type { Ledger } from "../ledger.ts";
import { subnetsOf } from "./epoch.ts";
import { alphaOf } from "./stake.ts";
import { subtensorStorage as items } from "./storage.ts";

const stakeInfo = struct("pallet_subtensor::rpc_info::stake_info::StakeInfo", {
  hotkey: accountId,
  coldkey: accountId,
  netuid: compact(netuid),
  stake: compact(u64),
  locked: compact(u64),
  emission: compact(u64),
  taoEmission: compact(u64),
  drain: compact(u64),
  isRegistered: bool,
});

function stakeAt(ledger: Ledger, hotkey: Hex, coldkey: Hex, subnet: number) {
  return {
    hotkey,
    coldkey,
    netuid: subnet,
    stake: alphaOf(ledger, hotkey, coldkey, subnet),
    locked: 0n,
    emission: 0n,
    taoEmission: 0n,
    drain: 0n,
    isRegistered: ledger.has(items.Uids, subnet, hotkey),
  };
}

function stakesOf(ledger: Ledger, coldkey: Hex) {
  const subnets = subnetsOf(ledger);
  return ledger
    .get(items.StakingHotkeys, coldkey)
    .flatMap((hotkey) => subnets.map((subnet) => stakeAt(ledger, hotkey, coldkey, subnet)))
    .filter(({ stake }) => stake > 0n);
}

export const stakeApi = {
  get_stake_info_for_coldkey: method({ coldkeyAccount: accountId }, vec(stakeInfo), (ledger, { coldkeyAccount }) =>
    stakesOf(ledger, coldkeyAccount),
  ),
  get_stake_info_for_coldkeys: method(
    { coldkeyAccounts: vec(accountId) },
    vec(tuple(accountId, vec(stakeInfo))),
    (ledger, { coldkeyAccounts }) => coldkeyAccounts.map((coldkey) => [coldkey, stakesOf(ledger, coldkey)] as const),
  ),
  get_stake_info_for_hotkey_coldkey_netuid: method(
    { hotkeyAccount: accountId, coldkeyAccount: accountId, netuid },
    option(stakeInfo),
    (ledger, args) => stakeAt(ledger, args.hotkeyAccount, args.coldkeyAccount, args.netuid),
  ),
};
