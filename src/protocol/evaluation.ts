/**
 * Proof-of-Loss (docs/protocol.md, section 8): which held-out sequences are drawn, and what a submission's losses on them are worth.
 */
import { ConnitoError } from "../errors.ts";
import type { Hash } from "./hash.ts";
import { stream } from "./random.ts";
import type { Task } from "./task.ts";

export interface DrawnSequence {
  /** Place of the domain in the task. */
  readonly domain: number;
  /** Place of the sequence in the domain's held-out data. */
  readonly index: number;
}

/**
 * The sequences of a cycle: `evaluation.sequencesPerDomain` from each domain in the task's order, one stream for all. `available` is
 * the number of sequences in each domain's held-out data. Throws `held-out-too-short` naming the domain.
 */
export function drawSequences(input: {
  readonly task: Pick<Task, "data" | "evaluation">;
  readonly seed: Hash;
  readonly available: readonly number[];
}): DrawnSequence[] {
  const { task, available } = input;
  const wanted = task.evaluation.sequencesPerDomain;
  const random = stream(input.seed);
  return task.data.domains.flatMap(({ name }, domain) => {
    const has = available[domain] ?? 0;
    if (has < wanted) {
      throw new ConnitoError(`The held-out data of ${name} have ${has} sequences; the task draws ${wanted}`, {
        code: "held-out-too-short",
        exit: "invalidInput",
        hint: "Give the domain more held-out data, or lower evaluation.sequencesPerDomain or data.sequenceLength in the task.",
      });
    }
    return random.draw(wanted, has).map((index) => ({ domain, index }));
  });
}

export interface Score {
  /** Whole micro-nats per token, 0 or more. */
  readonly score: number;
  /** Mean gain in nats per token. */
  readonly mean: number;
  /** Sample standard deviation of the gain over the sequences. */
  readonly deviation: number;
}

/** The largest score that counts, so that sums of scores stay exact: 1,000 nats per token. */
export const largestScore = 1_000_000_000;

/**
 * The lower confidence bound of the paired gain `base - candidate`, in micro-nats per token, never below 0. Losses are means in nats
 * per token, sequence by sequence, in the same order. Throws `loss-not-finite` when any is NaN or infinite: of the candidate that is
 * the status `non-finite`, of the base it is the validator's own trouble.
 */
export function scoreOf(baseLosses: ArrayLike<number>, candidateLosses: ArrayLike<number>, z: number): Score {
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
  const mean = gains.reduce((sum, gain) => sum + gain, 0) / count;
  const squares = gains.reduce((sum, gain) => sum + (gain - mean) ** 2, 0);
  const deviation = Math.sqrt(squares / (count - 1));
  const bound = Math.floor(1e6 * (mean - (z * deviation) / Math.sqrt(count)));
  return { score: Math.min(Math.max(bound, 0), largestScore), mean, deviation };
}

export interface Judgement extends Partial<Score> {
  readonly status: "accepted" | "no-gain" | "non-finite";
  /** What the report says: the score when accepted, else 0. */
  readonly score: number;
}

/** The last three statuses of the verdict, from losses. The base's must be finite (`loss-not-finite` otherwise). */
export function judgeLosses(input: {
  readonly task: Pick<Task, "evaluation">;
  readonly baseLosses: ArrayLike<number>;
  readonly candidateLosses: ArrayLike<number>;
}): Judgement {
  const { confidence, minimumScore } = input.task.evaluation;
  const baseIsFinite = Array.from(input.baseLosses).every(Number.isFinite);
  if (baseIsFinite && !Array.from(input.candidateLosses).every(Number.isFinite)) return { status: "non-finite", score: 0 };
  const { score, mean, deviation } = scoreOf(input.baseLosses, input.candidateLosses, confidence);
  return score < minimumScore ? { status: "no-gain", score: 0, mean, deviation } : { status: "accepted", score, mean, deviation };
}
