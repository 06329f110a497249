/**
 * The transaction pool: what is valid waits here for a block, in the order of its sender's nonces; what has a nonce too far
 * ahead waits until the gap is filled. Refusals carry the codes and words of Substrate's own pool.
 */

import type { Hex } from "./metadata/scale.ts";
import type { Extrinsic } from "./runtime/extrinsic.ts";
import { InvalidTransaction, RuntimeTrap, type Validity } from "./runtime/runtime.ts";

/** A JSON-RPC error with Substrate's code. */
export class RpcError extends Error {
  override readonly name = "RpcError";
  readonly code: number;
  readonly data: string | undefined;

  constructor(code: number, message: string, data?: string) {
    super(message);
    this.code = code;
    this.data = data;
  }
}

export const poolErrorCodes = {
  badFormat: 1001,
  invalid: 1010,
  unknownValidity: 1011,
  temporarilyBanned: 1012,
  alreadyImported: 1013,
  tooLowPriority: 1014,
  immediatelyDropped: 1016,
} as const;

/** What becomes of a transaction in the pool; a watcher is told each. */
export type PoolStatus = "future" | "ready" | "dropped" | "invalid" | { readonly usurped: Hex };

export interface Pooled {
  readonly extrinsic: Extrinsic;
  readonly validity: Validity;
}

/** Substrate's default limits: 8192 ready and 512 future. */
const maximumReady = 8192;
const maximumFuture = 512;
const banMilliseconds = 30 * 60_000;
const maximumBanned = 4096;

export interface Pool {
  /**
   * Takes a transaction in, judged by `validate` against the best block.
   * @throws RpcError as author_submitExtrinsic answers
   */
  submit(extrinsic: Extrinsic, validate: (extrinsic: Extrinsic) => Validity): "ready" | "future";
  /** Every transaction that may go in the next block, each sender's in nonce order, Operational and tipped first. */
  ready(nonceOf: (account: Hex) => number): Pooled[];
  /** The next nonce of an account when what waits is counted. */
  nextNonce(account: Hex, nonce: number): number;
  /** Takes out what a block holds, or what has turned out invalid; the hash is banned for half an hour. */
  remove(hash: Hex, because: "included" | "invalid"): void;
  /** Drops what the new block has made stale or whose era has passed, and tells who became ready. */
  prune(nextBlock: number, nonceOf: (account: Hex) => number): void;
  /**
   * Takes back in what a block held that is no longer on the best line; without `validate` it is dropped for good. Its watchers are
   * told, since nobody waits for an answer.
   */
  retract(extrinsic: Extrinsic, validate: ((extrinsic: Extrinsic) => Validity) | undefined): void;
  /** Loses a transaction, or all of them, without a word. */
  lose(hash: Hex): void;
  clear(): void;
  pending(): Extrinsic[];
  /** @returns a function that stops watching */
  watch(hash: Hex, listener: (status: PoolStatus) => void): () => void;
}

export function createPool(now: () => number = Date.now): Pool {
  const accounts = new Map<Hex, Map<number, Pooled>>();
  const hashes = new Map<Hex, Pooled>();
  const banned = new Map<Hex, number>();
  const announced = new Set<Hex>();
  const listeners = new Map<Hex, Set<(status: PoolStatus) => void>>();

  const tell = (hash: Hex, status: PoolStatus): void => {
    for (const listener of listeners.get(hash) ?? []) {
      listener(status);
    }
  };

  function ban(hash: Hex): void {
    if (banned.size >= maximumBanned) {
      banned.delete(banned.keys().next().value as Hex);
    }
    banned.set(hash, now() + banMilliseconds);
  }

  function forget({ extrinsic, validity }: Pooled): void {
    hashes.delete(extrinsic.hash);
    announced.delete(extrinsic.hash);
    const queue = accounts.get(validity.account);
    if (queue?.get(validity.nonce)?.extrinsic.hash === extrinsic.hash) {
      queue.delete(validity.nonce);
      if (queue.size === 0) {
        accounts.delete(validity.account);
      }
    }
  }

  function judge(extrinsic: Extrinsic, validate: (extrinsic: Extrinsic) => Validity): Validity {
    try {
      return validate(extrinsic);
    } catch (error) {
      if (error instanceof RuntimeTrap) {
        throw new RpcError(poolErrorCodes.unknownValidity, "Unknown Transaction Validity", "Could not validate: the runtime trapped");
      }
      if (error instanceof InvalidTransaction) {
        throw new RpcError(poolErrorCodes.invalid, "Invalid Transaction", error.message);
      }
      throw error;
    }
  }

  /** The nonces from `nonce` on for which there is no gap. */
  function run(queue: ReadonlyMap<number, Pooled> | undefined, nonce: number): Pooled[] {
    const found: Pooled[] = [];
    for (let next = queue?.get(nonce); next !== undefined; next = queue?.get(nonce + found.length)) {
      found.push(next);
    }
    return found;
  }

  function submit(extrinsic: Extrinsic, validate: (extrinsic: Extrinsic) => Validity): "ready" | "future" {
    const { hash } = extrinsic;
    if (hashes.has(hash)) {
      throw new RpcError(poolErrorCodes.alreadyImported, "Transaction Already Imported", hash);
    }
    if ((banned.get(hash) ?? 0) > now()) {
      throw new RpcError(poolErrorCodes.temporarilyBanned, "Transaction is temporarily banned");
    }
    const validity = judge(extrinsic, validate);
    const queue = accounts.get(validity.account) ?? new Map<number, Pooled>();
    const before = queue.get(validity.nonce);
    if (before !== undefined && before.validity.priority >= validity.priority) {
      throw new RpcError(
        poolErrorCodes.tooLowPriority,
        `Priority is too low: (${before.validity.priority} vs ${validity.priority})`,
        "The transaction has too low priority to replace another transaction already in the pool.",
      );
    }
    const isReady = run(queue, validity.nextNonce).length >= validity.nonce - validity.nextNonce;
    if (isReady ? announced.size >= maximumReady : hashes.size - announced.size >= maximumFuture) {
      throw new RpcError(
        poolErrorCodes.immediatelyDropped,
        "Immediately Dropped",
        "The transaction couldn't enter the pool because of the limit",
      );
    }
    if (before !== undefined) {
      forget(before);
      tell(before.extrinsic.hash, { usurped: hash });
    }
    const pooled = { extrinsic, validity };
    queue.set(validity.nonce, pooled);
    accounts.set(validity.account, queue);
    hashes.set(hash, pooled);
    if (!isReady) {
      return "future";
    }
    announced.add(hash);
    for (const later of run(queue, validity.nonce + 1)) {
      if (!announced.has(later.extrinsic.hash)) {
        announced.add(later.extrinsic.hash);
        tell(later.extrinsic.hash, "ready");
      }
    }
    return "ready";
  }

  return {
    submit,
    retract(extrinsic, validate) {
      banned.delete(extrinsic.hash);
      if (validate === undefined) {
        tell(extrinsic.hash, "dropped");
        return;
      }
      try {
        tell(extrinsic.hash, submit(extrinsic, validate));
      } catch {
        tell(extrinsic.hash, "invalid");
      }
    },
    lose(hash) {
      const pooled = hashes.get(hash);
      if (pooled !== undefined) {
        forget(pooled);
      }
    },
    clear() {
      for (const pooled of [...hashes.values()]) {
        forget(pooled);
      }
      banned.clear();
    },
    ready(nonceOf) {
      const queues = [...accounts].map(([account, queue]) => run(queue, nonceOf(account)));
      const first = (queue: readonly Pooled[]): bigint => queue[0]?.validity.priority ?? 0n;
      return queues.sort((a, b) => (first(a) === first(b) ? 0 : first(a) < first(b) ? 1 : -1)).flat();
    },
    nextNonce: (account, nonce) => nonce + run(accounts.get(account), nonce).length,
    remove(hash, because) {
      const pooled = hashes.get(hash);
      if (pooled !== undefined) {
        forget(pooled);
      }
      ban(hash);
      if (because === "invalid") {
        tell(hash, "invalid");
      }
    },
    prune(nextBlock, nonceOf) {
      for (const pooled of [...hashes.values()]) {
        const { account, nonce, death } = pooled.validity;
        if (nonce < nonceOf(account) || nextBlock >= death) {
          forget(pooled);
          tell(pooled.extrinsic.hash, "invalid");
        }
      }
      for (const [account, queue] of accounts) {
        for (const { extrinsic } of run(queue, nonceOf(account))) {
          if (!announced.has(extrinsic.hash)) {
            announced.add(extrinsic.hash);
            tell(extrinsic.hash, "ready");
          }
        }
      }
    },
    pending: () => [...hashes.values()].map(({ extrinsic }) => extrinsic),
    watch(hash, listener) {
      const set = listeners.get(hash) ?? new Set();
      set.add(listener);
      listeners.set(hash, set);
      return () => {
        set.delete(listener);
        if (set.size === 0) {
          listeners.delete(hash);
        }
      };
    },
  };
}
