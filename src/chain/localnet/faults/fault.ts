/**
 * The faults that a localnet can be told to have. What a public node does to its clients sooner or later, on command: each lasts for a
 * count of transactions, blocks or seconds and ends by itself.
 */

import * as v from "valibot";

const count = v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(1_000_000)), 1);
const blocks = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(100_000));
const seconds = v.pipe(v.number(), v.minValue(0), v.maxValue(3600));

/** Why a pool refuses, with the code that Substrate gives it. */
export const refusals = {
  invalid: 1010,
  unknown: 1011,
  banned: 1012,
  priority: 1014,
  full: 1016,
} as const;

export type Refusal = keyof typeof refusals;

export const faultSchema = v.variant("kind", [
  /** A longer branch comes that leaves the best line `depth` blocks below the head. */
  v.strictObject({
    kind: v.literal("fork"),
    depth: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(1000)), 1),
    /** What becomes of the transactions that only the lost blocks held. */
    transactions: v.optional(v.picklist(["return", "vanish"]), "return"),
  }),
  /** The next transactions are accepted, and lost without a word. */
  v.strictObject({ kind: v.literal("drop"), count }),
  /** The next transactions are accepted, and wait so many blocks before one includes them. */
  v.strictObject({ kind: v.literal("hold"), count, blocks }),
  /** The pool refuses the next transactions. */
  v.strictObject({ kind: v.literal("refuse"), count, reason: v.optional(v.picklist(Object.keys(refusals) as Refusal[]), "full") }),
  /** Every answer comes so much later. */
  v.strictObject({ kind: v.literal("delay"), milliseconds: v.pipe(v.number(), v.minValue(1), v.maxValue(60_000)), seconds }),
  /** A connection that asks more than this gets errors. */
  v.strictObject({ kind: v.literal("rate-limit"), perSecond: v.pipe(v.number(), v.minValue(0), v.maxValue(100_000)), seconds }),
  /** Finality stays where it is while the head moves on by so many blocks. */
  v.strictObject({ kind: v.literal("stall-finality"), blocks }),
  /** So many blocks come at once, as from a node that catches up. */
  v.strictObject({ kind: v.literal("burst"), blocks: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(10_000)) }),
  /** No block is made. */
  v.strictObject({ kind: v.literal("stall-blocks"), seconds }),
  /** Every connection breaks, and none is accepted for so long. */
  v.strictObject({ kind: v.literal("disconnect"), seconds: v.optional(seconds, 0) }),
  /** The node goes away and comes back on the same port with its blocks, and without its pool. */
  v.strictObject({ kind: v.literal("restart"), seconds: v.optional(seconds, 1) }),
  /** Ends every fault that lasts. */
  v.strictObject({ kind: v.literal("heal") }),
]);

/** As it is asked for, where what has a default may be left out. */
export type Fault = v.InferInput<typeof faultSchema>;
export type CheckedFault = v.InferOutput<typeof faultSchema>;
export type FaultKind = Fault["kind"];

export const faultKinds: readonly FaultKind[] = faultSchema.options.map(({ entries }) => entries.kind.literal);
