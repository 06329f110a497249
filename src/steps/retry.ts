/** Trying again what failed for now: with growing, jittered pauses, until it works, cannot be mended by waiting, or is given up. */

import { ConnitoError } from "../errors.ts";
import { backOff, pause as byWallClock } from "../waiting.ts";

export interface RetryOptions {
  readonly signal: AbortSignal;
  /** Asked after each failure that waiting may mend; false gives up and the failure is thrown. */
  readonly goOn?: (error: ConnitoError) => boolean | Promise<boolean>;
  readonly onRetry?: (error: ConnitoError) => void;
  /** How to wait; by the wall clock where left out. */
  readonly pause?: (milliseconds: number, signal: AbortSignal) => Promise<void>;
}

const delays = { first: 250, most: 10_000 };

/** @throws whatever is not a retryable ConnitoError, the last failure when `goOn` says so, the signal's reason when it aborts. */
export async function retry<T>(work: () => Promise<T>, { signal, goOn, onRetry, pause = byWallClock }: RetryOptions): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof ConnitoError) || !error.retryable) throw error;
      if (goOn !== undefined && !(await goOn(error))) throw error;
      onRetry?.(error);
      await pause(backOff(attempt, delays), signal);
    }
  }
}
