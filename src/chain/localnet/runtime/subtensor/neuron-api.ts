/** NeuronInfoRuntimeApi: everything the chain knows of a neuron in one answer, stake included. */

import { method } from "../../metadata/pallet.ts";
import { bool, compact, type Hex, option, struct, tuple, u16, u64, vec } from "../../metadata/scale.ts";
import { accountId, axonInfo, netuid, prometheusInfo } from "../../metadata/types.ts";
import type { Ledger } from "../ledger.ts";
import { stakeOf } from "./epoch.ts";
import { subtensorStorage as items } from "./storage.ts";

const head = {
  hotkey: accountId,
  coldkey: accountId,
  uid: compact(u16),
  netuid: compact(netuid),
  active: bool,
  axonInfo,
  prometheusInfo,
  stake: vec(tuple(accountId, compact(u64))),
  rank: compact(u16),
  emission: compact(u64),
  incentive: compact(u16),
  consensus: compact(u16),
  trust: compact(u16),
  validatorTrust: compact(u16),
  dividends: compact(u16),
  lastUpdate: compact(u64),
  validatorPermit: bool,
};

const weightList = vec(tuple(compact(u16), compact(u16)));

const neuronInfoLite = struct("pallet_subtensor::rpc_info::neuron_info::NeuronInfoLite", { ...head, pruningScore: compact(u16) });
const neuronInfo = struct("pallet_subtensor::rpc_info::neuron_info::NeuronInfo", {
  ...head,
  weights: weightList,
  bonds: weightList,
  pruningScore: compact(u16),
});

export const noAxon = { block: 0n, version: 0, ip: 0n, port: 0, ipType: 0, protocol: 0, placeholder1: 0, placeholder2: 0 };
const noPrometheus = { block: 0n, version: 0, ip: 0n, port: 0, ipType: 0 };

/** The lists of a subnet are read once for all of its neurons. */
function reader(ledger: Ledger, subnet: number) {
  const list = <T>(name: keyof typeof items): readonly T[] => ledger.get(items[name] as never, subnet as never) as readonly T[];
  const numbers = {
    rank: "Rank",
    incentive: "Incentive",
    consensus: "Consensus",
    trust: "Trust",
    validatorTrust: "ValidatorTrust",
    dividends: "Dividends",
    pruningScore: "PruningScores",
  } as const;
  const lists = Object.fromEntries(Object.entries(numbers).map(([field, name]) => [field, list<number>(name)]));
  const active = list<boolean>("Active");
  const permits = list<boolean>("ValidatorPermit");
  const updates = list<bigint>("LastUpdate");
  const emission = list<bigint>("Emission");
  const number = (field: keyof typeof numbers, uid: number): number => lists[field]?.[uid] ?? 0;
  return (uid: number) => {
    const hotkey: Hex = ledger.get(items.Keys, subnet, uid);
    const coldkey: Hex = ledger.get(items.Owner, hotkey);
    return {
      hotkey,
      coldkey,
      uid,
      netuid: subnet,
      active: active[uid] ?? false,
      axonInfo: ledger.get(items.Axons, subnet, hotkey) ?? noAxon,
      prometheusInfo: ledger.get(items.Prometheus, subnet, hotkey) ?? noPrometheus,
      stake: [[coldkey, stakeOf(ledger, hotkey, subnet)] as const],
      rank: number("rank", uid),
      emission: emission[uid] ?? 0n,
      incentive: number("incentive", uid),
      consensus: number("consensus", uid),
      trust: number("trust", uid),
      validatorTrust: number("validatorTrust", uid),
      dividends: number("dividends", uid),
      lastUpdate: updates[uid] ?? 0n,
      validatorPermit: permits[uid] ?? false,
      pruningScore: number("pruningScore", uid),
    };
  };
}

const uidsOf = (ledger: Ledger, subnet: number): number[] => Array.from({ length: ledger.get(items.SubnetworkN, subnet) }, (_, uid) => uid);

function lite(ledger: Ledger, subnet: number) {
  return uidsOf(ledger, subnet).map(reader(ledger, subnet));
}

function full(ledger: Ledger, subnet: number) {
  return lite(ledger, subnet).map((neuron) => ({
    ...neuron,
    weights: ledger.get(items.Weights, subnet, neuron.uid),
    bonds: ledger.get(items.Bonds, subnet, neuron.uid),
  }));
}

export const neuronApi = {
  get_neurons: method({ netuid }, vec(neuronInfo), (ledger, args) => full(ledger, args.netuid)),
  get_neuron: method({ netuid, uid: u16 }, option(neuronInfo), (ledger, args) => full(ledger, args.netuid)[args.uid]),
  get_neurons_lite: method({ netuid }, vec(neuronInfoLite), (ledger, args) => lite(ledger, args.netuid)),
  get_neuron_lite: method({ netuid, uid: u16 }, option(neuronInfoLite), (ledger, args) => lite(ledger, args.netuid)[args.uid]),
};
