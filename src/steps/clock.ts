/**
 * The chain as a clock. Truth is what is finalised; the head, which runs two or three blocks ahead, only says when it is worth
 * sending. No wall clock takes part: a chain that stalls stops the clock, and waiting is all that happens.
 */

import type { BlockReference, Chain } from "../chain/client.ts";
import { pause } from "../waiting.ts";

export interface Heads {
  readonly best: number;
  readonly finalized: BlockReference;
}

export interface ChainClock {
  /** The latest heads seen; asks the chain when none has been seen yet. */
  now(): Promise<Heads>;
  /** Resolves with the first heads for which the condition holds. Rejects when the signal aborts. */
  until(condition: (heads: Heads) => boolean, signal?: AbortSignal): Promise<Heads>;
  /** Calls back on every change of the heads; returns the function that ends it. */
  watch(listener: (heads: Heads) => void): () => void;
  /** Waits before something is tried again: so many milliseconds, or for the next block where time is counted in blocks alone. */
  pause(milliseconds: number, signal: AbortSignal): Promise<void>;
}

/**
 * A clock over one chain connection. It follows the heads only while somebody waits or watches; where following ends or fails it begins
 * again after `again` milliseconds.
 */
export function createChainClock(chain: Pick<Chain, "bestHead" | "finalizedHead" | "followHeads">, { again = 1000 } = {}): ChainClock {
  const listeners = new Set<(heads: Heads) => void>();
  const failures = new Set<(error: unknown) => void>();
  let latest: Heads | undefined;
  let following: AbortController | undefined;

  const follow = async (controller: AbortController) => {
    while (!controller.signal.aborted) {
      try {
        for await (const heads of chain.followHeads(controller.signal)) {
          latest = heads;
          for (const listener of [...listeners]) listener(heads);
        }
      } catch (error) {
        // Who waits decides whether to try again; who only watches is served again as soon as that is possible.
        if (!controller.signal.aborted) for (const fail of [...failures]) fail(error);
      }
      if (!controller.signal.aborted) await pause(again, controller.signal).catch(() => undefined);
    }
  };

  const watch = (listener: (heads: Heads) => void) => {
    listeners.add(listener);
    if (following === undefined) {
      following = new AbortController();
      void follow(following);
    }
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) {
        following?.abort();
        following = undefined;
        // What is known goes stale once nobody follows: the next question asks the chain.
        latest = undefined;
      }
    };
  };

  return {
    async now() {
      if (latest !== undefined) return latest;
      const [best, finalized] = await Promise.all([chain.bestHead(), chain.finalizedHead()]);
      return { best: best.number, finalized };
    },

    until(condition, signal) {
      return new Promise<Heads>((resolve, reject) => {
        const end = (settle: () => void) => {
          stop();
          failures.delete(fail);
          signal?.removeEventListener("abort", abort);
          settle();
        };
        const fail = (error: unknown) => end(() => reject(error));
        const abort = () => fail(signal?.reason);
        const check = (heads: Heads) => {
          if (condition(heads)) end(() => resolve(heads));
        };
        const known = latest;
        const stop = watch(check);
        failures.add(fail);
        if (signal?.aborted) return abort();
        signal?.addEventListener("abort", abort, { once: true });
        if (known !== undefined) check(known);
      });
    },

    watch,

    pause,
  };
}
