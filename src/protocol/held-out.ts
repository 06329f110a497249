/**
 * The held-out sequences of a cycle (docs/protocol.md, section 8): a fixed split of each domain's held-out data, so that no sequence ever
 * serves two purposes, and the draw among those that are for scoring and for the gate, with a seed that nobody knew before the reveal.
 */
import { ConnitoError } from "../errors.ts";
import type { Hash } from "./hash.ts";
import { stream } from "./random.ts";
import type { Task } from "./task.ts";

/** What a draw needs of a task. */
export type DrawTask = Pick<Task, "data" | "evaluation">;

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
const poolPlaces = splitPeriod - watchPlaces - 1;

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
  readonly task: DrawTask;
  readonly seed: Hash;
  readonly available: readonly number[];
}): DrawnSequences {
  const { task, available } = input;
  const pools = poolsOf(task, available);
  const budget = budgetOf(task, pools);
  const random = stream(input.seed);
  const drawn = pools.map((pool) => random.draw(2 * budget, pool.length).map((place) => pool[place] as number));
  const part = (from: number, to: number): DrawnSequence[] =>
    drawn.flatMap((places, domain) => places.slice(budget + from, budget + to).map((index) => ({ domain, index })));
  const ends = stageEnds(task, budget);
  return { stages: ends.map((end, stage) => part(ends[stage - 1] ?? 0, end)), gate: part(-budget, 0) };
}

function poolsOf({ data, evaluation }: DrawTask, available: readonly number[]): number[][] {
  const least = 2 * evaluation.sequencesPerDomain;
  return data.domains.map(({ name }, domain) => {
    const pool = placesOf("pool", available[domain] ?? 0);
    if (pool.length < least) throw tooShort(name, pool.length, available[domain] ?? 0, least);
    return pool;
  });
}

/** Sequences of a domain in all stages together: what the task wants, or half of the smallest pool. */
function budgetOf({ evaluation }: DrawTask, pools: readonly (readonly number[])[]): number {
  return Math.min(evaluation.sequencesPerDomain * 2 ** (evaluation.stages - 1), ...pools.map((pool) => pool.length >> 1));
}

/** The most sequences that a cycle of the task measures submissions on, all stages together, and that it shows. */
export function mostSequences(task: DrawTask): { readonly scored: number; readonly shown: number } {
  const domains = task.data.domains.length;
  return { scored: domains * budgetOf(task, []), shown: domains * shownSequences };
}

/** How many sequences of a domain are measured when each stage ends. */
function stageEnds({ evaluation }: DrawTask, budget: number): number[] {
  const ends: number[] = [];
  for (let end = evaluation.sequencesPerDomain; ends.at(-1) !== budget; end *= 2) ends.push(Math.min(budget, end));
  return ends;
}

/**
 * Whether stages of so many sequences are those of a cycle: of held-out data as large as `available` says, or, for who may not know that, of data of any size.
 */
export function areStages(task: DrawTask, stages: readonly number[], available?: readonly number[]): boolean {
  const domains = task.data.domains.length;
  const known = available && budgetOf(task, poolsOf(task, available));
  const budget = stages.reduce((sum, size) => sum + size, 0) / domains;
  const isPossible = budget >= task.evaluation.sequencesPerDomain && budget <= budgetOf(task, []);
  if (!Number.isInteger(budget) || (known === undefined ? !isPossible : budget !== known)) return false;
  const ends = stageEnds(task, budget);
  return stages.join() === ends.map((end, stage) => domains * (end - (ends[stage - 1] ?? 0))).join();
}

/**
 * Whether these are a cycle's open sequences, in order: those that `drawOpenSequences` gives of held-out data of a known size, or, for who may not know that,
 * some that it may give.
 */
export function areOpenSequences(
  { task, seed, available }: { readonly task: DrawTask; readonly seed: Hash; readonly available: readonly number[] | undefined },
  shown: readonly DrawnSequence[],
): boolean {
  const key = ({ domain, index }: DrawnSequence) => `${domain} ${index}`;
  const keys = shown.map(key);
  if (available !== undefined) return keys.join() === drawOpenSequences({ task, seed, available }).map(key).join();
  const inOrder = shown.every(({ domain }, at) => domain >= (shown[at - 1]?.domain ?? 0) && domain < task.data.domains.length);
  // A pool that holds what the task asks for at least has an open place before each twelve of its own.
  const least = Math.min(shownSequences, Math.ceil((2 * task.evaluation.sequencesPerDomain) / poolPlaces));
  const possible = task.data.domains.every((_, domain) => {
    const { length } = shown.filter((one) => one.domain === domain);
    return length >= least && length <= shownSequences;
  });
  return inOrder && possible && new Set(keys).size === keys.length && shown.every(({ index }) => heldOutPart(index) === "open");
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
