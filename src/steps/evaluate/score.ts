/**
 * Proof-of-Loss: what each revealed submission is worth on held-out sequences that nobody knew before the reveal window closed. Every
 * assigned miner gets a verdict; the signed report goes to the other validators.
 */

import { isDeepStrictEqual } from "node:util";
import { ConnitoError } from "../../errors.ts";
import { windowOf } from "../../protocol/clock.ts";
import { type DrawnSequence, drawSequences, judgeLosses } from "../../protocol/evaluation.ts";
import { seed } from "../../protocol/random.ts";
import { createReport, type ReportEntry, type SignedReport } from "../../protocol/report.ts";
import { type ChainCommit, type ChainReveal, type ChainVerdict, chainVerdicts } from "../../protocol/verdict.ts";
import { readJson, writeJson } from "../../workspace/files.ts";
import { submissionsAt } from "../chain-records.ts";
import type { Context } from "../context.ts";
import { type CycleView, viewCycle } from "../cycle-view.ts";
import type { Membership } from "../membership.ts";
import { afterFinalized, awaitOpening } from "../windows.ts";
import { openCandidate } from "./candidates.ts";
import { type HeldOutSequence, type OpenModel, openWholeModel, provideHeldOut } from "./held-out.ts";
import { findReport, publishReport } from "./reports.ts";
import { requireValidator } from "./validators.ts";

export interface ScoreResult {
  readonly cycle: number;
  readonly base: string;
  readonly alreadyDone: boolean;
  /** How many miners opened a commitment. */
  readonly revealed: number;
  readonly entries: readonly ReportEntry[];
  readonly signature: string;
}

/** @throws phase-not-open before the reveal window is final; not-a-validator; held-out-missing. */
export async function score(context: Context, membership: Membership, input: { cycle: number; wait: boolean }): Promise<ScoreResult> {
  const { workspace, signer } = context;
  const known = await findReport(workspace, input.cycle, signer.address);
  if (known !== undefined) return describe(known, true);

  const revealEnd = windowOf(membership.task, input.cycle, "reveal").last;
  await awaitOpening(context.clock, afterFinalized("Scoring", input.cycle, revealEnd), { wait: input.wait, signal: context.signal });
  const view = await viewCycle(context, membership, input.cycle);
  requireValidator(view, signer.address);
  const { verdicts } = await readVerdicts(context, membership, view);
  const opened = await openWholeModel(context, membership, view.base);
  try {
    const { sequences, losses: baseLosses } = await measureBase(context, membership, view, opened);
    context.progress.start("Scoring submissions", verdicts.length);
    const entries: ReportEntry[] = [];
    for (const verdict of verdicts) {
      entries.push(
        verdict.status === "to-fetch"
          ? await evaluate(context, membership, { view, opened, sequences, baseLosses }, verdict)
          : { miner: verdict.miner, group: verdict.group, status: verdict.status, score: 0, root: verdict.root },
      );
      context.progress.update(entries.length);
    }
    await tryAgain(context, membership, { view, opened, sequences, baseLosses }, verdicts, entries);
    context.progress.succeed(`Scored: ${entries.filter((entry) => entry.status === "accepted").length} of ${entries.length} accepted`);
    const report = createReport({ task: membership.taskHash, cycle: input.cycle, base: view.base, validator: signer.address, entries });
    return describe(await publishReport(context, report), false);
  } finally {
    opened.close();
  }
}

/** What the chain alone says of each assigned miner: the commits that stood when their window closed, against the reveals. */
export async function readVerdicts(context: Context, { task }: Membership, view: CycleView) {
  const { chain, netuid } = context;
  const commitWindow = windowOf(task, view.cycle, "commit");
  const revealWindow = windowOf(task, view.cycle, "reveal");
  const [commitState, revealState] = await Promise.all([chain.blockHash(commitWindow.last), chain.blockHash(revealWindow.last)]);
  const [commits, reveals] = await Promise.all([
    submissionsAt(chain, netuid, commitState, "commit", view.cycle, commitWindow),
    submissionsAt(chain, netuid, revealState, "reveal", view.cycle, revealWindow),
  ]);
  const placed: ChainCommit[] = await Promise.all(
    commits.map(async (commit) => ({
      ...commit,
      extrinsicIndex: (await chain.extrinsicIndex({ block: commit.block, hotkey: commit.hotkey, netuid })) ?? 0,
    })),
  );
  return { verdicts: chainVerdicts({ task, assignment: view.assignment, baseRoot: view.base, commits: placed, reveals }), commits: placed };
}

interface StoredEvaluation {
  readonly base: string;
  readonly sequences: readonly DrawnSequence[];
  readonly baseLosses: readonly number[];
}

/** The cycle's held-out sequences and the base's loss on each. Measured once and kept: `merge` judges by the same numbers. */
export async function measureBase(
  context: Context,
  membership: Membership,
  view: CycleView,
  opened: OpenModel,
): Promise<{ sequences: HeldOutSequence[]; losses: Float64Array }> {
  const heldOut = await provideHeldOut(context, membership, opened.slice);
  const at = await context.chain.blockHash(windowOf(membership.task, view.cycle, "reveal").last);
  const drawn = drawSequences({
    task: membership.task,
    seed: seed("evaluation", membership.taskHash, view.cycle, at),
    available: heldOut.available,
  });
  const sequences = await heldOut.read(drawn);
  const file = context.workspace.layout.cycle(view.cycle, "evaluation.json");
  const known = await readJson<StoredEvaluation>(file);
  if (known?.base === view.base && isDeepStrictEqual(known.sequences, drawn))
    return { sequences, losses: Float64Array.from(known.baseLosses) };
  const tokens = sequences.map((sequence) => sequence.tokens);
  const losses = await opened.evaluator.losses(tokens, undefined, context.signal);
  await writeJson(file, { base: view.base, sequences: drawn, baseLosses: [...losses] } satisfies StoredEvaluation);
  return { sequences, losses };
}

/** A miner that could not be reached may have been restarting: it is asked once more when all others are scored. */
async function tryAgain(
  context: Context,
  membership: Membership,
  held: Parameters<typeof evaluate>[2],
  verdicts: readonly ChainVerdict[],
  entries: ReportEntry[],
): Promise<void> {
  for (const [index, verdict] of verdicts.entries()) {
    if (verdict.status === "to-fetch" && entries[index]?.status === "unreachable")
      entries[index] = await evaluate(context, membership, held, verdict);
  }
}

async function evaluate(
  context: Context,
  membership: Membership,
  held: { view: CycleView; opened: OpenModel; sequences: readonly HeldOutSequence[]; baseLosses: Float64Array },
  verdict: { miner: string; group: number; reveal: ChainReveal },
): Promise<ReportEntry> {
  const { opened, view, sequences, baseLosses } = held;
  const { miner, group, reveal } = verdict;
  const entry = { miner, group, root: reveal.record.artifactRoot };
  const candidate = await openCandidate(context, membership, { slice: opened.slice, view }, miner, reveal.record).catch(
    (error: unknown) => {
      // Trouble of this machine is not the miner's: it says so, and the other validators' scores count.
      if (context.signal.aborted || !(error instanceof ConnitoError) || error.code === "disk-full") throw error;
      context.progress.note(`Cannot score ${miner}: ${error.message}`, { code: error.code });
      return { status: "unscored" as const };
    },
  );
  if ("status" in candidate) return { ...entry, status: candidate.status, score: 0 };
  const losses = await lossesWith(opened, addDeltas(opened.weights, candidate.deltas), sequences, context.signal);
  const { status, score: earned } = judgeLosses({ task: membership.task, baseLosses, candidateLosses: losses });
  return { ...entry, status, score: earned };
}

/** Losses of the model with these tensors in place of the base's; the evaluator holds the base again when this returns. */
export async function lossesWith(
  { evaluator, weights: base }: OpenModel,
  weights: ReadonlyMap<string, Float32Array>,
  sequences: readonly HeldOutSequence[],
  signal: AbortSignal,
): Promise<Float64Array> {
  evaluator.replace(weights);
  try {
    return await evaluator.losses(
      sequences.map((sequence) => sequence.tokens),
      undefined,
      signal,
    );
  } finally {
    evaluator.replace(new Map([...weights.keys()].map((name) => [name, base.get(name) as Float32Array])));
  }
}

function addDeltas(base: ReadonlyMap<string, Float32Array>, deltas: ReadonlyMap<string, Float32Array>): Map<string, Float32Array> {
  return new Map(
    [...deltas].map(([name, delta]) => {
      const weights = base.get(name) as Float32Array;
      return [name, delta.map((value, index) => value + (weights[index] as number))];
    }),
  );
}

function describe({ report, signature }: SignedReport, alreadyDone: boolean): ScoreResult {
  return {
    cycle: report.cycle,
    base: report.base,
    alreadyDone,
    revealed: report.entries.filter((entry) => entry.root !== null).length,
    entries: report.entries,
    signature,
  };
}
