/** Extrinsics: decoded, and their signatures checked over what Subtensor's signed extensions say is signed. */

import type { GenericExtrinsic, TypeRegistry } from "@polkadot/types";
import { hexToU8a, u8aConcat, u8aToHex } from "@polkadot/util";
import { blake2AsU8a, ed25519Verify } from "@polkadot/util-crypto";
import { sr25519Verify } from "../../packages/crypto.ts";
import type { Hex, NestedCall, Tagged } from "../metadata/scale.ts";
import { blake2Hex } from "./hashing.ts";
import { nestedCall, plain } from "./plain.ts";
import { version } from "./version.ts";

export interface Signed {
  readonly account: Hex;
  readonly nonce: number;
  readonly tip: bigint;
  /** Undefined for an immortal one; else the era's period and phase, in blocks. */
  readonly era: { readonly period: number; readonly phase: number } | undefined;
  /** @param birthHash hash of the block that the era begins with, or the genesis for an immortal one */
  isSignatureValid(genesisHash: Hex, birthHash: Hex): boolean;
}

export interface Extrinsic {
  readonly bytes: Hex;
  /** blake2b-256 of the bytes with their length prefix: what clients know it by. */
  readonly hash: Hex;
  /** Encoded length in bytes. */
  readonly length: number;
  readonly call: NestedCall;
  readonly signed: Signed | undefined;
}

/** The largest that is looked at; Subtensor's blocks take no more than 5 MiB of these. */
export const maximumExtrinsicBytes = 3_932_160;

/** What is signed of a long payload is its hash. */
const longestUnhashedPayload = 256;

/** Signatures that are none, and keys that are no points, make the libraries throw: they are wrong ones like any other. */
function verify(kind: string, signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean {
  try {
    switch (kind) {
      case "Sr25519":
        // schnorrkel in WebAssembly: an eighth of the time that util-crypto's takes, in which 256 neurons' commitments are judged in a burst.
        return sr25519Verify(signature, message, publicKey);
      case "Ed25519":
        return ed25519Verify(message, signature, publicKey);
      default:
        return false;
    }
  } catch {
    return false;
  }
}

/** What polkadot.js' types do not say of a signed extrinsic. */
interface SignedExtrinsic extends GenericExtrinsic {
  readonly inner: GenericExtrinsic["inner"] & {
    readonly signature: { readonly multiSignature: { readonly type: string; readonly value: { toU8a(): Uint8Array } } };
  };
}

function signedPart(registry: TypeRegistry, extrinsic: SignedExtrinsic): Signed {
  const signer = plain(extrinsic.signer) as Tagged;
  if (signer.type !== "Id") {
    throw new Error("the signer is not given by its account");
  }
  const account = signer.value as Hex;
  const { era } = extrinsic;
  const mode = extrinsic.mode.toU8a();
  const { multiSignature } = extrinsic.inner.signature;
  // Judged when it comes to the pool and again in the block: the second time it is known.
  const judged = new Map<Hex, boolean>();
  const period = era.isMortalEra ? Number(era.asMortalEra.period.toBigInt()) : 0;
  return {
    account,
    nonce: extrinsic.nonce.toNumber(),
    tip: extrinsic.tip.toBigInt(),
    era: era.isMortalEra ? { period, phase: Number(era.asMortalEra.phase.toBigInt()) } : undefined,
    isSignatureValid(genesisHash, birthHash) {
      const known = judged.get(birthHash);
      if (known !== undefined) {
        return known;
      }
      const payload = u8aConcat(
        extrinsic.method.toU8a(),
        era.toU8a(),
        extrinsic.nonce.toU8a(),
        extrinsic.tip.toU8a(),
        mode,
        registry.createType("u32", version.specVersion).toU8a(),
        registry.createType("u32", version.transactionVersion).toU8a(),
        hexToU8a(genesisHash),
        hexToU8a(birthHash),
        new Uint8Array([0]),
      );
      const message = payload.length > longestUnhashedPayload ? blake2AsU8a(payload, 256) : payload;
      // With the mode set, a hash of the metadata would have been signed that nobody has computed here.
      const valid = mode[0] === 0 && verify(multiSignature.type, multiSignature.value.toU8a(), message, hexToU8a(account));
      judged.set(birthHash, valid);
      return valid;
    },
  };
}

/** Version byte with the bit of a signed one, address by account, account; then the signature's kind and the signature. */
const zeroSignature = /^(0x(?:..){1,4}8400.{64}0[01])0{128}/;

/**
 * polkadot.js takes a signature of zeros for none and then reads the rest wrongly. Clients that ask for fees sign with zeros:
 * one digit is changed, which is no valid signature either.
 */
const readable = (bytes: Hex): Hex => bytes.replace(zeroSignature, (_, head: string) => `${head}${"0".repeat(127)}1`) as Hex;

/** @throws Error when the bytes are not an extrinsic of this runtime */
export function decodeExtrinsic(registry: TypeRegistry, bytes: Hex): Extrinsic {
  const decoded = registry.createType("Extrinsic", readable(bytes)) as unknown as GenericExtrinsic;
  if (decoded.toHex() !== readable(bytes)) {
    throw new Error("bytes are left over, or the encoding is not canonical");
  }
  return {
    bytes,
    hash: blake2Hex(bytes),
    length: (bytes.length - 2) / 2,
    call: nestedCall(decoded.method as never),
    signed: decoded.isSigned ? signedPart(registry, decoded as SignedExtrinsic) : undefined,
  };
}

/** An unsigned extrinsic around an encoded call. */
export function encodeUnsigned(registry: TypeRegistry, callBytes: Uint8Array): Hex {
  const body = u8aConcat(new Uint8Array([4]), callBytes);
  return u8aToHex(u8aConcat(registry.createType("Compact<u32>", body.length).toU8a(), body));
}

/** First and one-past-last block in which an extrinsic of the era is valid, seen from the current block. */
export function eraWindow(era: { readonly period: number; readonly phase: number }, current: number): { birth: number; death: number } {
  const birth = Math.floor((Math.max(current, era.phase) - era.phase) / era.period) * era.period + era.phase;
  return { birth, death: birth + era.period };
}
