/** Waiting that can be called off, and that spreads out those who wait for the same thing. */
import { setTimeout as sleep } from "node:timers/promises";

/** Waits so many milliseconds; rejects with the signal's reason when it fires. */
export async function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  try {
    await sleep(milliseconds, undefined, signal === undefined ? {} : { signal });
  } catch {
    signal?.throwIfAborted();
  }
}

/**
 * Milliseconds before attempt 1, 2, ...: doubling from `first` up to `most`, of which a random half is taken off, so that many processes that lost
 * the same node do not come back at the same moment.
 */
export function backOff(attempt: number, { first = 100, most = 10_000 } = {}): number {
  const full = Math.min(most, first * 2 ** Math.min(attempt - 1, 30));
  return full * (0.5 + Math.random() / 2);
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
