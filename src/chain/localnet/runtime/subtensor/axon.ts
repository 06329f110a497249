/** Where a neuron says it can be reached. */

import { call } from "../../metadata/pallet.ts";
import { type Hex, u8, u16, u32, u128 } from "../../metadata/scale.ts";
import { netuid } from "../../metadata/types.ts";
import { DispatchError, ensure, type Ledger } from "../ledger.ts";
import { ensureSigned } from "../system.ts";
import { customErrors, subtensorErrors as errors, subtensorEvents as events } from "./outcomes.ts";
import { subtensorStorage as items } from "./storage.ts";

interface Serving {
  readonly netuid: number;
  readonly ip: bigint;
  readonly port: number;
  readonly ipType: number;
}

const loopback4 = 0x7f000001n;
const largest4 = 0xffffffffn;
const largest6 = (1n << 128n) - 1n;

/** Zero is let through: the chain allows it for tests. */
export function isServableAddress(ipType: number, ip: bigint): boolean {
  return ipType === 4 ? ip < largest4 && ip !== loopback4 : ip !== largest6 && ip !== 1n;
}

function ensureServable(ledger: Ledger, hotkey: Hex, { netuid: subnet, ip, port, ipType }: Serving): void {
  ensure(ledger.has(items.Uids, subnet, hotkey), errors.HotKeyNotRegisteredInNetwork);
  ensure(ipType === 4 || ipType === 6, errors.InvalidIpType);
  ensure(isServableAddress(ipType, ip), errors.InvalidIpAddress);
  const last = ledger.get(items.Axons, subnet, hotkey)?.block ?? 0n;
  const limit = ledger.get(items.ServingRateLimit, subnet);
  ensure(limit === 0n || last === 0n || BigInt(ledger.block) - last >= limit, errors.ServingRateLimitExceeded);
  ensure(port !== 0, errors.InvalidPort);
}

const customErrorOf: Readonly<Record<string, number>> = {
  HotKeyNotRegisteredInNetwork: customErrors.hotkeyNotRegisteredInNetwork,
  InvalidIpAddress: customErrors.invalidIpAddress,
  ServingRateLimitExceeded: customErrors.servingRateLimitExceeded,
  InvalidPort: customErrors.invalidPort,
};

export const axonCalls = {
  serve_axon: call(
    4,
    { netuid, version: u32, ip: u128, port: u16, ipType: u8, protocol: u8, placeholder1: u8, placeholder2: u8 },
    (ledger, origin, { netuid: subnet, ...axon }) => {
      const hotkey = ensureSigned(origin);
      ensure(ledger.get(items.NetworksAdded, subnet), errors.SubnetNotExists);
      ensureServable(ledger, hotkey, { netuid: subnet, ...axon });
      ledger.set(items.Axons, [subnet, hotkey], { block: BigInt(ledger.block), ...axon });
      ledger.deposit(events.AxonServed, [subnet, hotkey]);
    },
    {
      validate: (ledger, origin, args) => {
        try {
          ensureServable(ledger, ensureSigned(origin), args);
          return undefined;
        } catch (error) {
          if (!(error instanceof DispatchError)) {
            throw error;
          }
          const { reason } = error;
          return "name" in reason ? (customErrorOf[reason.name] ?? customErrors.badRequest) : customErrors.badRequest;
        }
      },
    },
  ),
};
