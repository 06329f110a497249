/** system_* and payment_*: who the node is, an account's next nonce, and what a call costs. */

import { u8aToHex } from "@polkadot/util";
import { decodeAddress } from "@polkadot/util-crypto";
import type { Localchain } from "../chain.ts";
import { type Hex, u32 } from "../metadata/scale.ts";
import { systemStorage } from "../runtime/system.ts";
import type { Methods } from "./connection.ts";
import { hexParameter, refuse } from "./parameters.ts";
import { callRuntimeApi } from "./state.ts";

function accountParameter(value: unknown): Hex {
  try {
    return u8aToHex(decodeAddress(String(value)));
  } catch {
    return refuse("the account is not an SS58 address");
  }
}

export function systemMethods(chain: Localchain): Methods {
  const nextIndex: Methods[string] = ([value]) => {
    const account = accountParameter(value);
    return chain.pool.nextNonce(account, chain.ledgerAt(chain.best()).get(systemStorage.Account, account).nonce);
  };
  return {
    system_chain: () => "Connito Localnet",
    system_name: () => "Connito localnet",
    system_version: () => "0.1.0",
    system_chainType: () => "Local",
    system_properties: () => ({ isEthereum: false, ss58Format: 42, tokenDecimals: 9, tokenSymbol: "TAO" }),
    system_health: () => ({ peers: 0, isSyncing: false, shouldHavePeers: false }),
    system_peers: () => [],
    system_nodeRoles: () => ["Authority"],
    system_localPeerId: () => "12D3KooWConnitoLocalnet",
    system_localListenAddresses: () => [],
    system_syncState: () => {
      const { number } = chain.best().header;
      return { startingBlock: 0, currentBlock: number, highestBlock: number };
    },
    system_accountNextIndex: nextIndex,
    account_nextIndex: nextIndex,
  };
}

interface FeeInfo {
  readonly weight: { readonly refTime: bigint; readonly proofSize: bigint };
  readonly class: { readonly type: string };
  readonly partialFee: bigint;
}

export function paymentMethods(chain: Localchain): Methods {
  const { codec } = chain.runtime.metadata;
  const ask = (name: string, extrinsic: unknown, at: unknown): Hex => {
    const bytes = hexParameter(extrinsic, "extrinsic", 5 << 20);
    const length = codec.encode(u32, (bytes.length - 2) / 2);
    return callRuntimeApi(chain, `TransactionPaymentApi_${name}`, `${bytes}${u8aToHex(length).slice(2)}` as Hex, at);
  };
  const outputOf = (name: string) => chain.runtime.apis.TransactionPaymentApi?.methods[name]?.output as never;
  return {
    payment_queryInfo: ([extrinsic, at]) => {
      const info = codec.decode(outputOf("query_info"), ask("query_info", extrinsic, at)) as FeeInfo;
      return { weight: { ref_time: 0, proof_size: 0 }, class: info.class.type.toLowerCase(), partialFee: info.partialFee.toString() };
    },
    payment_queryFeeDetails: ([extrinsic, at]) => {
      const details = codec.decode(outputOf("query_fee_details"), ask("query_fee_details", extrinsic, at)) as {
        inclusionFee?: { baseFee: bigint };
      };
      const hex = (value: bigint): string => `0x${value.toString(16)}`;
      const fee = details.inclusionFee;
      return { inclusionFee: fee === undefined ? null : { baseFee: hex(fee.baseFee), lenFee: "0x0", adjustedWeightFee: "0x0" } };
    },
  };
}
