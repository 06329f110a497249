/**
 * From agreed scores to the weights on the chain (docs/protocol.md, section 9). Only integers take part, so that every validator
 * that agrees on the scores sets the same weights.
 */
import { ConnitoError } from "../errors.ts";
import type { Hotkey } from "./hotkey.ts";

export const largestWeight = 65_535;

export interface CycleScores {
  readonly cycle: number;
  /** Agreed scores in whole micro-nats per token of everybody who was assigned; who was not, or could not be scored, is absent. */
  readonly scores: ReadonlyMap<Hotkey, number>;
}

export interface Weight {
  readonly uid: number;
  /** 1 .. 65535 */
  readonly weight: number;
}

/**
 * What each miner earned over the `window` cycles that end with `cycle`: the sum of its scores, divided by the cycles since it first
 * appears in them plus half a window. So a newcomer need not wait for a whole window, and one lucky cycle is not yet believed; an absent
 * cycle counts as 0 once a miner has begun. Scaled so that the largest is 65,535 and rounded down. Scores of hotkeys without a uid do not
 * count. Rising by uid; weights of 0 are left out, which is what they mean on the chain; empty when nobody scored.
 */
export function weightsOf(history: readonly CycleScores[], window: number, cycle: number, uids: ReadonlyMap<Hotkey, number>): Weight[] {
  const earned = new Map<Hotkey, { sum: bigint; first: number }>();
  const seen = new Set<number>();
  for (const entry of history) {
    if (entry.cycle > cycle || entry.cycle <= cycle - window) continue;
    if (seen.has(entry.cycle)) throw new Error(`cycle ${entry.cycle} appears twice in the history of scores`);
    seen.add(entry.cycle);
    for (const [hotkey, score] of entry.scores) {
      if (!uids.has(hotkey)) continue;
      if (!Number.isSafeInteger(score) || score < 0) throw invalidScore(hotkey, score);
      const { sum, first } = earned.get(hotkey) ?? { sum: 0n, first: entry.cycle };
      earned.set(hotkey, { sum: sum + BigInt(score), first: Math.min(first, entry.cycle) });
    }
  }
  // sum / (cycles + window / 2), as a whole number of 2^-32 micro-nats.
  const values = [...earned].map(([hotkey, { sum, first }]) => {
    const cycles = cycle - first + 1;
    return { uid: uids.get(hotkey) as number, value: (sum << 33n) / BigInt(2 * cycles + window) };
  });
  const largest = values.map(({ value }) => value).reduce(larger, 0n);
  if (largest === 0n) return [];
  return values
    .map(({ uid, value }) => ({ uid, weight: Number((value * BigInt(largestWeight)) / largest) }))
    .filter(({ weight }) => weight > 0)
    .sort((a, b) => a.uid - b.uid);
}

function larger(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

function invalidScore(hotkey: Hotkey, score: number): ConnitoError {
  return new ConnitoError(`The score of ${hotkey} is ${score}, not whole micro-nats`, {
    code: "score-invalid",
    exit: "verification",
    hint: "Agreed scores are whole numbers from 0; look at the reports they were made from.",
  });
}
