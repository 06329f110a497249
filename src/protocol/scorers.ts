/**
 * Which validators score which group (docs/protocol.md, section 8): drawn by stake with a seed that nobody knew before the reveal, so that
 * a miner cannot choose its judges. Drawn by group, because copies are found, and deltas averaged, among the submissions of one group.
 */
import { type Hash, hashFields, hashToBytes, u16 } from "./hash.ts";
import type { Hotkey } from "./hotkey.ts";
import { type Stream, stream } from "./random.ts";

export interface Staked {
  readonly hotkey: Hotkey;
  /** In rao. */
  readonly stake: bigint;
}

/**
 * The scorers of each group: `count` different validators (all where there are no more), drawn one after another, each with a chance in
 * proportion to its stake among those that are left; a validator without stake counts as one rao. Each group's list is in the order drawn.
 */
export function drawScorers(input: {
  readonly seed: Hash;
  readonly validators: readonly Staked[];
  readonly groups: number;
  readonly count: number;
}): Hotkey[][] {
  const ordered = [...input.validators].sort((a, b) => (a.hotkey < b.hotkey ? -1 : 1));
  return Array.from({ length: input.groups }, (_, group) => {
    const random = stream(hashFields("connito/scorers/1", hashToBytes(input.seed), u16(group)));
    const left = ordered.map(({ hotkey, stake }) => ({ hotkey, stake: stake > 0n ? stake : 1n }));
    const drawn: Hotkey[] = [];
    while (drawn.length < input.count && left.length > 0) {
      const [chosen] = left.splice(drawOne(random, left), 1);
      drawn.push((chosen as Staked).hotkey);
    }
    return drawn;
  });
}

/** `floor(x * total / 2^64)` for the next two words x of the stream is a point on the line of all stakes; whose it is, is drawn. */
function drawOne(random: Stream, from: readonly Staked[]): number {
  const total = from.reduce((sum, { stake }) => sum + stake, 0n);
  const low = BigInt(random.uniform(2 ** 32));
  const high = BigInt(random.uniform(2 ** 32));
  let point = (((high << 32n) + low) * total) >> 64n;
  return from.findIndex(({ stake }) => {
    point -= stake;
    return point < 0n;
  });
}
