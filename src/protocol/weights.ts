/**
 * From agreed scores to the weights on the chain (docs/protocol.md, section 9). Only integers take part, so that every validator
 * that agrees on the scores sets the same weights.
 */
import { ConnitoError } from "../errors.ts";
import type { Hotkey } from "./hotkey.ts";

export const largestWeight = 65_535;

export interface CycleScores {
  readonly cycle: number;
  /** Agreed scores in whole micro-nats per token; whoever is absent has 0. */
  readonly scores: ReadonlyMap<Hotkey, number>;
}

export interface Weight {
  readonly uid: number;
  /** 1 .. 65535 */
  readonly weight: number;
}

/**
 * The mean of each miner's agreed scores over the `window` cycles that end with `cycle`, scaled so that the largest is 65,535 and
 * rounded down. Scores of hotkeys without a uid do not count. Rising by uid; weights of 0 are left out, which is what they mean on the
 * chain; empty when nobody scored.
 */
export function weightsOf(history: readonly CycleScores[], window: number, cycle: number, uids: ReadonlyMap<Hotkey, number>): Weight[] {
  const sums = new Map<number, bigint>();
  const seen = new Set<number>();
  for (const entry of history) {
    if (entry.cycle > cycle || entry.cycle <= cycle - window) continue;
    if (seen.has(entry.cycle)) throw new Error(`cycle ${entry.cycle} appears twice in the history of scores`);
    seen.add(entry.cycle);
    for (const [hotkey, score] of entry.scores) {
      const uid = uids.get(hotkey);
      if (uid === undefined) continue;
      if (!Number.isSafeInteger(score) || score < 0) throw invalidScore(hotkey, score);
      sums.set(uid, (sums.get(uid) ?? 0n) + BigInt(score));
    }
  }
  // The mean divides every sum by the window alike, which the scaling takes out again.
  const largest = [...sums.values()].reduce((most, sum) => (sum > most ? sum : most), 0n);
  if (largest === 0n) return [];
  return [...sums]
    .map(([uid, sum]) => ({ uid, weight: Number((sum * BigInt(largestWeight)) / largest) }))
    .filter(({ weight }) => weight > 0)
    .sort((a, b) => a.uid - b.uid);
}

function invalidScore(hotkey: Hotkey, score: number): ConnitoError {
  return new ConnitoError(`The score of ${hotkey} is ${score}, not whole micro-nats`, {
    code: "score-invalid",
    exit: "verification",
    hint: "Agreed scores are whole numbers from 0; look at the reports they were made from.",
  });
}
