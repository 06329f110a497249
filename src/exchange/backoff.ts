/** Waiting between attempts: longer each time, never twice alike, and over at once when the signal fires. */

export interface BackoffOptions {
  /** The longest first wait, in milliseconds; each further one is twice that. */
  readonly firstMilliseconds: number;
  readonly maximumMilliseconds: number;
}

/**
 * How long to wait before attempt `attempt` (1 is the first repetition): at random in the upper half of the doubled interval, so that
 * peers which failed together do not come back together.
 */
export function backoffDelay(attempt: number, { firstMilliseconds, maximumMilliseconds }: BackoffOptions, random = Math.random): number {
  const longest = Math.min(maximumMilliseconds, firstMilliseconds * 2 ** (attempt - 1));
  return longest * (0.5 + 0.5 * random());
}

/** Waits, or throws the signal's reason as soon as it fires. */
export function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
