/**
 * Proof-of-Loss (docs/protocol.md, section 8): what a submission is worth, from its losses and the base's on the same held-out sequences.
 * A sequential test: sequences are added in stages until it is clear whether there is a gain and how large it is, and the error that the
 * task allows is shared among the stages, so that looking several times does not pay for noise more often than looking once.
 */
import { ConnitoError } from "../errors.ts";
import { studentQuantile } from "./quantile.ts";
import type { Task } from "./task.ts";

/** The largest score that counts, so that sums of scores stay exact: 1,000 nats per token. */
export const largestScore = 1_000_000_000;

/** How often at most, at one look, a submission is given up whose true gain is what the last stage would just pay. */
const giveUpRate = 0.05;

export interface Gain {
  /** Mean gain in nats per token. */
  readonly mean: number;
  /** Sample standard deviation of the gain over the sequences. */
  readonly deviation: number;
  /** One-sided confidence bound of the mean, wrong with probability `error`. */
  readonly lower: number;
}

/**
 * The mean of the paired gains `base - candidate`, with Student's bound. Losses are means in nats per token, sequence by sequence, in the
 * same order. Throws `loss-not-finite` when any is NaN or infinite: of the candidate that is the status `non-finite`, of the base it is the
 * validator's own trouble.
 */
export function gainOf(baseLosses: ArrayLike<number>, candidateLosses: ArrayLike<number>, error: number): Gain {
  const count = baseLosses.length;
  if (count !== candidateLosses.length || count < 2) {
    throw new Error(`cannot score ${count} base losses against ${candidateLosses.length} candidate losses`);
  }
  const gains = Array.from(baseLosses, (base, index) => base - (candidateLosses[index] as number));
  if (!gains.every(Number.isFinite)) {
    throw new ConnitoError("A loss is NaN or infinite", {
      code: "loss-not-finite",
      exit: "verification",
      hint: "The submission's weights overflow in the model; it earns the status non-finite.",
    });
  }
  const mean = sum(gains) / count;
  const squares = sum(gains.map((gain) => (gain - mean) ** 2));
  const deviation = Math.sqrt(squares / (count - 1));
  return { mean, deviation, lower: mean - margin(error, deviation, count) };
}

/** By how much the mean of so many gains is off, to one side, with probability `error`. */
function margin(error: number, deviation: number, count: number): number {
  return (studentQuantile(error, count - 1) * deviation) / Math.sqrt(count);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** A gain in nats per token as a score: whole micro-nats, rounded down, never below 0 nor above the largest score. */
export function scoreOf(gain: number): number {
  return Math.min(Math.max(Math.floor(1e6 * gain), 0), largestScore);
}

export interface Judgement {
  readonly status: "accepted" | "no-gain" | "non-finite";
  /** What the report says: the lower bound in micro-nats when accepted, else 0. */
  readonly score: number;
  /** Sequences that it took. */
  readonly sequences: number;
}

export interface Evidence {
  readonly task: Pick<Task, "evaluation">;
  /** Losses on all sequences of the stages so far. The base's must be finite (`loss-not-finite` otherwise). */
  readonly baseLosses: ArrayLike<number>;
  readonly candidateLosses: ArrayLike<number>;
  /** Stages measured so far, and how many sequences each that was drawn adds. */
  readonly stage: number;
  readonly stages: readonly number[];
}

/**
 * The last three statuses of the verdict, or `undefined` when another stage has to be measured. It is clear that a submission gains once the
 * lower bound is the minimum score or more and at least half of the mean. It is given up when the last stage would not pay even for the most that it may
 * gain, its upper bound: so what the last stage would pay is seldom lost to the noise of the first. After the last stage the lower bound decides.
 */
export function judge({ task, baseLosses, candidateLosses, stage, stages }: Evidence): Judgement | undefined {
  const { errorRate, minimumScore } = task.evaluation;
  const sequences = baseLosses.length;
  const baseIsFinite = Array.from(baseLosses).every(Number.isFinite);
  if (baseIsFinite && !Array.from(candidateLosses).every(Number.isFinite)) return { status: "non-finite", score: 0, sequences };
  const { mean, deviation, lower } = gainOf(baseLosses, candidateLosses, errorRate / stages.length);
  const score = scoreOf(lower);
  const accepted: Judgement = { status: "accepted", score, sequences };
  const refused: Judgement = { status: "no-gain", score: 0, sequences };
  if (stage >= stages.length) return score >= minimumScore ? accepted : refused;
  if (score >= minimumScore && 2 * lower >= mean) return accepted;
  const upper = mean + margin(giveUpRate, deviation, sequences);
  const leastPaid = minimumScore / 1e6 + margin(errorRate / stages.length, deviation, sum(stages));
  return upper < leastPaid ? refused : undefined;
}
