/**
 * Proof-of-Loss: what each revealed submission is worth on held-out sequences that nobody knew before the reveal window closed. Every
 * miner of the groups that this validator was drawn for gets a verdict. The hash of the signed report goes on the chain inside the score
 * window; the report itself is shown once that window is closed, so that nobody can copy it.
 */

import type { Source } from "../../exchange/exchange.ts";
import { windowOf } from "../../protocol/clock.ts";
import { createReport, type ReportEntry, type SignedReport } from "../../protocol/report.ts";
import type { ChainVerdict } from "../../protocol/verdict.ts";
import type { Context } from "../context.ts";
import { type CycleView, viewCycle } from "../cycle-view.ts";
import type { Slice } from "../distribute/slice.ts";
import type { Membership } from "../membership.ts";
import { afterFinalized, assertNotMissed, awaitOpening, signalAt } from "../windows.ts";
import { openFetched, roomForDecoded } from "./candidates.ts";
import { encodeEvidence } from "./evidence.ts";
import { type Fetched, fetchSubmissions, orUnscored, statusOfLate } from "./fetch-submissions.ts";
import { cycleSequences } from "./held-out.ts";
import { openWholeModel } from "./losses.ts";
import { compareSubmissions, type Sketched } from "./near-copies.ts";
import { openOwnSequences } from "./own-training.ts";
import { type Proof, proveLosses } from "./proof-of-loss.ts";
import { findReport, noteUnsure, sendReport, signReport } from "./reports.ts";
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

async function evaluateGroups(context: Context, membership: Membership, view: CycleView, groups: readonly number[]): Promise<SignedReport> {
  const end = windowOf(membership.task, view.cycle, "score").last - reportBlocks;
  const { entries, evidence, hasty, besideMissing } = await measureGroups(context, membership, view, { groups, end, isFirm: true });
  await noteUnsure(context.workspace, view.cycle, [...hasty, ...besideMissing]);
  const hash = await context.workspace.objects.put(encodeEvidence(evidence));
  const facts = { task: membership.taskHash, cycle: view.cycle, base: view.base, validator: context.signer.address };
  return signReport(context, createReport({ ...facts, evidence: hash, entries }));
}

export interface Measuring {
  readonly groups: readonly number[];
  /**
   * The block from which no pass is begun, nor anything waited for that others are to deliver, but for the model and the held-out data: without those there is nothing
   * to be said.
   */
  readonly end: number;
  /** Whether a pass is not begun either that would be under way at `end`, by the pace of those before. */
  readonly isFirm?: boolean;
  /** Where submissions may be had that their miners do not deliver; none by default. */
  readonly sources?: readonly Source[];
}

export interface MeasuredGroups extends Pick<Proof, "evidence" | "hasty"> {
  readonly entries: readonly ReportEntry[];
  /**
   * Who was compared with less than its whole group, as far as that is revealed. A submission that others have and this validator does not may say that another is a
   * copy, or how much training is usual; its miner could choose whom it shows it to.
   */
  readonly besideMissing: readonly string[];
}

/** What Proof-of-Loss says of everybody in some groups of a cycle, computed here. */
export async function measureGroups(
  context: Context,
  membership: Membership,
  view: CycleView,
  { groups, end, isFirm = false, sources }: Measuring,
): Promise<MeasuredGroups> {
  const { task } = membership;
  const { verdicts: all } = await readVerdicts(context, membership, view);
  const onChain = all.filter(({ group }) => groups.includes(group));
  const opened = await openWholeModel(context, membership, view.base);
  const { signal, close } = signalAt(context, end);
  try {
    const sequences = await cycleSequences(context, membership, { cycle: view.cycle, slice: opened.slice });
    context.progress.start("Scoring submissions", onChain.length);
    const fetched = await fetchSubmissions(context, membership, { view, end, sources }, onChain);
    const { refused } = fetched;
    const submissions = await openAll(context, membership, { view, slice: opened.slice }, onChain, fetched);
    const ofLate = statusOfLate(
      fetched,
      submissions.map(({ miner }) => miner),
    );
    for (const miner of fetched.late) refused.set(miner, ofLate);
    const { leastTraining } = task.evaluation;
    const { seed } = sequences;
    const own = leastTraining && openOwnSequences({ ...context, signal }, membership, { view, slice: opened.slice, seed, leastTraining });
    const { verdicts, evidence, hasty } = await proveLosses({
      task,
      losses: opened.losses,
      sequences,
      submissions,
      compare: await compareSubmissions({ seed, codec: task.submission.codec }, submissions),
      own: own && {
        own,
        onMissing: (error) => context.progress.note(`Own training is not asked for: ${error.message}`, { code: error.code }),
      },
      isLate: lateness(context, { end, isFirm }),
      onJudged: (judged) => context.progress.update(judged),
    }).finally(() => own?.close());
    if (hasty.length > 0)
      context.progress.note(`${hasty.length} submissions are judged by less than was to be asked of them`, {
        code: "asked-too-little",
        hasty,
      });
    const unscored = submissions.length - verdicts.size;
    if (unscored > 0)
      context.progress.note(`${unscored} submissions are left unscored: the window ends`, { code: "out-of-time", unscored });
    const entries = onChain.map(({ miner, group, status, root }): ReportEntry => {
      const verdict = verdicts.get(miner);
      if (verdict !== undefined) return { miner, group, root, status: verdict.status, score: verdict.score };
      return { miner, group, root, score: 0, status: status === "to-fetch" ? (refused.get(miner) ?? "unscored") : status };
    });
    context.progress.succeed(`Scored: ${entries.filter((entry) => entry.status === "accepted").length} of ${entries.length} accepted`);
    return { entries, evidence, hasty, besideMissing: whoBesideMissing(entries) };
  } finally {
    close();
    await opened.close();
  }
}

/** Whose verdict may be another once the missing are there (`MeasuredGroups.besideMissing`). */
export function whoBesideMissing(entries: readonly ReportEntry[]): string[] {
  const missing = new Set(entries.filter(({ status, root }) => root !== null && isMissing(status)).map(({ group }) => group));
  return entries.filter(({ group, status }) => missing.has(group) && dependsOnOthers(status)).map(({ miner }) => miner);
}

function isMissing(status: ReportEntry["status"]): boolean {
  return status === "unreachable" || status === "unscored";
}

function dependsOnOthers(status: ReportEntry["status"]): boolean {
  return status === "accepted" || status === "near-copy" || status === "not-trained";
}

/** Opens every revealed submission that is here, in order of the verdicts: what is kept decoded, and all that follows, does not depend on who delivers first. */
async function openAll(
  context: Context,
  membership: Membership,
  held: { readonly view: CycleView; readonly slice: Slice },
  verdicts: readonly ChainVerdict[],
  { refused, late }: Fetched,
): Promise<Sketched[]> {
  const result: Sketched[] = [];
  const place = { ...held, room: roomForDecoded() };
  for (const verdict of verdicts) {
    if (verdict.status !== "to-fetch" || refused.has(verdict.miner) || late.includes(verdict.miner)) continue;
    const { miner, group, commit, reveal } = verdict;
    const candidate = await orUnscored(context, miner, () => openFetched(context, membership, place, reveal.record));
    if ("status" in candidate) refused.set(miner, candidate.status);
    else result.push({ miner, group, commit, deltas: candidate.deltas });
  }
  return result;
}

/** Blocks that are left for the report to get onto the chain when measuring ends. */
const reportBlocks = 2;

/**
 * Whether it is too late for what is to be done now, in losses to be measured. Where the end is firm, also whether it would be, had that the pace of what was done since
 * the last question: better some verdicts that count than all of them too late.
 */
function lateness({ clock }: Context, { end, isFirm }: Required<Pick<Measuring, "end" | "isFirm">>): (losses: number) => Promise<boolean> {
  let before: { readonly block: number; readonly losses: number } | undefined;
  return async (losses) => {
    const { best } = await clock.now();
    const takes = !isFirm || before === undefined ? 0 : Math.ceil(((best - before.block) * losses) / before.losses);
    // Who asks before it fetches measures nothing by that.
    if (losses > 0) before = { block: best, losses };
    return best + takes >= end;
  };
}
