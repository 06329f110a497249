/**
 * A subnet's epochs by the chain's arithmetic: an epoch is `tempo + 1` blocks long, and subnets are shifted against each other by their number.
 * (Subtensor: `get_epoch_index`, `get_first_block_of_epoch`.)
 */

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
