/**
 * Signed transactions, put together from what the chain's metadata asks of them: mortal, so that a time comes after which one that is in no
 * finalised block never will be in any; and remembered by their bytes, so that what is sent again is the same transaction and not a second one.
 */
import { publicKeyOf } from "../protocol/hotkey.ts";
import { type Call, type Codecs, loadCodecLibrary } from "./metadata.ts";
import type { Runtime } from "./runtime.ts";
import type { Signer } from "./signer.ts";
import { bytesOf, hexOf } from "./state.ts";

export interface SignedTransaction {
  /** As sent, and as it stands in blocks. */
  readonly hex: string;
  readonly nonce: number;
  /** The last block that can include it. */
  readonly lastBlock: number;
}

export interface SigningContext {
  readonly genesisHash: string;
  readonly nonce: number;
  /** A finalised block that no reorganisation can take away: the transaction lives from here. */
  readonly anchor: { readonly number: number; readonly hash: string };
  /** Blocks for which it should live at least, from the anchor on. */
  readonly lifetime: number;
}

/** What mortality allows: powers of two from 4; beyond 4,096 the chain forgets the anchor's hash. */
const shortestEra = 4;
const longestEra = 4_096;
/** Version 4 of the format, and the bit that says it is signed. */
const signedVersion = 0x84;
/** The variants `Id` of MultiAddress and `Sr25519` of MultiSignature, which every Substrate chain has had from the first. */
const accountVariant = 0;
const sr25519Variant = 1;
const signatureBytes = 64;
const accountBytes = 32;
/** A payload longer than this is signed by its hash. */
const longestPayload = 256;

export function eraPeriod(lifetime: number): number {
  const power = 2 ** Math.ceil(Math.log2(Math.max(1, lifetime)));
  return Math.min(longestEra, Math.max(shortestEra, power));
}

/** The two bytes of a mortal era: the period's power of two, and the phase in steps of a sixteenth of what 4,096 blocks need. */
function encodeEra(period: number, current: number): Uint8Array {
  const step = Math.max(1, period >> 12);
  const encoded = Math.min(15, Math.max(1, Math.log2(period) - 1)) | (((current % period) / step) << 4);
  return Uint8Array.of(encoded & 0xff, encoded >> 8);
}

/** The last block in which a transaction of this era can be, seen from a block near it; any for an immortal one. */
function lastBlockOf(era: Uint8Array, near: number): number {
  if (era[0] === 0) return Number.POSITIVE_INFINITY;
  const encoded = (era[0] as number) | ((era[1] as number) << 8);
  const period = 2 << (encoded & 15);
  const phase = (encoded >> 4) * Math.max(1, period >> 12);
  return Math.floor((Math.max(near, phase) - phase) / period) * period + phase + period - 1;
}

/** What goes into the extensions that ask for something; all others get their emptiest form. */
function extensionValues(
  { specVersion, transactionVersion }: Runtime,
  { genesisHash, nonce, anchor }: SigningContext,
): Readonly<Record<string, { readonly carried?: unknown; readonly covered?: unknown }>> {
  return {
    CheckMortality: { covered: anchor.hash },
    CheckEra: { covered: anchor.hash },
    CheckNonce: { carried: nonce },
    ChargeTransactionPayment: { carried: 0n },
    CheckGenesis: { covered: genesisHash },
    CheckSpecVersion: { covered: specVersion },
    CheckTxVersion: { covered: transactionVersion },
    CheckMetadataHash: { carried: { type: "Disabled" } },
  };
}

const isEra = (name: string): boolean => name === "CheckMortality" || name === "CheckEra";

/** A length as SCALE writes it before bytes. */
function compactLength(length: number): Uint8Array {
  if (length < 1 << 6) return Uint8Array.of(length << 2);
  if (length < 1 << 14) return Uint8Array.of(((length << 2) | 1) & 0xff, length >> 6);
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(length * 4 + 2);
  return bytes;
}

/** Throws `chain-unsupported` where the chain asks for something in a transaction that this version does not know. */
export async function signTransaction(runtime: Runtime, call: Call, signer: Signer, context: SigningContext): Promise<SignedTransaction> {
  const { Blake2256 } = await loadCodecLibrary();
  const { codecs } = runtime;
  const period = eraPeriod(context.lifetime);
  const era = encodeEra(period, context.anchor.number);
  const values = extensionValues(runtime, context);
  const carried = Buffer.concat(codecs.extensions.map(({ name, carried: encode }) => (isEra(name) ? era : encode(values[name]?.carried))));
  const covered = Buffer.concat(codecs.extensions.map(({ name, covered: encode }) => encode(values[name]?.covered)));
  const encodedCall = codecs.encodeCall(call);
  const payload = Buffer.concat([encodedCall, carried, covered]);
  const signature = signer.sign(payload.length > longestPayload ? Blake2256(payload) : payload);
  const body = Buffer.concat([
    Uint8Array.of(signedVersion, accountVariant),
    signer.publicKey,
    Uint8Array.of(sr25519Variant),
    signature,
    carried,
    encodedCall,
  ]);
  const hex = hexOf(Buffer.concat([compactLength(body.length), body]));
  return { hex, nonce: context.nonce, lastBlock: context.anchor.number + period - 1 };
}

/** Where the signature's kind stands in a transaction of this signer and form, undefined for any other transaction. */
function signatureOffset(bytes: Uint8Array, signer: Uint8Array): number | undefined {
  const start = [1, 2, 4][(bytes[0] as number) & 3] ?? 0;
  const account = start + 2;
  const offset = account + accountBytes;
  const same = bytes[start] === signedVersion && bytes[start + 1] === accountVariant && bytes[offset] === sr25519Variant;
  return same && Buffer.from(bytes.subarray(account, offset)).equals(signer) ? offset : undefined;
}

interface PendingTransaction extends SignedTransaction {
  readonly call: Uint8Array;
}

/** A signer's transactions among those of a pool. What has another form than ours is passed over. */
export function pendingOf(codecs: Codecs, signer: string, pool: readonly string[], near: number): PendingTransaction[] {
  const account = publicKeyOf(signer);
  return pool.flatMap((hex) => {
    const bytes = bytesOf(hex);
    const offset = signatureOffset(bytes, account);
    if (offset === undefined) return [];
    const rest = bytes.subarray(offset + 1 + signatureBytes);
    try {
      return [readPending(codecs, hex, rest, near)];
    } catch {
      return []; // a transaction for another runtime
    }
  });
}

function readPending(codecs: Codecs, hex: string, rest: Uint8Array, near: number): PendingTransaction {
  const values = codecs.decodeExtensions(rest);
  let length = 0;
  let nonce = 0;
  let lastBlock = Number.POSITIVE_INFINITY;
  for (const [index, { name, carried }] of codecs.extensions.entries()) {
    const value = values[index];
    if (isEra(name)) {
      lastBlock = lastBlockOf(rest.subarray(length, length + 2), near);
      length += rest[length] === 0 ? 1 : 2;
    } else {
      if (name === "CheckNonce") nonce = Number(value);
      length += carried(value ?? undefined).length;
    }
  }
  return { hex, nonce, lastBlock, call: rest.subarray(length) };
}
