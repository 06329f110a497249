/** System: accounts with their nonces, block facts, events, and what becomes of each extrinsic. */

import { event, events, map, optionalSingle, single, storage } from "../metadata/declarations.ts";
import { call, type Origin, type PalletDefinition } from "../metadata/pallet.ts";
import { bytes, compact, cow, type Hex, struct, text, u16, u32, u64, vec } from "../metadata/scale.ts";
import {
  accountId,
  accountInfo,
  digest,
  dispatchError,
  dispatchEventInfo,
  eventRecord,
  hash,
  phase,
  runtimeVersion,
} from "../metadata/types.ts";
import { blake2Hex } from "./hashing.ts";
import { DispatchError, type Ledger } from "./ledger.ts";
import { version } from "./version.ts";

export const zeroHash: Hex = `0x${"00".repeat(32)}`;

const noAccount = { nonce: 0, consumers: 0, providers: 0, sufficients: 0, data: { free: 0n, reserved: 0n, frozen: 0n, flags: 1n << 127n } };

export const systemStorage = storage("System", {
  Account: map([["Blake2_128Concat", accountId]], accountInfo, noAccount),
  ExtrinsicCount: optionalSingle(u32),
  BlockHash: map([["Twox64Concat", u32]], hash, zeroHash),
  Number: single(u32, 0),
  ParentHash: single(hash, zeroHash),
  Digest: single(digest, { logs: [] }),
  Events: single(vec(eventRecord), []),
  EventCount: single(u32, 0),
  LastRuntimeUpgrade: optionalSingle(struct("frame_system::LastRuntimeUpgradeInfo", { specVersion: compact(u32), specName: cow(text) })),
  ExecutionPhase: optionalSingle(phase),
});

export const systemEvents = events("System", {
  ExtrinsicSuccess: event(0, { dispatchInfo: dispatchEventInfo }),
  ExtrinsicFailed: event(1, { dispatchError, dispatchInfo: dispatchEventInfo }),
  NewAccount: event(3, { account: accountId }),
  Remarked: event(5, { sender: accountId, hash }),
});

/** The account behind a signed origin. @throws DispatchError BadOrigin */
export function ensureSigned(origin: Origin): Hex {
  if (origin.kind !== "signed") {
    throw new DispatchError({ type: "BadOrigin" });
  }
  return origin.account;
}

export function ensureRoot(origin: Origin): void {
  if (origin.kind !== "root") {
    throw new DispatchError({ type: "BadOrigin" });
  }
}

/** Counts a transaction of the account, which need not exist: a hotkey without a balance may send free calls. */
export function incrementNonce(ledger: Ledger, account: Hex): void {
  const before = ledger.get(systemStorage.Account, account);
  ledger.set(systemStorage.Account, [account], { ...before, nonce: before.nonce + 1 });
}

/** Sets a balance, with which the account exists from then on. */
export function setFree(ledger: Ledger, account: Hex, free: bigint): void {
  const before = ledger.get(systemStorage.Account, account);
  ledger.set(systemStorage.Account, [account], { ...before, providers: 1, data: { ...before.data, free } });
  if (before.providers === 0) {
    ledger.deposit(systemEvents.NewAccount, { account });
  }
}

export const blockHashCount = 2400;

export const system: PalletDefinition = {
  name: "System",
  index: 0,
  storage: systemStorage,
  events: systemEvents,
  calls: {
    remark: call(0, { remark: bytes }, (_, origin) => void ensureSigned(origin), { paysFee: true }),
    remark_with_event: call(
      7,
      { remark: bytes },
      (ledger, origin, { remark }) => ledger.deposit(systemEvents.Remarked, { sender: ensureSigned(origin), hash: blake2Hex(remark) }),
      { paysFee: true },
    ),
  },
  constants: {
    BlockHashCount: { type: u32, value: blockHashCount },
    Version: { type: runtimeVersion, value: version },
    SS58Prefix: { type: u16, value: 42 },
    DbWeight: { type: struct("sp_weights::RuntimeDbWeight", { read: u64, write: u64 }), value: { read: 25_000_000n, write: 100_000_000n } },
  },
};
