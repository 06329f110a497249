/**
 * Where the chain stands: the best block and the last finalised one, followed by one subscription each for all who want to know. Followers get the
 * newest head only: who was busy for ten blocks is not given ten. The finalised head never goes back, whatever an endpoint that is behind says.
 */
import { ConnitoError } from "../errors.ts";
import { backOff, orAborted, pause } from "../waiting.ts";
import { blockUnknown, chainUnsupported } from "./chain-errors.ts";
import type { Link } from "./link.ts";

export interface BlockReference {
  readonly number: number;
  readonly hash: string;
}

export interface Heads {
  /** The best block's number; it may go back when the chain reorganises. */
  readonly best: number;
  readonly finalized: BlockReference;
}

export interface HeadTracker {
  /** The numbers last heard of; waits for the first. */
  now(signal?: AbortSignal): Promise<HeadNumbers>;
  /** Resolves when either number differs from those given. */
  changed(from: HeadNumbers, signal?: AbortSignal): Promise<HeadNumbers>;
}

export interface HeadNumbers {
  readonly best: number;
  readonly finalized: number;
}

export function createHeadTracker(link: Link): HeadTracker {
  let best: number | undefined;
  let finalized: number | undefined;
  let begun: Promise<unknown> | undefined;
  const waiting = new Set<() => void>();

  function heard(update: (number: number) => void): (error: Error | undefined, header: unknown) => void {
    return (error, header) => {
      if (error !== undefined) return;
      const number = Number((header as { number?: string } | null)?.number);
      if (!Number.isSafeInteger(number)) return;
      update(number);
      for (const wake of [...waiting]) wake();
    };
  }

  function begin(): Promise<unknown> {
    begun ??= Promise.all([
      link.subscribe({
        method: "chain_subscribeNewHeads",
        unsubscribe: "chain_unsubscribeNewHeads",
        params: [],
        listener: heard((number) => {
          best = number;
        }),
      }),
      link.subscribe({
        method: "chain_subscribeFinalizedHeads",
        unsubscribe: "chain_unsubscribeFinalizedHeads",
        params: [],
        listener: heard((number) => {
          finalized = Math.max(finalized ?? 0, number);
        }),
      }),
    ]).catch((error) => {
      begun = undefined;
      throw error;
    });
    return begun;
  }

  async function until(satisfied: (numbers: HeadNumbers) => boolean, signal?: AbortSignal): Promise<HeadNumbers> {
    signal?.throwIfAborted();
    await orAborted(begin(), signal);
    for (;;) {
      if (best !== undefined && finalized !== undefined) {
        // a best head that lags behind the finalised one is old news from an endpoint that is behind
        const numbers = { best: Math.max(best, finalized), finalized };
        if (satisfied(numbers)) return numbers;
      }
      let wake: () => void = () => {};
      const woken = new Promise<void>((resolve) => {
        wake = resolve;
      });
      waiting.add(wake);
      try {
        await orAborted(woken, signal);
      } finally {
        waiting.delete(wake);
      }
    }
  }

  return {
    now: (signal) => until(() => true, signal),
    changed: (from, signal) => until(({ best, finalized }) => best !== from.best || finalized !== from.finalized, signal),
  };
}

/** The hash of a block by its number, undefined when the node has none. Final for blocks that are finalised. */
export async function hashOfBlock(link: Link, number: number): Promise<string | undefined> {
  return (await link.call<string | null>("chain_getBlockHash", [number])) ?? undefined;
}

/** The hash of a finalised block. Throws `block-unknown` (retryable) where the endpoint is behind what another one told. */
export async function hashOfFinalized(link: Link, number: number): Promise<string> {
  const hash = await hashOfBlock(link, number);
  if (hash === undefined) throw blockUnknown(String(number));
  return hash;
}

async function referenceOf(link: Link, hash: string): Promise<BlockReference> {
  const header = await link.call<{ number: string } | null>("chain_getHeader", [hash]);
  if (header === null) throw chainUnsupported(`a header for its own block ${hash}`);
  return { number: Number(header.number), hash };
}

export async function finalizedHead(link: Link): Promise<BlockReference> {
  return referenceOf(link, await link.call<string>("chain_getFinalizedHead", []));
}

export async function bestHead(link: Link): Promise<BlockReference> {
  return referenceOf(link, await link.call<string>("chain_getBlockHash", []));
}

const nowhere: HeadNumbers = { best: -1, finalized: -1 };

/**
 * Every change of the heads, newest only, until the signal fires (which ends it without an error). A chain that goes away is waited for, however
 * long it takes.
 */
export async function* followHeads(link: Link, tracker: HeadTracker, signal: AbortSignal): AsyncGenerator<Heads, void, void> {
  let last = nowhere;
  let finalized: BlockReference = { number: -1, hash: "" };
  let failures = 0;
  while (!signal.aborted) {
    try {
      last = await tracker.changed(last, signal);
      if (finalized.number !== last.finalized) {
        const hash = await orAborted(hashOfBlock(link, last.finalized), signal);
        if (hash === undefined) continue; // this endpoint is behind what another one told
        finalized = { number: last.finalized, hash };
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ConnitoError && error.retryable)) throw error;
      last = nowhere; // whatever is told next is news
      failures += 1;
      await pause(backOff(failures), signal).catch(() => {});
      continue;
    }
    failures = 0;
    yield { best: last.best, finalized };
  }
}

/** Like followHeads, for who only wants to know what is finalised. */
export async function* followFinalized(link: Link, tracker: HeadTracker, signal: AbortSignal): AsyncGenerator<BlockReference, void, void> {
  let last = -1;
  for await (const { finalized } of followHeads(link, tracker, signal)) {
    if (finalized.number === last) continue;
    last = finalized.number;
    yield finalized;
  }
}
