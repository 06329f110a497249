/**
 * Proof-of-Loss: what each revealed submission is worth on held-out sequences that nobody knew before the reveal window closed. Every
 * miner of the groups that this validator was drawn for gets a verdict. The hash of the signed report goes on the chain inside the score
 * window; the report itself is shown once that window is closed, so that nobody can copy it.
 */

import { ConnitoError } from "../../errors.ts";
import { windowOf } from "../../protocol/clock.ts";
import { judge } from "../../protocol/evaluation.ts";
import { createReport, type ReportEntry, type SignedReport } from "../../protocol/report.ts";
import type { ChainCommit, ChainReveal, ChainVerdict } from "../../protocol/verdict.ts";
import type { Context } from "../context.ts";
import { type CycleView, viewCycle } from "../cycle-view.ts";
import type { Membership } from "../membership.ts";
import { afterFinalized, assertNotMissed, awaitOpening } from "../windows.ts";
import { type Candidate, type Deltas, openCandidate } from "./candidates.ts";
import { encodeEvidence, type MinerEvidence } from "./evidence.ts";
import { type CycleSequences, cycleSequences, type HeldOutSequence, type OpenModel, openWholeModel } from "./held-out.ts";
import { type BaseLosses, lossesOfDeltas, openBaseLosses, type Tensors } from "./losses.ts";
import { compareSubmissions, isNearCopy, type Suspicion } from "./near-copies.ts";
import { findReport, sendReport, signReport } from "./reports.ts";
import { groupsOf, requireValidator, scorersOf } from "./validators.ts";
import { readVerdicts } from "./verdicts.ts";

export interface ScoreResult {
  readonly cycle: number;
  readonly base: string;
  readonly alreadyDone: boolean;
  /** The groups that this validator was drawn for. */
  readonly groups: readonly number[];
  /** How many of their miners opened a commitment. */
  readonly revealed: number;
  readonly entries: readonly ReportEntry[];
  readonly signature: string;
  /** The block that holds the report's hash. */
  readonly block: number;
}

/** @throws phase-not-open before the reveal window is final; deadline-missed; not-a-validator; held-out-missing. */
export async function score(context: Context, membership: Membership, input: { cycle: number; wait: boolean }): Promise<ScoreResult> {
  const { workspace, signer } = context;
  const revealEnd = windowOf(membership.task, input.cycle, "reveal").last;
  await awaitOpening(context.clock, afterFinalized("Scoring", input.cycle, revealEnd), { wait: input.wait, signal: context.signal });
  const view = await viewCycle(context, membership, input.cycle);
  requireValidator(view, signer.address);
  const groups = groupsOf(await scorersOf(context, membership, view), signer.address);
  const known = await findReport(workspace, input.cycle, signer.address);
  const { last } = windowOf(membership.task, input.cycle, "score");
  // Before anything is measured in vain.
  if (known === undefined) assertNotMissed(await context.clock.now(), afterFinalized("Scoring", input.cycle, revealEnd, last));
  const signed = known ?? (await evaluateGroups(context, membership, view, groups));
  const { block } = await sendReport(context, membership, signed.report);
  return describe(signed, { groups, block, alreadyDone: known !== undefined });
}

function describe({ report, signature }: SignedReport, facts: Pick<ScoreResult, "groups" | "block" | "alreadyDone">): ScoreResult {
  const revealed = report.entries.filter((entry) => entry.root !== null).length;
  return { cycle: report.cycle, base: report.base, revealed, entries: report.entries, signature, ...facts };
}

/** A submission that could be opened, on its way to a verdict. */
interface Opened {
  readonly miner: string;
  readonly group: number;
  readonly commit: ChainCommit;
  readonly deltas: Deltas;
  losses: number[];
  verdict?: Pick<ReportEntry, "status" | "score">;
}

async function evaluateGroups(context: Context, membership: Membership, view: CycleView, groups: readonly number[]): Promise<SignedReport> {
  const { verdicts: all } = await readVerdicts(context, membership, view);
  const verdicts = all.filter(({ group }) => groups.includes(group));
  const opened = await openWholeModel(context, membership, view.base);
  try {
    const sequences = await cycleSequences(context, membership, { cycle: view.cycle, slice: opened.slice });
    const base = await openBaseLosses(context, view, opened);
    context.progress.start("Scoring submissions", verdicts.length);
    const refused = new Map<string, ReportEntry["status"]>();
    const candidates = await openAll(context, membership, { view, opened }, verdicts, refused);
    const suspicions = compareSubmissions(sequences.seed, candidates);
    const held = { opened, base, sequences, isLate: () => isLate(context, membership, view.cycle) };
    await measureInStages(context, membership, held, candidates);
    const miners = await settle(context, held, candidates, suspicions);
    const open = await base.on(sequences.open);
    const evidence = await context.workspace.objects.put(
      encodeEvidence({
        stages: sequences.stages.map((stage) => stage.length),
        baseLosses: [...(await base.on(sequences.stages.slice(0, stagesTaken(candidates, sequences)).flat()))],
        open: sequences.open.map(({ tokens, ...place }, index) => ({ ...place, tokens: [...tokens], baseLoss: open[index] as number })),
        miners,
      }),
    );
    const entries = verdicts.map(({ miner, group, status, root }): ReportEntry => {
      const verdict = candidates.find((candidate) => candidate.miner === miner)?.verdict;
      if (verdict !== undefined) return { miner, group, root, ...verdict };
      return { miner, group, root, score: 0, status: status === "to-fetch" ? (refused.get(miner) ?? "unscored") : status };
    });
    context.progress.succeed(`Scored: ${entries.filter((entry) => entry.status === "accepted").length} of ${entries.length} accepted`);
    const { taskHash: task } = membership;
    const { cycle, base: root } = view;
    return signReport(context, createReport({ task, cycle, base: root, validator: context.signer.address, evidence, entries }));
  } finally {
    opened.close();
  }
}

/** Fetches and decodes every revealed submission once; whoever is not reached, once more when all others are here. */
async function openAll(
  context: Context,
  membership: Membership,
  held: { view: CycleView; opened: OpenModel },
  verdicts: readonly ChainVerdict[],
  refused: Map<string, ReportEntry["status"]>,
): Promise<Opened[]> {
  const result: Opened[] = [];
  const attempt = async (verdict: ChainVerdict): Promise<void> => {
    if (verdict.status !== "to-fetch") return;
    const { miner, group, commit } = verdict;
    const candidate = await openOne(context, membership, held, verdict);
    if ("status" in candidate) refused.set(miner, candidate.status);
    else {
      refused.delete(miner);
      result.push({ miner, group, commit, deltas: candidate.deltas, losses: [] });
    }
  };
  for (const verdict of verdicts) await attempt(verdict);
  for (const verdict of verdicts) if (refused.get(verdict.miner) === "unreachable") await attempt(verdict);
  return result;
}

/** Trouble of this machine is not the miner's: it says so, and the other validators' scores count. */
async function openOne(
  context: Context,
  membership: Membership,
  { view, opened }: { view: CycleView; opened: OpenModel },
  { miner, reveal }: { miner: string; reveal: ChainReveal },
): Promise<Candidate | { readonly status: "unscored" }> {
  try {
    return await openCandidate(context, membership, { slice: opened.slice, view }, miner, reveal.record);
  } catch (error) {
    if (context.signal.aborted || !(error instanceof ConnitoError) || error.code === "disk-full") throw error;
    context.progress.note(`Cannot score ${miner}: ${error.message}`, { code: error.code });
    return { status: "unscored" };
  }
}

interface Held {
  readonly opened: OpenModel;
  readonly base: BaseLosses;
  readonly sequences: CycleSequences;
  readonly isLate: () => Promise<boolean>;
}

/** Blocks that are left for the report to get onto the chain when measuring ends. */
const reportBlocks = 2;

/** Whether there is just time to report what is known: better some verdicts that count than all of them too late. */
async function isLate({ clock }: Context, { task }: Membership, cycle: number): Promise<boolean> {
  return (await clock.now()).best >= windowOf(task, cycle, "score").last - reportBlocks;
}

/** Adds stage after stage to whoever is not judged yet. Who is not judged when time is out stays unscored: that is not the miner's doing. */
async function measureInStages(
  context: Context,
  { task }: Membership,
  { opened, base, sequences, isLate: timeIsOut }: Held,
  candidates: readonly Opened[],
): Promise<void> {
  const { stages } = sequences;
  for (const [index, added] of stages.entries()) {
    const undecided = candidates.filter(({ verdict }) => verdict === undefined);
    if (undecided.length === 0) return;
    if (await timeIsOut()) {
      context.progress.note(`${undecided.length} submissions are left unscored: the score window ends`, { code: "out-of-time" });
      return;
    }
    const baseLosses = await base.on(stages.slice(0, index + 1).flat());
    const losses = await lossesOfDeltas(opened, deltasOf(undecided), added, context.signal);
    for (const [place, candidate] of undecided.entries()) {
      candidate.losses.push(...(losses[place] as Float64Array));
      const judged = judge({ task, baseLosses, candidateLosses: candidate.losses, stage: index + 1, stages: stages.length });
      if (judged !== undefined) candidate.verdict = { status: judged.status, score: judged.score };
    }
    context.progress.update(candidates.filter(({ verdict }) => verdict !== undefined).length);
  }
}

/** Takes their pay from near copies, and gathers what the evidence says of everybody whose losses are finite. */
async function settle(
  context: Context,
  { opened, base, sequences, isLate: timeIsOut }: Held,
  candidates: readonly Opened[],
  suspicions: ReadonlyMap<string, Suspicion>,
): Promise<MinerEvidence[]> {
  const shown = candidates.filter(({ verdict }) => verdict?.status !== "non-finite");
  const openLosses = (await timeIsOut()) ? [] : await lossesOfDeltas(opened, deltasOf(shown), sequences.open, context.signal);
  const evidence: MinerEvidence[] = [];
  for (const [index, candidate] of shown.entries()) {
    const suspicion = suspicions.get(candidate.miner);
    const taken = sequences.stages.flat().slice(0, candidate.losses.length);
    const gain = async (deltas?: Tensors): Promise<number> => {
      const losses =
        deltas === undefined ? candidate.losses : await lossesOfDeltas(opened, [deltas], taken, context.signal).then(([own]) => own);
      return meanGain(await base.on(taken), losses ?? []);
    };
    const judged =
      suspicion === undefined || candidate.verdict?.status !== "accepted"
        ? { copy: false, likeness: suspicion?.likeness }
        : await isNearCopy(suspicion, gain);
    if (judged.copy) candidate.verdict = { status: "near-copy", score: 0 };
    evidence.push({
      miner: candidate.miner,
      losses: candidate.losses,
      openLosses: [...(openLosses[index] ?? [])].map((loss) => (Number.isFinite(loss) ? loss : -1)),
      ...(judged.likeness && { likeness: { ...judged.likeness, like: [...judged.likeness.like] } }),
    });
  }
  return evidence;
}

function deltasOf(candidates: readonly Opened[]): Deltas[] {
  return candidates.map(({ deltas }) => deltas);
}

function meanGain(base: ArrayLike<number>, losses: ArrayLike<number>): number {
  return Array.from(base, (loss, index) => loss - (losses[index] as number)).reduce((sum, gain) => sum + gain, 0) / base.length;
}

function stagesTaken(candidates: readonly Opened[], { stages }: { stages: readonly (readonly HeldOutSequence[])[] }): number {
  const most = Math.max(0, ...candidates.map(({ losses }) => losses.length));
  let [taken, count] = [0, 0];
  while (count < most) count += stages[taken++]?.length ?? most;
  return taken;
}
