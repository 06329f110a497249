/** Timestamp and Aura: the block's time in milliseconds, set by an inherent, and the slot length that clients read. */

import { single, storage } from "../metadata/declarations.ts";
import { call, type PalletDefinition } from "../metadata/pallet.ts";
import { bool, boundedVec, byteArray, compact, newtype, u64 } from "../metadata/scale.ts";
import { DispatchError } from "./ledger.ts";

export const timestampStorage = storage("Timestamp", { Now: single(u64, 0n), DidUpdate: single(bool, false) });

export const timestamp = (blockTime: number): PalletDefinition => ({
  name: "Timestamp",
  index: 2,
  storage: timestampStorage,
  calls: {
    set: call(0, { now: compact(u64) }, (ledger, origin, { now }) => {
      if (origin.kind !== "none") {
        throw new DispatchError({ type: "BadOrigin" });
      }
      ledger.set(timestampStorage.Now, [], now);
    }),
  },
  constants: { MinimumPeriod: { type: u64, value: BigInt(Math.ceil(blockTime / 2)) } },
});

const authority = newtype("sp_consensus_aura::sr25519::app_sr25519::Public", byteArray(32));
const slot = newtype("sp_consensus_slots::Slot", u64);

export const auraStorage = storage("Aura", { Authorities: single(boundedVec(authority), []), CurrentSlot: single(slot, 0n) });

export const aura = (blockTime: number): PalletDefinition => ({
  name: "Aura",
  index: 3,
  storage: auraStorage,
  constants: { SlotDuration: { type: u64, value: BigInt(blockTime) } },
});
