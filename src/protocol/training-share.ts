/**
 * Who trains on what (docs/protocol.md, section 5): in each cycle the miners of a group divide a domain's training data among themselves,
 * so that no two learn from the same sequences and each fetches few shards.
 */
import { type Hash, hashFields, hashToBytes, u16, u32 } from "./hash.ts";
import { stream } from "./random.ts";
import type { TokenData } from "./token-data.ts";

/** Neighbouring sequences of one shard. */
export interface Run {
  readonly shard: number;
  /** The first one's number in the data. */
  readonly first: number;
  readonly sequences: number;
}

/** How many sequences a share has. */
export function sequencesIn(share: readonly Run[]): number {
  return share.reduce((sum, { sequences }) => sum + sequences, 0);
}

type Shards = Pick<TokenData, "sequences" | "shards">;

export interface ShareOf {
  readonly taskHash: Hash;
  readonly cycle: number;
  readonly group: number;
  /** The domain's place in the task. */
  readonly domain: number;
  /** The miner's place among the `miners` of the group, in the order of the assignment. */
  readonly miner: number;
  readonly miners: number;
}

/** All of the data, shard by shard. */
export function wholeShare({ shards }: Pick<TokenData, "shards">): Run[] {
  const each = shards[0]?.sequences ?? 0;
  return shards.map(({ sequences }, shard) => ({ shard, first: shard * each, sequences }));
}

/**
 * A miner's share of a domain's training data: shards in an order that is new in each cycle, and of the sequences as they then lie one
 * after another its part. Shares differ by at most one sequence and share none, unless there are fewer sequences than miners: then some
 * have one that another has too.
 */
export function trainingShare(data: Shards, { taskHash, cycle, group, domain, miner, miners }: ShareOf): Run[] {
  const seed = hashFields("connito/share/1", hashToBytes(taskHash), u32(cycle), u16(group), u32(domain));
  const runs = wholeShare(data);
  const begin = Math.floor((miner * data.sequences) / miners);
  const end = Math.max(begin + 1, Math.floor(((miner + 1) * data.sequences) / miners));
  const share: Run[] = [];
  let at = 0;
  for (const index of stream(seed).shuffle(runs.length)) {
    const { shard, first, sequences } = runs[index] as Run;
    const [from, to] = [Math.max(begin, at), Math.min(end, at + sequences)];
    if (from < to) share.push({ shard, first: first + from - at, sequences: to - from });
    at += sequences;
  }
  return share;
}
