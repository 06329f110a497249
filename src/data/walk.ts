/**
 * The order in which one miner goes through its data: domains take turns, whatever their sizes, because evaluation weighs them equally; a
 * domain's shards come in an order drawn from the miner's seed, and so do the sequences of a shard. So a miner needs only the shards
 * that it comes to, another miner others, and every place of the walk can be computed without the way to it.
 */
import type { Hash } from "../protocol/hash.ts";
import { hashFields, hashToBytes, u32 } from "../protocol/hash.ts";
import { stream } from "../protocol/random.ts";

/** What the walk has to know of a domain's data. */
export interface WalkedData {
  readonly sequences: number;
  readonly shards: readonly { readonly sequences: number }[];
}

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
}

/** A walk through domains that have at least one sequence each. */
export function createWalk(domains: readonly WalkedData[], seed: Hash): Walk {
  const walks = domains.map((data, domain) => createDomainWalk(data, (...numbers) => seedOf(seed, domain, ...numbers)));
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
  };
}

type DomainWalk = ReturnType<typeof createDomainWalk>;

function createDomainWalk({ sequences, shards }: WalkedData, seedAt: (...numbers: number[]) => Hash) {
  /** All shards but the last have as many sequences as the first. */
  const each = shards[0]?.sequences ?? 1;
  const last = shards.length - 1;
  const shuffled = remember((epoch, part) => {
    const size = part < 0 ? shards.length : (shards[part]?.sequences ?? 0);
    return stream(part < 0 ? seedAt(epoch) : seedAt(epoch, part)).shuffle(size);
  });

  /** The turn's epoch, the place of its shard in the epoch's order, and its place in the shard. */
  function locate(turn: number): { epoch: number; order: readonly number[]; rank: number; within: number } {
    const epoch = Math.floor(turn / sequences);
    const order = shuffled.shards(epoch);
    const rest = turn % sequences;
    const shortRank = order.indexOf(last);
    // The shard that may be shorter moves those after it forward.
    const short = shards[last]?.sequences ?? each;
    const shifted = rest < shortRank * each + short ? rest : rest + each - short;
    return { epoch, order, rank: Math.floor(shifted / each), within: shifted % each };
  }

  return {
    at(turn: number): { index: number; shard: number } {
      const { epoch, order, rank, within } = locate(turn);
      const shard = order[rank] as number;
      return { shard, index: shard * each + (shuffled.sequences(epoch, shard)[within] as number) };
    },
    shardAfter(turn: number): number {
      const { epoch, order, rank } = locate(turn);
      return order[rank + 1] ?? (shuffled.shards(epoch + 1)[0] as number);
    },
  };
}

/** Keeps the orders that were asked for last: of shards for two epochs, of sequences for one shard. */
function remember(shuffle: (epoch: number, part: number) => number[]) {
  const orders = new Map<number, number[]>();
  let current: { key: string; order: number[] } | undefined;
  return {
    shards(epoch: number): number[] {
      const known = orders.get(epoch) ?? shuffle(epoch, -1);
      orders.set(epoch, known);
      for (const old of orders.keys()) if (orders.size > 2 && old !== epoch) orders.delete(old);
      return known;
    },
    sequences(epoch: number, shard: number): number[] {
      const key = `${epoch}/${shard}`;
      if (current?.key !== key) current = { key, order: shuffle(epoch, shard) };
      return current.order;
    },
  };
}

function seedOf(seed: Hash, ...numbers: number[]): Hash {
  return hashFields("connito/walk/1", hashToBytes(seed), ...numbers.map(u32));
}
