/**
 * Hashes and the byte strings that are hashed (docs/protocol.md, section 1). Every hash of the protocol except plain content hashes
 * goes through `fields`, where each part is preceded by its length and the first part names the purpose: no two different lists of
 * fields, and no two purposes, ever give the same bytes.
 */
import { hash } from "node:crypto";
import { ConnitoError } from "../errors.ts";

/** A SHA-256 hash as text: 64 lower-case hexadecimal digits. */
export type Hash = string;

export const hashBytes = 32;

const hashPattern = /^[0-9a-f]{64}$/;

export function isHash(value: unknown): value is Hash {
  return typeof value === "string" && hashPattern.test(value);
}

export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts;
  const joined = parts.length === 1 && only !== undefined ? only : Buffer.concat(parts);
  // In one call: trees of hundreds of thousands of leaves are hashed a few hundred bytes at a time.
  return new Uint8Array(hash("sha256", joined, "buffer"));
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

/** Bytes of lower- or upper-case hexadecimal text without prefix. Throws `hex-invalid`. */
export function fromHex(text: string): Uint8Array {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) {
    throw new ConnitoError(`Not hexadecimal text: ${JSON.stringify(text.slice(0, 80))}`, {
      code: "hex-invalid",
      exit: "invalidInput",
      hint: "Give an even number of digits 0-9 and a-f, without the prefix 0x.",
    });
  }
  return new Uint8Array(Buffer.from(text, "hex"));
}

/** The 32 bytes of a hash. Throws `hash-invalid` for anything but 64 lower-case hexadecimal digits. */
export function hashToBytes(hash: Hash): Uint8Array {
  if (!isHash(hash)) {
    throw new ConnitoError(`Not a hash: ${JSON.stringify(String(hash).slice(0, 80))}`, {
      code: "hash-invalid",
      exit: "invalidInput",
      hint: "A hash is 64 lower-case hexadecimal digits.",
    });
  }
  return fromHex(hash);
}

/** A block hash as the chain's clients print it (with or without 0x, any case) as the protocol's 64 lower-case digits. */
export function blockHashOf(text: string): Hash {
  const hash = text.replace(/^0x/, "").toLowerCase();
  hashToBytes(hash);
  return hash;
}

function unsigned(value: number | bigint, bytes: 2 | 4 | 8): Uint8Array {
  const integer = typeof value === "bigint" || Number.isSafeInteger(value) ? BigInt(value) : undefined;
  if (integer === undefined || integer < 0n || integer >= 1n << BigInt(8 * bytes)) {
    throw new ConnitoError(`${value} is not an unsigned integer of ${8 * bytes} bits`, {
      code: "integer-out-of-range",
      exit: "invalidInput",
      hint: `Use a whole number from 0 to ${(1n << BigInt(8 * bytes)) - 1n}.`,
    });
  }
  const buffer = new Uint8Array(8);
  new DataView(buffer.buffer).setBigUint64(0, integer, true);
  return buffer.subarray(0, bytes);
}

/** Two bytes, little-endian. Throws `integer-out-of-range`, as do `u32` and `u64`. */
export function u16(value: number): Uint8Array {
  return unsigned(value, 2);
}

export function u32(value: number): Uint8Array {
  return unsigned(value, 4);
}

export function u64(value: number | bigint): Uint8Array {
  return unsigned(value, 8);
}

const encoder = new TextEncoder();

export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** The domain and each part, every one preceded by its length as u32 little-endian. */
export function fields(domain: string, ...parts: readonly Uint8Array[]): Uint8Array {
  const all = [utf8(domain), ...parts];
  const result = new Uint8Array(all.reduce((sum, part) => sum + 4 + part.length, 0));
  let offset = 0;
  for (const part of all) {
    result.set(u32(part.length), offset);
    result.set(part, offset + 4);
    offset += 4 + part.length;
  }
  return result;
}

/** `H(domain, parts)` of the protocol. */
export function hashFields(domain: string, ...parts: readonly Uint8Array[]): Hash {
  return toHex(sha256(fields(domain, ...parts)));
}
