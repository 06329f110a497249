/**
 * A set of documents by the hash of their content, in 8 bytes each (16 with the room that a hash table needs), so that it can hold as many
 * as a held-out side ever has. Two documents are the same when their texts are, but for space around them; that two different
 * ones have the same 64 bits happens to one in 10^19 pairs.
 */
import { createHash } from "node:crypto";

export interface DocumentKey {
  readonly high: number;
  readonly low: number;
}

/** The first 64 bits of SHA-256 over the text without space around it, as UTF-8, as two u32. */
export function documentKey(text: string): DocumentKey {
  const digest = createHash("sha256").update(text.trim(), "utf8").digest();
  return { high: digest.readUInt32BE(0), low: digest.readUInt32BE(4) };
}

/** Where a document falls between 0 and 1: the same on every machine, for every order and company of documents. */
export function positionOf({ high }: DocumentKey): number {
  return high / 2 ** 32;
}

export interface DocumentSet {
  readonly size: number;
  add(key: DocumentKey): void;
  has(key: DocumentKey): boolean;
}

export function createDocumentSet(): DocumentSet {
  let slots = new Uint32Array(2 * 1024);
  let size = 0;

  /** The slot of the key, or the free one where it belongs. No key is 0: that is what a free slot holds. */
  function find(table: Uint32Array, high: number, low: number): number {
    const mask = table.length / 2 - 1;
    for (let slot = low & mask; ; slot = (slot + 1) & mask) {
      const [a, b] = [table[2 * slot] as number, table[2 * slot + 1] as number];
      if ((a === 0 && b === 0) || (a === high && b === low)) return slot;
    }
  }

  function isFree(table: Uint32Array, slot: number): boolean {
    return table[2 * slot] === 0 && table[2 * slot + 1] === 0;
  }

  function insert(table: Uint32Array, high: number, low: number): boolean {
    const slot = find(table, high, low);
    if (!isFree(table, slot)) return false;
    table[2 * slot] = high;
    table[2 * slot + 1] = low;
    return true;
  }

  return {
    get size() {
      return size;
    },
    add({ high, low }) {
      if (insert(slots, high, low || 1)) size += 1;
      if (4 * size < slots.length) return;
      const larger = new Uint32Array(2 * slots.length);
      for (let at = 0; at < slots.length; at += 2) {
        const [a, b] = [slots[at] as number, slots[at + 1] as number];
        if (a !== 0 || b !== 0) insert(larger, a, b);
      }
      slots = larger;
    },
    has: ({ high, low }) => !isFree(slots, find(slots, high, low || 1)),
  };
}
