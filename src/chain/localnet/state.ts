/**
 * The storage of every block that was ever made: for each key the blocks at which it changed. Reading at a past block is a
 * binary search; nothing is pruned.
 */

import type { Hex } from "./metadata/scale.ts";
import type { Changes, StateReader } from "./runtime/ledger.ts";

interface Version {
  readonly block: number;
  readonly value: Hex | undefined;
}

export interface State {
  /** Adds the changes of the block after the last one added. */
  commit(block: number, changes: Changes): void;
  at(block: number): StateReader & {
    /** Up to `count` keys with the prefix that follow `after`, in order. */
    page(prefix: Hex, count: number, after: Hex | undefined): Hex[];
  };
}

/** Index of the first of the sorted keys that is not below the given one. */
function lowerBound(sorted: readonly string[], key: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as string) < key) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

function valueAt(versions: readonly Version[] | undefined, block: number): Hex | undefined {
  if (versions === undefined) {
    return undefined;
  }
  let low = 0;
  let high = versions.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((versions[middle] as Version).block <= block) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low === 0 ? undefined : versions[low - 1]?.value;
}

export function createState(): State {
  const history = new Map<Hex, Version[]>();
  const sorted: Hex[] = [];

  return {
    commit(block, changes) {
      for (const [key, value] of changes) {
        const versions = history.get(key);
        if (versions === undefined) {
          if (value !== undefined) {
            history.set(key, [{ block, value }]);
            sorted.splice(lowerBound(sorted, key), 0, key);
          }
        } else if (versions.at(-1)?.value !== value) {
          versions.push({ block, value });
        }
      }
    },
    at(block) {
      const page = (prefix: Hex, count: number, after: Hex | undefined): Hex[] => {
        const found: Hex[] = [];
        const start = after === undefined || after < prefix ? lowerBound(sorted, prefix) : lowerBound(sorted, `${after}0`);
        for (let index = start; index < sorted.length && found.length < count; index++) {
          const key = sorted[index] as Hex;
          if (!key.startsWith(prefix)) {
            break;
          }
          if (valueAt(history.get(key), block) !== undefined) {
            found.push(key);
          }
        }
        return found;
      };
      return {
        read: (key) => valueAt(history.get(key), block),
        keys: (prefix) => page(prefix, Number.POSITIVE_INFINITY, undefined),
        page,
      };
    },
  };
}
