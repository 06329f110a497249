/** Trying again what failed for now: with growing, jittered pauses, until it works, cannot be mended by waiting, or is given up. */

import { setTimeout as sleep } from "node:timers/promises";
import { ConnitoError } from "../errors.ts";

export interface RetryOptions {
  readonly signal: AbortSignal;
  /** Asked after each failure that waiting may mend; false gives up and the failure is thrown. */
  readonly goOn?: (error: ConnitoError) => boolean | Promise<boolean>;
  readonly onRetry?: (error: ConnitoError) => void;
  /** How to wait; by the wall clock where left out. */
  readonly pause?: (milliseconds: number, signal: AbortSignal) => Promise<void>;
}

const byWallClock = (milliseconds: number, signal: AbortSignal): Promise<void> => sleep(milliseconds, undefined, { signal });

/** Milliseconds: doubled each time up to the largest, and multiplied by 0.5 to 1.5, so that many do not come back at once. */
const delays = { first: 250, largest: 8_000 };

/** @throws whatever is not a retryable ConnitoError, the last failure when `goOn` says so, the signal's reason when it aborts. */
export async function retry<T>(work: () => Promise<T>, { signal, goOn, onRetry, pause = byWallClock }: RetryOptions): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof ConnitoError) || !error.retryable) throw error;
      if (goOn !== undefined && !(await goOn(error))) throw error;
      onRetry?.(error);
      const delay = Math.min(delays.largest, delays.first * 2 ** Math.min(attempt, 10));
      await pause(delay * (0.5 + Math.random()), signal);
    }
  }
}
