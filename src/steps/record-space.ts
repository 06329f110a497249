/**
 * How many bytes of the chain's space for commitments a role's records take in an epoch, told from the task alone. Where it is more than
 * the chain allows, records wait for the next epoch and miss their windows: better known before the first cycle than in it.
 */

import { spaceOf } from "../chain/commitments.ts";
import { cycleLength } from "../protocol/clock.ts";
import { type LocatorKind, maximumRecordBytes, recordBytes } from "../protocol/records.ts";
import type { Task } from "../protocol/task.ts";

/** The records with a locator that a role writes in each cycle. A miner's commit record comes on top. */
const recordsOf = { miner: ["reveal"], validator: ["report", "ballot", "version"] } as const satisfies Record<
  string,
  readonly LocatorKind[]
>;

export interface SpaceNeeded {
  /** In a cycle. */
  readonly records: number;
  /** The most bytes that an epoch can have to hold, wherever in it the cycles begin. */
  readonly bytes: number;
}

/**
 * @param locator without one the longest that fits is reckoned with
 * @param tempo the subnet's; an epoch is one block longer
 */
export function spaceNeeded(
  task: Pick<Task, "cycle">,
  { role, locator, tempo }: { readonly role: "miner" | "validator"; readonly locator?: string | undefined; readonly tempo: number },
): SpaceNeeded {
  const carrying = recordsOf[role].map((kind) => spaceOf(locator === undefined ? maximumRecordBytes : recordBytes(kind, locator)));
  const records = role === "miner" ? [...carrying, spaceOf(0)] : carrying;
  const length = cycleLength(task);
  const whole = Math.floor((tempo + 1) / length);
  // In the blocks that are left over, one record a block, of the cycle before or after.
  const others = records.slice(0, (tempo + 1) % length);
  return { records: records.length, bytes: whole * sum(records) + sum(others) };
}

const sum = (bytes: readonly number[]): number => bytes.reduce((total, one) => total + one, 0);
