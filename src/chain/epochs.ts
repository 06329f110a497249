/**
 * A subnet's epochs as its chain reckons them. Older runtimes number them by arithmetic: each is `tempo + 1` blocks long, and subnets are shifted against
 * each other by their number (Subtensor: `get_epoch_index`, `get_first_block_of_epoch`). Newer ones count them (`SubnetEpochIndex`): the next comes
 * `tempo` blocks after the last, or where the subnet's owner put it, so that only a look at the chain tells.
 */
import type { State } from "./state.ts";

export interface EpochClock {
  readonly netuid: number;
  /** Blocks; the subnet's hyperparameter. */
  readonly tempo: number;
}

export function epochAt({ netuid, tempo }: EpochClock, block: number): number {
  return Math.floor((block + netuid + 1) / (tempo + 1));
}

/** The first block of an epoch. */
export function firstBlockOf({ netuid, tempo }: EpochClock, epoch: number): number {
  return Math.max(0, epoch * (tempo + 1) - (netuid + 1));
}

/** A subnet's epochs, seen from a block; on a chain that counts them, those to come are what its hyperparameters promise now. */
export interface Epochs {
  /** Whether the chain counts them; what it stores of a weights commit has another order then. */
  readonly counted: boolean;
  /** The epoch of what is sent in a block. */
  at(block: number): number;
  /** The first block of an epoch. */
  firstBlockOf(epoch: number): number;
}

export interface EpochCount {
  /** The block at which the rest was read. */
  readonly block: number;
  readonly tempo: number;
  /** The epoch of that block, and the block in which it began. */
  readonly index: number;
  readonly last: number;
  /** Where the owner put the next, 0 for nowhere. */
  readonly pending: number;
}

export function countedEpochs({ block, tempo, index, last, pending }: EpochCount): Epochs {
  const period = Math.max(1, tempo);
  const planned = pending > 0 ? Math.min(pending, last + tempo) : last + tempo;
  // one that is due may be put off by a block or two, since a block has room for a few only; with tempo 0 there is none
  const next = tempo === 0 ? Number.POSITIVE_INFINITY : Math.max(block + 1, planned);
  return {
    counted: true,
    at: (asked) => {
      if (asked >= next) return index + 1 + Math.floor((asked - next) / period);
      return asked >= last ? index : index - Math.ceil((last - asked) / period);
    },
    firstBlockOf: (epoch) => (epoch > index ? next + (epoch - index - 1) * period : Math.max(0, last - (index - epoch) * period)),
  };
}

/** In one round trip. */
export async function readEpochs(state: State, netuid: number): Promise<Epochs> {
  if (!state.codecs.hasStorage("SubtensorModule", "SubnetEpochIndex")) {
    const [tempo] = await state.values<[number]>(["SubtensorModule", "Tempo", netuid]);
    const clock = { netuid, tempo };
    return { counted: false, at: (block) => epochAt(clock, block), firstBlockOf: (epoch) => firstBlockOf(clock, epoch) };
  }
  const [tempo, index, last, pending] = await state.values<[number, bigint, bigint, bigint]>(
    ["SubtensorModule", "Tempo", netuid],
    ["SubtensorModule", "SubnetEpochIndex", netuid],
    ["SubtensorModule", "LastEpochBlock", netuid],
    ["SubtensorModule", "PendingEpochAt", netuid],
  );
  return countedEpochs({ block: state.number, tempo, index: Number(index), last: Number(last), pending: Number(pending) });
}
