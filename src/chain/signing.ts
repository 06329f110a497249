/**
 * Signed transactions: mortal, so that a time comes after which one that is in no finalised block never will be in any; and remembered by their
 * bytes, so that what is sent again is the same transaction and not a second one.
 */
import type { ApiPromise } from "@polkadot/api";
import type { SubmittableExtrinsic } from "@polkadot/api/types";
import type { Signer } from "./signer.ts";

export interface SignedTransaction {
  /** As sent, and as it stands in blocks. */
  readonly hex: string;
  readonly nonce: number;
  /** The last block that can include it. */
  readonly lastBlock: number;
}

export interface SigningContext {
  readonly nonce: number;
  /** A finalised block that no reorganisation can take away: the transaction lives from here. */
  readonly anchor: { readonly number: number; readonly hash: string };
  /** Blocks for which it should live at least, from the anchor on. */
  readonly lifetime: number;
}

/** What mortality allows: powers of two from 4; beyond 4,096 the chain forgets the anchor's hash. */
const shortestEra = 4;
const longestEra = 4_096;

export function eraPeriod(lifetime: number): number {
  const power = 2 ** Math.ceil(Math.log2(Math.max(1, lifetime)));
  return Math.min(longestEra, Math.max(shortestEra, power));
}

export function signTransaction(
  api: ApiPromise,
  transaction: SubmittableExtrinsic<"promise">,
  signer: Signer,
  { nonce, anchor, lifetime }: SigningContext,
): SignedTransaction {
  const period = eraPeriod(lifetime);
  const pair = {
    address: signer.address,
    addressRaw: signer.publicKey,
    publicKey: signer.publicKey,
    /** polkadot.js wants the signature with the byte of its kind in front: 1 is sr25519. */
    sign: (payload: Uint8Array) => Uint8Array.of(1, ...signer.sign(payload)),
  };
  const signed = transaction.sign(pair as never, {
    nonce,
    era: api.registry.createType("ExtrinsicEra", { current: anchor.number, period }),
    blockHash: anchor.hash,
    genesisHash: api.genesisHash,
    runtimeVersion: api.runtimeVersion,
  });
  return { hex: signed.toHex(), nonce, lastBlock: anchor.number + period - 1 };
}

/** Among a pool's transactions, the one in which this signer makes this very call. */
export function findPending(
  api: ApiPromise,
  transaction: SubmittableExtrinsic<"promise">,
  signer: Signer,
  pending: readonly string[],
  best: number,
): SignedTransaction | undefined {
  const call = transaction.method.toHex().slice(2);
  const account = Buffer.from(signer.publicKey).toString("hex");
  for (const hex of pending) {
    if (!hex.includes(account) || !hex.endsWith(call)) continue;
    const extrinsic = api.registry.createType("Extrinsic", hex);
    if (!extrinsic.isSigned || extrinsic.signer.toString() !== signer.address) continue;
    const lastBlock = extrinsic.era.isMortalEra ? extrinsic.era.asMortalEra.death(best) - 1 : Number.POSITIVE_INFINITY;
    return { hex, nonce: extrinsic.nonce.toNumber(), lastBlock };
  }
  return undefined;
}
