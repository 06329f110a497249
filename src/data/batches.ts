/**
 * Batches from several domains. Domains take turns, whatever their sizes, because evaluation weighs them equally; each goes through its own
 * order, and from the beginning again when that ends.
 */

import type { Stream } from "../protocol/random.ts";

/** The sequences at the places `first` to `first + count - 1` of an endless walk through the domains. */
export type Batches = (first: number, count: number) => Int32Array[];

/** A walk through the domains' sequences in orders drawn from the stream. Every domain has at least one sequence. */
export function createBatches(domains: readonly (readonly Int32Array[])[], random: Stream): Batches {
  const orders = domains.map((sequences) => random.shuffle(sequences.length));
  return (first, count) =>
    Array.from({ length: count }, (_, index) => {
      const turn = Math.floor((first + index) / domains.length);
      const domain = (first + index) % domains.length;
      const order = orders[domain] as number[];
      return domains[domain]?.[order[turn % order.length] as number] as Int32Array;
    });
}
