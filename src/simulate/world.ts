/**
 * Time and chain of a simulated subnet. One actor works until it waits (for a block, or for its transaction to be final), then the next one; when all wait, a
 * block is made. (What an actor computes ahead while it waits goes on beside the others; it is asked for later, and decides nothing before.) However long the work
 * takes, it takes no block, and the same seed gives the same blocks, the same order and the same results.
 *
 * The chain is the `Chain` that steps are given elsewhere, over plain data: what was sent stands in the next block (or later, where the world delays
 * it), and a block is final when two stand on it.
 */
import type { BlockReference, Chain, Hyperparameters, Inclusion, Neuron, Weight } from "../chain/client.ts";
import { ConnitoError } from "../errors.ts";
import { hashFields, u32, utf8 } from "../protocol/hash.ts";
import { type Stream, stream } from "../protocol/random.ts";
import type { ChainClock, Heads } from "../steps/clock.ts";

/** Blocks that the final one trails the newest. */
const finalityLag = 2;

export interface WorldOptions {
  readonly seed: string;
  readonly ownerHotkey: string;
  /** All that ever register; one is seen from its `registeredAt` on. Uids are their places. */
  readonly neurons: readonly Neuron[];
  /** Blocks that a transaction waits for the one that includes it, at least 1, infinitely many for one that is lost; drawn for each. By default 1. */
  readonly delay?: (hotkey: string, random: Stream) => number;
}

export interface World {
  readonly chain: Chain;
  readonly clock: ChainClock;
  block(): number;
  /** Lets all actors play until each has ended; the first failure is thrown when all have. */
  play(actors: readonly (() => Promise<void>)[]): Promise<void>;
}

interface Commitment {
  readonly block: number;
  readonly index: number;
  readonly fields: readonly Uint8Array[];
}

/** What a block left behind. Nothing in it is changed later. */
interface Snapshot {
  readonly hash: string;
  readonly commitments: ReadonlyMap<string, Commitment>;
  readonly weights: ReadonlyMap<number, readonly Weight[]>;
}

interface Pending {
  readonly hotkey: string;
  readonly from: number;
  readonly until: number;
  readonly apply: (
    into: { commitments: Map<string, Commitment>; weights: Map<number, readonly Weight[]> },
    at: { block: number; index: number },
  ) => void;
  outcome?: { readonly block: number; readonly index: number } | "missed";
}

interface Waiting {
  readonly ready: () => boolean;
  readonly wake: () => void;
}

const hyperparameters: Hyperparameters = {
  tempo: 360,
  weightsRateLimit: 0,
  minimumAllowedWeights: 0,
  weightsVersionKey: 0n,
  maximumWeight: 65_535,
  commitRevealEnabled: false,
  revealPeriodEpochs: 1,
};

export function createWorld(options: WorldOptions): World {
  const { neurons, seed, delay = () => 1 } = options;
  const random = stream(hashFields("connito/simulation/1", utf8(seed)));
  const hashOf = (block: number) => `0x${hashFields("connito/simulation-block/1", utf8(seed), u32(block))}`;
  const blocks: Snapshot[] = [{ hash: hashOf(0), commitments: new Map(), weights: new Map() }];
  const numbers = new Map([[hashOf(0), 0]]);
  const waiting: Waiting[] = [];
  let pending: Pending[] = [];
  let idle = (): void => undefined;

  const best = () => blocks.length - 1;
  const heads = (): Heads => {
    const number = Math.max(0, best() - finalityLag);
    return { best: best(), finalized: { number, hash: hashOf(number) } };
  };

  const wait = (ready: () => boolean, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const stop = () => {
        waiting.splice(waiting.indexOf(entry), 1);
        reject(signal?.reason);
      };
      const wake = () => {
        signal?.removeEventListener("abort", stop);
        resolve();
      };
      const entry = { ready, wake };
      waiting.push(entry);
      signal?.addEventListener("abort", stop, { once: true });
      idle();
    });

  const produce = (): void => {
    const block = blocks.length;
    const last = blocks[block - 1] as Snapshot;
    const next = { commitments: new Map(last.commitments), weights: new Map(last.weights) };
    const due = pending.filter(({ from, until }) => from <= block || until < block);
    pending = pending.filter((transaction) => !due.includes(transaction));
    for (const [index, transaction] of due.entries()) {
      if (block > transaction.until) transaction.outcome = "missed";
      else {
        transaction.apply(next, { block, index });
        transaction.outcome = { block, index };
      }
    }
    blocks.push({ hash: hashOf(block), ...next });
    numbers.set(hashOf(block), block);
  };

  const at = (hash: string): Snapshot & { readonly block: number } => {
    const block = numbers.get(hash);
    if (block === undefined) throw unknown(hash);
    return { ...(blocks[block] as Snapshot), block };
  };

  const send = async (hotkey: string, until: number, what: string, apply: Pending["apply"]): Promise<Inclusion> => {
    const waits = Math.max(1, delay(hotkey, random));
    // What may come whenever it likes is sent again by whoever lost it.
    const from = best() + (Number.isFinite(waits) || Number.isFinite(until) ? waits : 2);
    const transaction: Pending = { hotkey, from, until, apply };
    pending.push(transaction);
    const included = () => (typeof transaction.outcome === "object" ? transaction.outcome.block : undefined);
    await wait(() => transaction.outcome === "missed" || (included() ?? Number.POSITIVE_INFINITY) <= heads().finalized.number);
    if (transaction.outcome === "missed" || transaction.outcome === undefined) {
      throw new ConnitoError(`${what} was of use up to block ${until}, and no block up to then included it`, {
        code: "deadline-missed",
        exit: "deadlineMissed",
        hint: "The next cycle is a new chance.",
      });
    }
    const { block, index } = transaction.outcome;
    return { block, hash: hashOf(block), extrinsicIndex: index, already: false };
  };

  const visible = (block: number) => neurons.filter(({ registeredAt }) => registeredAt <= block);

  const chain: Chain = {
    genesisHash: hashOf(0),
    endpoint: () => "simulation",
    finalizedHead: async () => heads().finalized,
    bestHead: async (): Promise<BlockReference> => ({ number: best(), hash: hashOf(best()) }),
    followFinalized: (signal) => follow(() => heads().finalized, signal),
    followHeads: (signal) => follow(heads, signal),
    blockHash: async (number) => {
      if (number < 0 || number > best()) throw unknown(String(number));
      return hashOf(number);
    },
    subnet: async (_netuid, hash) => ({ ownerHotkey: options.ownerHotkey, hyperparameters, neurons: visible(at(hash).block) }),
    neurons: async (_netuid, hash) => visible(at(hash).block),
    subnetOwnerHotkey: async () => options.ownerHotkey,
    commitments: async (_netuid, hash) =>
      [...at(hash).commitments].map(([hotkey, { block, fields }]) => ({ hotkey, block, fields: [...fields] })),
    extrinsicIndex: async ({ block, hotkey }) => {
      const found = blocks[block]?.commitments.get(hotkey);
      return found?.block === block ? found.index : undefined;
    },
    hyperparameters: async () => hyperparameters,
    weights: async (_netuid, hash) => new Map([...at(hash).weights].map(([uid, row]) => [uid, [...row]])),
    setCommitment: async (signer, _netuid, record, { until = Number.POSITIVE_INFINITY } = {}) => {
      const standing = (blocks.at(-1) as Snapshot).commitments.get(signer.address);
      if (standing !== undefined && Buffer.from(record).equals(standing.fields[0] as Uint8Array)) {
        await wait(() => standing.block <= heads().finalized.number);
        return { block: standing.block, hash: hashOf(standing.block), extrinsicIndex: standing.index, already: true };
      }
      const fields = [record.slice()];
      return send(signer.address, until, "the record", ({ commitments }, place) => {
        // Set again it counts from the new block on, as in the pallet.
        commitments.set(signer.address, { ...place, fields });
      });
    },
    setWeights: async (signer, _netuid, row) => {
      const uid = neurons.findIndex(({ hotkey }) => hotkey === signer.address);
      return send(signer.address, Number.POSITIVE_INFINITY, "the weights", ({ weights }) => weights.set(uid, [...row]));
    },
    commitWeights: () => Promise.reject(new Error("a simulated chain takes plain weights")),
    revealWeights: () => Promise.reject(new Error("a simulated chain takes plain weights")),
    space: async () => ({ used: 0, limit: Number.MAX_SAFE_INTEGER, nextEpoch: best() + 1 }),
    timestamp: async (hash) => 12_000 * at(hash).block,
    send: () => Promise.reject(new Error("a simulated chain takes commitments and weights only")),
    balance: async () => 0n,
    disconnect: () => undefined,
  };

  async function* follow<T>(now: () => T, signal: AbortSignal): AsyncGenerator<T> {
    for (let seen = -1; !signal.aborted; ) {
      await wait(() => best() > seen, signal).catch(() => undefined);
      seen = best();
      if (!signal.aborted) yield now();
    }
  }

  const clock: ChainClock = {
    now: async () => heads(),
    until: async (condition, signal) => {
      if (!condition(heads())) await wait(() => condition(heads()), signal);
      return heads();
    },
    watch: () => () => undefined,
    pause: (_milliseconds, signal) => {
      const from = best();
      return wait(() => best() > from, signal);
    },
  };

  const play: World["play"] = async (actors) => {
    let living = actors.length;
    const failures: unknown[] = [];
    /** Starts somebody, and comes back when everybody waits again. */
    const turn = (start: () => void) =>
      new Promise<void>((resolve) => {
        idle = resolve;
        start();
      });
    for (const actor of actors) {
      await turn(() => {
        actor()
          .catch((error: unknown) => failures.push(error))
          .finally(() => {
            living -= 1;
            idle();
          });
      });
    }
    while (living > 0) {
      const place = waiting.findIndex(({ ready }) => ready());
      // Whom an abort woke works though nobody's turn it is: blocks made meanwhile would never let it.
      if (place < 0 && waiting.length < living) await turn(() => undefined);
      else if (place < 0) produce();
      else {
        const [next] = waiting.splice(place, 1);
        await turn(() => next?.wake());
      }
    }
    if (failures.length > 0) throw failures[0];
  };

  return { chain, clock, block: best, play };
}

function unknown(block: string): ConnitoError {
  return new ConnitoError(`there is no block ${block} yet`, {
    code: "block-unknown",
    exit: "network",
    retryable: true,
    hint: "Wait for the chain.",
  });
}
