/** Arrays in one arena of the kernels, which computations on tensors take turns in: memory for the largest tensor, however many tensors, groups and tries there are. */

import { exclusive } from "../../engine/exclusive.ts";
import { openArena } from "../../kernels/module.ts";
import type { Values } from "../../model/tensors.ts";

export interface Workplace {
  /** One computation at a time; it is given the arrays, each `length` long, with what the last one left in them. */
  use<T>(length: number, work: (places: readonly Values[]) => Promise<T>): Promise<T>;
}

/** Room for `count` arrays of up to `largest` values. */
export function openWorkplace(count: number, largest: number): Workplace {
  const arena = openArena(count * largest, count);
  const places = Array.from({ length: count }, () => arena.take(largest));
  const one = exclusive();
  return {
    use: (length, work) => one(() => work(places.map((place) => place.subarray(0, length)))),
  };
}

/** The number of values of the largest of some tensors. */
export function largestOf(sizes: ReadonlyMap<string, number>): number {
  return Math.max(0, ...sizes.values());
}
