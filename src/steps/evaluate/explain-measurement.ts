/**
 * What `score explain --measure` finds on this machine: the miner's submission beside the others of its group, as far as they can still be had, compared by
 * sketches, and measured where the rules ask for losses.
 */

import type { Tensors } from "../../model/tensors.ts";
import { type Effects, isNoise } from "../../protocol/copies.ts";
import { whoShowLittle } from "../../protocol/own-training.ts";
import { type ChainVerdict, compareCommits } from "../../protocol/verdict.ts";
import type { Context } from "../context.ts";
import type { CycleView } from "../cycle-view.ts";
import { inParallel, peerSources } from "../fetch.ts";
import type { Membership } from "../membership.ts";
import { fetchCandidate, openFetched, type Refusal, roomForDecoded } from "./candidates.ts";
import { judgeAgain, type Likeness, type OwnShown, ownShown, type ScoreEvidence } from "./evidence.ts";
import { evaluationSeed } from "./held-out.ts";
import { type OpenModel, openWholeModel } from "./losses.ts";
import { type ByLosses, type Comparison, compareSubmissions, type Sketched } from "./near-copies.ts";
import { measureOwnTraining, openOwnSequences } from "./own-training.ts";

/** What the group's other submissions explain of it. */
export type Compared = Likeness & { readonly copy: boolean };
/** What it shows of training of its own, what is asked beside the others, and whether it is too little. */
export type OwnMeasured = OwnShown & { readonly tooLittle: boolean };

export interface Measurement {
  readonly opened: OpenModel;
  readonly seed: string;
  readonly miner: string;
  /** The group's, as far as they can be had, in order of commits. */
  readonly submissions: readonly Sketched[];
  /** Who of them would be paid by losses and is no copy by sketches: whose own training is asked for. */
  readonly paid: ReadonlySet<string>;
  readonly deltas: Tensors;
  /** Against the other submissions of its group; absent for the first. */
  readonly comparison: Comparison | undefined;
  sequences: number;
  /** Of what it adds to those explaining it, on the open sequences, where sketches alone leave that unclear. */
  effects?: Effects;
}

/** What the comparison here says of the submission, as far as its effects are known. */
export function comparedHere({ comparison, effects: found }: Measurement): Compared | undefined {
  if (comparison === undefined) return undefined;
  const shown = found && Number.isFinite(found.effect) && Number.isFinite(found.random) ? found : {};
  return { ...comparison.likeness, ...shown, copy: comparison.copy || (found !== undefined && isNoise(found)) };
}

/** What the submission shows of training of its own, beside those of its group that would be paid. */
export async function ownMeasuredHere(
  context: Context,
  membership: Membership,
  view: CycleView,
  { opened, seed, miner, submissions, paid }: Measurement,
): Promise<OwnMeasured | undefined> {
  const { leastTraining } = membership.task.evaluation;
  if (leastTraining === undefined || !paid.has(miner)) return undefined;
  const own = openOwnSequences(context, membership, { view, slice: opened.slice, seed, leastTraining });
  try {
    const { progress } = context;
    const found = await measureOwnTraining(
      {
        own,
        losses: opened.losses,
        isLate: async () => false,
        onMissing: (error) => progress.note(`Own training is not measured: ${error.message}`, { code: error.code }),
      },
      submissions.filter((submission) => paid.has(submission.miner)),
    );
    const effects = new Map([...found].flatMap(([name, effect]) => (effect === "non-finite" ? [] : [[name, effect] as const])));
    const shown = ownShown(effects, miner);
    return shown && { ...shown, tooLittle: whoShowLittle(effects).has(miner) };
  } finally {
    await own.close();
  }
}

/** What losses say of each: where the scorers' evidence differs, of which one may be a lie, what founds the lower median of its scores. */
export function knownIn(task: Membership["task"], evidences: ReadonlyMap<string, ScoreEvidence | undefined>): Map<string, ByLosses> {
  const known = new Map<string, ByLosses[]>();
  for (const evidence of evidences.values())
    for (const shown of evidence?.miners ?? []) {
      const { stages, baseLosses } = evidence as ScoreEvidence;
      const score = judgeAgain(task, evidence as ScoreEvidence, shown)?.score ?? 0;
      const one = { score, base: baseLosses.slice(0, stages[0]), own: shown.losses.slice(0, stages[0]) };
      known.set(shown.miner, [...(known.get(shown.miner) ?? []), one]);
    }
  return new Map([...known].map(([miner, list]) => [miner, list.sort((a, b) => a.score - b.score)[(list.length - 1) >> 1] as ByLosses]));
}

/** Whatever of the group's submissions can still be had is compared with the miner's. */
export async function openMeasurement(
  context: Context,
  membership: Membership,
  view: CycleView,
  verdicts: readonly ChainVerdict[],
  { miner, group }: ChainVerdict,
  known: ReadonlyMap<string, ByLosses>,
): Promise<Measurement | undefined> {
  const revealed = verdicts.flatMap((verdict) => (verdict.group === group && verdict.status === "to-fetch" ? [verdict] : []));
  if (!revealed.some((verdict) => verdict.miner === miner)) return undefined;
  const { task } = membership;
  const opened = await openWholeModel(context, membership, view.base);
  try {
    const place = { slice: opened.slice, view, room: roomForDecoded() };
    const sources = await peerSources(context, task);
    const submissions: Sketched[] = [];
    const refused = new Map<string, Refusal>();
    await inParallel(revealed, revealed.length, async ({ miner: hotkey, reveal }) => {
      const refusal = await fetchCandidate(context, membership, view, { hotkey, reveal: reveal.record, otherSources: sources });
      if (refusal !== undefined) refused.set(hotkey, refusal);
    });
    for (const { miner: name, commit, reveal } of revealed) {
      const candidate = refused.get(name) ?? (await openFetched(context, membership, place, reveal.record));
      if ("deltas" in candidate) submissions.push({ miner: name, group, commit, deltas: candidate.deltas });
      else context.progress.note(`The submission of ${name} cannot be had here: ${candidate.reason}`, { status: candidate.status });
    }
    const own = submissions.find((submission) => submission.miner === miner);
    if (own !== undefined) {
      const seed = await evaluationSeed(context, membership, view.cycle);
      const compare = await compareSubmissions({ seed, codec: task.submission.codec }, submissions);
      submissions.sort((a, b) => compareCommits(a.commit, b.commit));
      const comparisons = compare(known);
      const isPaid = (name: string) => (known.get(name)?.score ?? 0) > 0 && comparisons.get(name)?.copy !== true;
      const paid = new Set(submissions.map((submission) => submission.miner).filter(isPaid));
      return { opened, seed, miner, submissions, paid, deltas: own.deltas, comparison: comparisons.get(miner), sequences: 0 };
    }
  } catch (error) {
    await opened.close();
    throw error;
  }
  await opened.close();
  return undefined;
}
