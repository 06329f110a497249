/**
 * One signed transaction's way into the pool, and the pool's word on it while the connection lasts. That word is a hint only: whether it happened is
 * read from finalised blocks (transactions.ts).
 */

import { ConnitoError } from "../errors.ts";
import { isNetworkTrouble, RpcFailure } from "./chain-errors.ts";
import type { Link } from "./link.ts";
import { type PoolVerdict, poolVerdict } from "./refusals.ts";

export interface Submission {
  /** Whether the pool, as far as is known, holds the transaction or has seen it into a block. */
  held(): boolean;
  /** Stops watching. */
  stop(): void;
}

export type SubmissionResult =
  | { readonly kind: "sent"; readonly submission: Submission }
  /** The connection was lost: it may or may not have arrived. */
  | { readonly kind: "unknown" }
  | { readonly kind: PoolVerdict; readonly failure: RpcFailure };

/** What the pool says when it no longer cares for a transaction. */
const lettingGo = ["invalid", "dropped", "usurped", "finalityTimeout"];

function letsGo(status: unknown): boolean {
  const word = typeof status === "string" ? status : Object.keys((status ?? {}) as object)[0];
  return word !== undefined && lettingGo.includes(word);
}

export async function submit(link: Link, hex: string): Promise<SubmissionResult> {
  let held = true;
  try {
    const stop = await link.subscribeOnce({
      method: "author_submitAndWatchExtrinsic",
      unsubscribe: "author_unwatchExtrinsic",
      params: [hex],
      listener: (error, status) => {
        if (error !== undefined || letsGo(status)) held = false;
      },
    });
    return { kind: "sent", submission: { held: () => held, stop } };
  } catch (error) {
    if (error instanceof RpcFailure && !isNetworkTrouble(error)) return { kind: poolVerdict(error), failure: error };
    if (isNetworkTrouble(error) || (error instanceof ConnitoError && error.code === "chain-unreachable")) return { kind: "unknown" };
    throw error;
  }
}
