/**
 * Blocks: headers in Substrate's encoding, so that their blake2b-256 is what any client computes. The two roots are digests
 * of the changes and of the body, not trie roots: the localnet answers no proofs.
 */

import { u8aConcat } from "@polkadot/util";
import type { Hex, Tagged } from "./metadata/scale.ts";
import { bytes, compact, u32, u64 } from "./metadata/scale.ts";
import { digest } from "./metadata/types.ts";
import type { Codec } from "./runtime/codec.ts";
import { blake2Hex } from "./runtime/hashing.ts";
import type { Changes } from "./runtime/ledger.ts";
import { fromHex, toHex } from "./runtime/scale-bytes.ts";

export interface Header {
  readonly parentHash: Hex;
  readonly number: number;
  readonly stateRoot: Hex;
  readonly extrinsicsRoot: Hex;
  /** Encoded digest items. */
  readonly logs: readonly Hex[];
}

export interface Block {
  readonly hash: Hex;
  readonly header: Header;
  /** Encoded extrinsics, each with its length prefix. */
  readonly extrinsics: readonly Hex[];
}

export function encodeHeader(codec: Codec, header: Header): Uint8Array {
  return u8aConcat(
    fromHex(header.parentHash),
    codec.encode(compact(u32), header.number),
    fromHex(header.stateRoot),
    fromHex(header.extrinsicsRoot),
    codec.encode(compact(u32), header.logs.length),
    ...header.logs.map((log) => fromHex(log)),
  );
}

export const headerHash = (codec: Codec, header: Header): Hex => blake2Hex(encodeHeader(codec, header));

/** A digest over the parent's state root and what the block changed, in key order. */
export function stateRootAfter(codec: Codec, parentRoot: Hex, changes: Changes): Hex {
  const sorted = [...changes].sort(([a], [b]) => (a < b ? -1 : 1));
  const parts = sorted.map(([key, value]) => u8aConcat(codec.encode(bytes, key), codec.encode(bytes, value ?? "0x")));
  return blake2Hex(u8aConcat(fromHex(parentRoot), ...parts));
}

export const extrinsicsRootOf = (codec: Codec, extrinsics: readonly Hex[]): Hex =>
  blake2Hex(u8aConcat(codec.encode(compact(u32), extrinsics.length), ...extrinsics.map((extrinsic) => fromHex(extrinsic))));

function logOf(codec: Codec, item: Tagged): Hex {
  // A digest of one item is its count (1, compact: 0x04) and the item.
  return `0x${toHex(codec.encode(digest, { logs: [item] })).slice(4)}`;
}

/** The pre-runtime digest item of Aura, which names the slot. */
export function slotLog(codec: Codec, slot: bigint): Hex {
  const aura = toHex(new TextEncoder().encode("aura"));
  return logOf(codec, { type: "PreRuntime", value: [aura, toHex(codec.encode(u64, slot))] });
}

/** A digest item that means nothing, and tells blocks apart that are alike otherwise. */
export const noteLog = (codec: Codec, note: Hex): Hex => logOf(codec, { type: "Other", value: note });

/** The header as JSON-RPC gives it. */
export function headerJson(header: Header) {
  const { parentHash, number, stateRoot, extrinsicsRoot, logs } = header;
  return { parentHash, number: `0x${number.toString(16)}`, stateRoot, extrinsicsRoot, digest: { logs } };
}
