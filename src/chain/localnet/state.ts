/**
 * The storage along the line of best blocks: for each key the blocks at which it changed, as far back as anybody may ask. Reading at
 * a past block is a binary search. A reorganisation takes blocks off the end, pruning forgets what only older blocks need.
 */

import type { Hex } from "./metadata/scale.ts";
import type { Changes, StateReader } from "./runtime/ledger.ts";

interface Version {
  readonly block: number;
  readonly value: Hex | undefined;
}

export interface StateView extends StateReader {
  /** Up to `count` keys with the prefix that follow `after`, in order. */
  page(prefix: Hex, count: number, after: Hex | undefined): Hex[];
}

export interface State {
  /** Adds the changes of the block after the last one added. */
  commit(block: number, changes: Changes): void;
  /** Takes the last block added off again. */
  revert(block: number): void;
  /** Forgets what is needed only below this block. To be called for every block, in order. */
  prune(block: number): void;
  at(block: number): StateView;
  /** Every key and value at a block. */
  whole(block: number): Changes;
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

/** How many of the versions are of this block or an earlier one. */
function versionsUpTo(versions: readonly Version[], block: number): number {
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
  return low;
}

export function createState(): State {
  const history = new Map<Hex, Version[]>();
  const sorted: Hex[] = [];
  /** Keys with a version of the block, of the blocks that are not pruned. */
  const changed = new Map<number, Hex[]>();

  const valueAt = (key: Hex, block: number): Hex | undefined => {
    const versions = history.get(key);
    return versions?.[versionsUpTo(versions, block) - 1]?.value;
  };

  function forget(key: Hex): void {
    history.delete(key);
    sorted.splice(lowerBound(sorted, key), 1);
  }

  function page(block: number, prefix: Hex, count: number, after: Hex | undefined): Hex[] {
    const found: Hex[] = [];
    const start = after === undefined || after < prefix ? lowerBound(sorted, prefix) : lowerBound(sorted, `${after}0`);
    for (let index = start; index < sorted.length && found.length < count; index++) {
      const key = sorted[index] as Hex;
      if (!key.startsWith(prefix)) {
        break;
      }
      if (valueAt(key, block) !== undefined) {
        found.push(key);
      }
    }
    return found;
  }

  return {
    commit(block, changes) {
      const keys: Hex[] = [];
      for (const [key, value] of changes) {
        const versions = history.get(key);
        if (versions === undefined) {
          if (value === undefined) {
            continue;
          }
          history.set(key, [{ block, value }]);
          sorted.splice(lowerBound(sorted, key), 0, key);
        } else if (versions.at(-1)?.value === value) {
          continue;
        } else {
          versions.push({ block, value });
        }
        keys.push(key);
      }
      changed.set(block, keys);
    },
    revert(block) {
      for (const key of changed.get(block) ?? []) {
        const versions = history.get(key) as Version[];
        versions.pop();
        if (versions.length === 0) {
          forget(key);
        }
      }
      changed.delete(block);
    },
    prune(block) {
      for (const key of changed.get(block) ?? []) {
        const versions = history.get(key) as Version[];
        versions.splice(0, versionsUpTo(versions, block) - 1);
        if (versions.length === 1 && versions[0]?.value === undefined) {
          forget(key);
        }
      }
      changed.delete(block);
    },
    at: (block) => ({
      read: (key) => valueAt(key, block),
      keys: (prefix) => page(block, prefix, Number.POSITIVE_INFINITY, undefined),
      page: (prefix, count, after) => page(block, prefix, count, after),
    }),
    whole: (block) => new Map(page(block, "0x", Number.POSITIVE_INFINITY, undefined).map((key) => [key, valueAt(key, block)])),
  };
}
