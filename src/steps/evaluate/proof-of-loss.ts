/**
 * Proof-of-Loss over the stages of a cycle: each adds sequences for whoever is not judged yet, and is one pass over the model for all of them. What
 * the evidence needs beside (the open sequences) goes along in the first. Last comes what near copies among few would have added, and what each learned
 * from its own share.
 */

import { type Effects, isNoise } from "../../protocol/copies.ts";
import { type Judgement, judge } from "../../protocol/evaluation.ts";
import { blocksOf, type OwnEffect, whoShowLittle } from "../../protocol/own-training.ts";
import type { Task } from "../../protocol/task.ts";
import { compareCommits } from "../../protocol/verdict.ts";
import type { Likeness, ScoreEvidence } from "./evidence.ts";
import type { CycleSequences } from "./held-out.ts";
import type { MeasureLosses } from "./measure-losses.ts";
import { type ByLosses, type Compare, type Comparison, effects, type Sketched } from "./near-copies.ts";
import { measureOwnTraining, type OwnMeasuring } from "./own-training.ts";

/** What is decided of a submission. */
export type Verdict = Pick<Judgement, "score"> & { readonly status: Judgement["status"] | "near-copy" | "not-trained" };

export interface ProofInput {
  readonly task: Task;
  readonly losses: MeasureLosses;
  readonly sequences: CycleSequences;
  readonly submissions: readonly Sketched[];
  readonly compare: Compare;
  /** What each shows of training of its own; absent where the task does not ask for that. */
  readonly own?: Pick<OwnMeasuring, "own" | "onMissing"> | undefined;
  /** Whether there is just time to report what is known: asked before each pass, with how many losses it measures. */
  readonly isLate: (losses: number) => Promise<boolean>;
  /** Told how many submissions are judged when a stage ends. */
  readonly onJudged: (judged: number) => void;
}

export interface Proof {
  /** By miner; without whoever was not judged in time. */
  readonly verdicts: ReadonlyMap<string, Verdict>;
  /** Who is accepted, or not trained, by less than was to be asked of its group, for want of time or of data. */
  readonly hasty: readonly string[];
  /** Losses of everybody whose losses are finite, and of the base on the same sequences. */
  readonly evidence: Omit<ScoreEvidence, "format">;
}

interface Measured {
  readonly submission: Sketched;
  readonly losses: number[];
  openLosses: readonly number[];
  judgement?: Judgement;
  comparison?: Comparison | undefined;
  /** Of what it adds to those explaining it, where that decides. */
  effects?: Effects;
  /** What it shows of training of its own, and what follows from that where it does not suffice. */
  own?: OwnEffect;
  lacks?: "not-trained" | "non-finite";
  /** Something that it was to be asked was not. */
  hasty?: boolean;
}

/** Measures stage after stage until everybody is judged. Who is not judged when time is out has no verdict: that is not the miner's doing. */
export async function proveLosses(input: ProofInput): Promise<Proof> {
  const { task, sequences } = input;
  const { stages, open } = sequences;
  const sizes = stages.map(({ length }) => length);
  const measured = input.submissions.map((submission): Measured => {
    return { submission, losses: [], openLosses: [] };
  });
  const base: number[] = [];
  let openBase: readonly number[] = [];
  for (const [index, stage] of stages.entries()) {
    const undecided = measured.filter(({ judgement }) => judgement === undefined);
    const asked = index === 0 ? [...stage, ...open] : stage;
    if (undecided.length === 0 || (await input.isLate(asked.length * (1 + undecided.length)))) break;
    const models = undecided.map(({ submission }) => submission.deltas);
    const found = await input.losses(asked, models);
    const ofStage = (losses: Float64Array) => losses.subarray(0, stage.length);
    base.push(...ofStage(found.base));
    if (index === 0) openBase = [...found.base.subarray(stage.length)];
    for (const [place, one] of undecided.entries()) {
      const losses = found.candidates[place] as Float64Array;
      one.losses.push(...ofStage(losses));
      if (index === 0) one.openLosses = [...losses.subarray(stage.length)];
      const judgement = judge({ task, baseLosses: base, candidateLosses: one.losses, stage: index + 1, stages: sizes });
      if (judgement !== undefined) one.judgement = judgement;
    }
    input.onJudged(measured.filter(({ judgement }) => judgement !== undefined).length);
  }
  const first = stages[0]?.length ?? 0;
  const known = measured.map(({ submission, judgement, losses }): [string, ByLosses] => [
    submission.miner,
    { score: judgement?.score ?? 0, base: base.slice(0, first), own: losses.slice(0, first) },
  ]);
  const comparisons = input.compare(new Map(known));
  for (const one of measured) one.comparison = comparisons.get(one.submission.miner);
  await measureWhatIsAdded(input, measured, base);
  await measureWhatIsOwn(input, measured);

  const verdicts = new Map<string, Verdict>();
  const miners: ScoreEvidence["miners"] = [];
  for (const one of measured) {
    const { miner } = one.submission;
    const { verdict, likeness, own } = settle(one);
    if (verdict !== undefined) verdicts.set(miner, verdict);
    if (verdict?.status === "non-finite") continue;
    const openLosses = one.openLosses.map((loss) => (Number.isFinite(loss) ? loss : -1));
    const compared = likeness && { likeness: { ...likeness, like: [...likeness.like] } };
    miners.push({ miner, losses: one.losses, openLosses, ...compared, ...(own && { own }) });
  }
  const shown = openBase.map((baseLoss, index) => {
    const { tokens, domain, index: place } = open[index] as CycleSequences["open"][number];
    return { domain, index: place, tokens: [...tokens], baseLoss };
  });
  const hasty = measured.filter((one) => one.hasty).map(({ submission: { miner } }) => miner);
  return {
    verdicts,
    hasty: hasty.filter((miner) => isHasty(verdicts.get(miner)?.status)),
    evidence: { stages: sizes, baseLosses: base, open: shown, miners },
  };
}

function isHasty(status: Verdict["status"] | undefined): boolean {
  return status === "accepted" || status === "not-trained";
}

/** Of those that would be paid and may be near copies, on the first stage's sequences. Verdicts come first: where time is out they stand without it. */
async function measureWhatIsAdded(
  { losses, sequences, isLate }: ProofInput,
  measured: readonly Measured[],
  base: readonly number[],
): Promise<void> {
  const stage = sequences.stages[0] ?? [];
  const unclear = measured.flatMap((one) =>
    one.judgement?.status === "accepted" && one.comparison?.unclear
      ? [{ one, comparison: one.comparison, deltas: one.comparison.unclear }]
      : [],
  );
  const models = unclear.flatMap(({ deltas }) => deltas);
  if (unclear.length === 0) return;
  if (await isLate(stage.length * (1 + models.length))) {
    for (const { one } of unclear) one.hasty = true;
    return;
  }
  const found = await losses(stage, models);
  let taken = 0;
  for (const { one, comparison, deltas } of unclear) {
    const rest = found.candidates.slice(taken, taken + deltas.length);
    one.effects = effects(comparison, base.slice(0, stage.length), one.losses.slice(0, stage.length), rest);
    taken += deltas.length;
  }
}

/** Of those that would be paid, group by group, where the task asks for it. What was late, or lone, is not asked. */
async function measureWhatIsOwn({ own, losses, isLate, task }: ProofInput, measured: readonly Measured[]): Promise<void> {
  if (own === undefined || task.evaluation.leastTraining === undefined) return;
  const paid = measured.filter((one) => settle(one).verdict?.status === "accepted");
  for (const group of new Set(paid.map(({ submission }) => submission.group))) {
    const members = paid
      .filter(({ submission }) => submission.group === group)
      .sort((a, b) => compareCommits(a.submission.commit, b.submission.commit));
    const effects = await measureOwnTraining(
      { ...own, losses, isLate },
      members.map(({ submission }) => submission),
    );
    const asked = blocksOf(members).flat();
    // What is usual is told from all of the group's.
    const isPart = asked.some(({ submission }) => !effects.has(submission.miner));
    for (const one of asked) {
      const found = effects.get(one.submission.miner);
      one.hasty ||= isPart;
      if (found === "non-finite") one.lacks = found;
      else if (found !== undefined && Number.isFinite(found.effect) && Number.isFinite(found.error)) one.own = found;
    }
    const known = asked.flatMap(({ submission: { miner }, own: shown }) => (shown === undefined ? [] : [[miner, shown] as const]));
    const little = whoShowLittle(new Map(known));
    for (const one of asked) if (little.has(one.submission.miner)) one.lacks = "not-trained";
  }
}

/** Takes its pay from a near copy, and from what shows too little training of its own. */
function settle(one: Measured): Pick<Measured, "own"> & { readonly verdict?: Verdict; readonly likeness?: Likeness } {
  const { judgement, comparison, effects: found, own, lacks } = one;
  const shown = found && Number.isFinite(found.effect) && Number.isFinite(found.random) ? found : {};
  const facts = { ...(comparison && { likeness: { ...comparison.likeness, ...shown } }), ...(own && { own }) };
  if (judgement === undefined) return facts;
  const copied = comparison?.copy === true || (found !== undefined && isNoise(found));
  const refused = judgement.status === "accepted" ? (copied ? "near-copy" : lacks) : undefined;
  return { verdict: refused === undefined ? judgement : { status: refused, score: 0 }, ...facts };
}
