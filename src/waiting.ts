/** Waiting that can be called off, and that spreads out those who wait for the same thing; for every room but the rules. */
import { setTimeout as sleep } from "node:timers/promises";

/** Waits so many milliseconds; rejects with the signal's reason when it fires. */
export async function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  try {
    await sleep(milliseconds, undefined, signal === undefined ? {} : { signal });
  } catch {
    signal?.throwIfAborted();
  }
}

/** Milliseconds: of the first pause, and of the longest. */
export interface BackOff {
  readonly first: number;
  readonly most: number;
}

/**
 * Milliseconds to wait before attempt 1, 2, ..: doubling from `first` up to `most`, of which up to a half is taken off at random, so that many that lost the same
 * peer do not come back at the same moment.
 */
export function backOff(attempt: number, { first, most }: BackOff = { first: 100, most: 10_000 }, random = Math.random): number {
  return Math.min(most, first * 2 ** (attempt - 1)) * (0.5 + random() / 2);
}

/** Settles like `promise`, or rejects with the signal's reason as soon as it fires. */
export function orAborted<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
