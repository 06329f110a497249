/**
 * The held-out sequences of a cycle (docs/protocol.md, section 8): a fixed split of each domain's held-out data, so that no sequence ever
 * serves two purposes, and the draw among those that are for scoring and for the gate, with a seed that nobody knew before the reveal.
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
 * What a held-out sequence is for, by its place modulo 16. `watch`: the owner's measurement of the model's health, which nothing is
 * chosen by. `open`: shown to miners after a cycle, so that they can check their scores; never paid for. `pool`: drawn from.
 */
export type HeldOutPart = "watch" | "open" | "pool";

/** Open sequences that are shown of each domain in a cycle, at most: enough to check a computation by. */
const shownSequences = 8;
const splitPeriod = 16;
const watchPlaces = 3;

/** The part that the sequence at this place of its domain's held-out text belongs to, in every task and cycle. */
export function heldOutPart(index: number): HeldOutPart {
  const place = index % splitPeriod;
  return place < watchPlaces ? "watch" : place === watchPlaces ? "open" : "pool";
}

/** The places of one part among the first `count` sequences, rising. */
export function placesOf(part: HeldOutPart, count: number): number[] {
  return Array.from({ length: count }, (_, index) => index).filter((index) => heldOutPart(index) === part);
}

export interface DrawnSequences {
  /** The sequences that each stage of Proof-of-Loss adds, by domain within a stage; at least one stage. */
  readonly stages: readonly (readonly DrawnSequence[])[];
  /** As many others in each domain, which the gate judges by: nobody was accepted for doing well on them. */
  readonly gate: readonly DrawnSequence[];
}

/**
 * The sequences of a cycle. From each domain in the task's order, one stream for all, as many are drawn for the gate as for all stages together, then
 * these: the first has `evaluation.sequencesPerDomain`, each later one as many as all before it together, until the task's number of stages is drawn or half
 * of the smallest domain's pool. `available` is the number of whole sequences in each domain's held-out text. Throws `held-out-too-short` naming
 * the domain where the gate and one stage do not fit.
 */
export function drawSequences(input: {
  readonly task: Pick<Task, "data" | "evaluation">;
  readonly seed: Hash;
  readonly available: readonly number[];
}): DrawnSequences {
  const { task, available } = input;
  const { sequencesPerDomain: first, stages } = task.evaluation;
  const pools = task.data.domains.map(({ name }, domain) => {
    const pool = placesOf("pool", available[domain] ?? 0);
    if (pool.length < 2 * first) throw tooShort(name, pool.length, available[domain] ?? 0, 2 * first);
    return pool;
  });
  const budget = Math.min(first * 2 ** (stages - 1), ...pools.map((pool) => pool.length >> 1));
  const random = stream(input.seed);
  const drawn = pools.map((pool) => random.draw(2 * budget, pool.length).map((place) => pool[place] as number));
  const part = (from: number, to: number): DrawnSequence[] =>
    drawn.flatMap((places, domain) => places.slice(budget + from, budget + to).map((index) => ({ domain, index })));
  const result: DrawnSequence[][] = [];
  for (let done = 0; done < budget; ) {
    const next = Math.min(budget, done === 0 ? first : 2 * done);
    result.push(part(done, next));
    done = next;
  }
  return { stages: result, gate: part(-budget, 0) };
}

/** The open sequences of a cycle: at most eight of each domain, by the same seed on a fresh stream. */
export function drawOpenSequences(input: Parameters<typeof drawSequences>[0]): DrawnSequence[] {
  const random = stream(input.seed);
  return input.task.data.domains.flatMap((_, domain) => {
    const open = placesOf("open", input.available[domain] ?? 0);
    return random.draw(Math.min(shownSequences, open.length), open.length).map((place) => ({ domain, index: open[place] as number }));
  });
}

function tooShort(name: string, pool: number, available: number, wanted: number): ConnitoError {
  return new ConnitoError(
    `The held-out data of ${name} have ${available} sequences, of which ${pool} may be drawn; the task draws at least ${wanted}`,
    {
      code: "held-out-too-short",
      exit: "invalidInput",
      hint: "Give the domain more held-out data, or lower evaluation.sequencesPerDomain or data.sequenceLength in the task.",
    },
  );
}
