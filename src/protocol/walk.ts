/**
 * The order in which a miner goes through its share of the data (docs/protocol.md, section 5): domains take turns, whatever their sizes, because evaluation weighs them
 * equally; a domain's runs come in an order drawn from the miner's seed, and so do the sequences of a run. So only the shards
 * that are come to are needed, and every place of the walk can be computed without the way to it.
 */
import { type Hash, hashFields, hashToBytes, u32 } from "./hash.ts";
import { type Hotkey, publicKeyOf } from "./hotkey.ts";
import { stream } from "./random.ts";
import { type Run, sequencesIn } from "./training-share.ts";

export interface WalkPlace {
  readonly domain: number;
  /** The sequence's number in the domain's data. */
  readonly index: number;
  readonly shard: number;
}

export interface Walk {
  /** The sequence at a place of the endless walk, from 0. */
  at(place: number): WalkPlace;
  /** The shard that the domain comes to after the one at this place. */
  shardAfter(place: number): { readonly domain: number; readonly shard: number };
  /** Each domain's runs in the order in which the first epoch takes them. */
  runs(): Run[][];
}

/** What a miner's walk in a cycle is drawn with. */
export function walkSeed(taskHash: Hash, cycle: number, miner: Hotkey): Hash {
  return hashFields("connito/order/1", hashToBytes(taskHash), u32(cycle), publicKeyOf(miner));
}

/** A walk through domains, each of which has at least one sequence. */
export function createWalk(domains: readonly (readonly Run[])[], seed: Hash): Walk {
  const walks = domains.map((runs, domain) => createDomainWalk(runs, (...numbers) => seedOf(seed, domain, ...numbers)));
  const split = (place: number) => ({ domain: place % domains.length, turn: Math.floor(place / domains.length) });
  return {
    at(place) {
      const { domain, turn } = split(place);
      return { domain, ...(walks[domain] as DomainWalk).at(turn) };
    },
    shardAfter(place) {
      const { domain, turn } = split(place);
      return { domain, shard: (walks[domain] as DomainWalk).shardAfter(turn) };
    },
    runs: () => walks.map((walk) => walk.runs()),
  };
}

type DomainWalk = ReturnType<typeof createDomainWalk>;

/** The runs of one epoch in their order: which run is at each rank, and how many sequences lie before it. */
interface Epoch {
  readonly order: readonly number[];
  readonly before: readonly number[];
}

function createDomainWalk(runs: readonly Run[], seedAt: (...numbers: number[]) => Hash) {
  const total = sequencesIn(runs);
  const run = (index: number | undefined) => runs[index as number] as Run;
  const epochAt = remember(2, (epoch): Epoch => {
    const order = stream(seedAt(epoch)).shuffle(runs.length);
    const before = [0];
    for (const index of order.slice(0, -1)) before.push((before.at(-1) as number) + run(index).sequences);
    return { order, before };
  });
  const sequencesAt = remember(1, (epoch, index) => stream(seedAt(epoch, index)).shuffle(run(index).sequences));

  function locate(turn: number): { epoch: number; order: readonly number[]; rank: number; within: number } {
    const epoch = Math.floor(turn / total);
    const { order, before } = epochAt(epoch);
    const rest = turn % total;
    const rank = lastNotAbove(before, rest);
    return { epoch, order, rank, within: rest - (before[rank] as number) };
  }

  return {
    at(turn: number): { index: number; shard: number } {
      const { epoch, order, rank, within } = locate(turn);
      const index = order[rank] as number;
      const { shard, first } = run(index);
      return { shard, index: first + (sequencesAt(epoch, index)[within] as number) };
    },
    shardAfter(turn: number): number {
      const { epoch, order, rank } = locate(turn);
      return run(order[rank + 1] ?? epochAt(epoch + 1).order[0]).shard;
    },
    runs: () => epochAt(0).order.map(run),
  };
}

/** The last place in a rising list whose value is not above `value`. */
function lastNotAbove(rising: readonly number[], value: number): number {
  let [low, high] = [0, rising.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if ((rising[middle] as number) <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Keeps what was made last, so many at most. */
function remember<T>(most: number, make: (...numbers: number[]) => T): (...numbers: number[]) => T {
  const made = new Map<string, T>();
  return (...numbers) => {
    const key = numbers.join();
    const value = made.get(key) ?? make(...numbers);
    if (!made.has(key) && made.size === most) made.delete(made.keys().next().value as string);
    made.set(key, value);
    return value;
  };
}

function seedOf(seed: Hash, ...numbers: number[]): Hash {
  return hashFields("connito/walk/1", hashToBytes(seed), ...numbers.map(u32));
}
