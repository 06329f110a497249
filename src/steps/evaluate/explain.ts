/**
 * A miner's score of a past cycle, from the chain and what validators show: what the chain alone says, each scorer's signed report and
 * evidence, the score computed again from the losses by the rules, and, if asked, the losses of the open sequences measured again with the
 * miner's own submission on this machine. Where scorers contradict each other, whom the evidence bears out.
 */

import { ConnitoError } from "../../errors.ts";
import { type AgreedScore, agreedScores, contradictsChain, disputedMiners, type WeighedReport } from "../../protocol/agreement.ts";
import { windowOf } from "../../protocol/clock.ts";
import type { Judgement } from "../../protocol/evaluation.ts";
import { groupOfMiner } from "../../protocol/experts/assignment.ts";
import type { ReportEntry, ScoreReport } from "../../protocol/report.ts";
import { type ChainVerdict, isChainStatus, type Status, statuses } from "../../protocol/verdict.ts";
import { readJson } from "../../workspace/files.ts";
import type { Context } from "../context.ts";
import { viewCycle } from "../cycle-view.ts";
import type { Membership } from "../membership.ts";
import { afterFinalized, awaitOpening } from "../windows.ts";
import {
  follows,
  followsFromLosses,
  judgeAgain,
  type Likeness,
  littleTrained,
  type OwnShown,
  ownEffectsOf,
  ownShown,
  type ScoreEvidence,
} from "./evidence.ts";
import {
  type Compared,
  comparedHere,
  knownIn,
  type Measurement,
  type OwnMeasured,
  openMeasurement,
  ownMeasuredHere,
} from "./explain-measurement.ts";
import { knownDraw } from "./held-out.ts";
import type { MergeResult } from "./merge.ts";
import { effects } from "./near-copies.ts";
import { collectEvidence, collectReports, committedReports, weigh } from "./reports.ts";
import { scorersOf } from "./validators.ts";
import { readVerdicts } from "./verdicts.ts";

export interface ScorerExplanation {
  readonly validator: string;
  readonly stake: bigint;
  /**
   * `silent`: no report on the chain in time; `withheld`: committed, and nobody delivers it; `against-chain`: the chain itself says otherwise, and what it
   * says counts; `contradicted`: the score is disputed, and its evidence, or what was measured here, does not bear it out.
   */
  readonly report: "silent" | "withheld" | "against-chain" | "counted" | "contradicted";
  readonly status?: Status;
  readonly score?: number;
  /** The judgement that follows from the losses in its evidence, how much earlier submissions explain, and what it shows of training of its own. */
  readonly computedAgain?: Judgement;
  readonly likeness?: Likeness;
  readonly own?: OwnShown;
  /** Whether report and evidence say the same; absent without evidence on this miner. */
  readonly consistent?: boolean;
  /** Largest difference between its losses on the open sequences and those measured here, nats per token. */
  readonly largestDifference?: number;
}

export interface Explanation {
  readonly cycle: number;
  readonly hotkey: string;
  readonly group: number;
  readonly base: string;
  /** What the chain alone says. */
  readonly chain: ChainVerdict["status"];
  readonly root: string | null;
  /** What is paid; absent where nobody reported, and where a dispute is not settled by what is known here. */
  readonly agreed?: Pick<AgreedScore, "status" | "score">;
  /**
   * What `agreed` follows from: the `chain` alone, which refuses it; the `median` of all reports; in a dispute what this machine settled when it merged (`merge`), or the reports that their
   * evidence bears out (`evidence`); nothing (`open`) where these contradict each other, or nobody reported.
   */
  readonly settled: "chain" | "median" | "merge" | "evidence" | "open";
  readonly meaning: string;
  readonly hint: string;
  readonly scorers: readonly ScorerExplanation[];
  /** Open sequences measured again here. */
  readonly measured: number;
  /** What the group's other submissions explain of it, as compared here; with a measurement, unless it was the group's first. */
  readonly compared?: Compared | undefined;
  /** What it shows of training of its own, measured here beside those that would be paid; where the task asks for that. */
  readonly own?: OwnMeasured | undefined;
}

export interface ExplainInput {
  readonly cycle: number;
  readonly hotkey: string;
  /** Fetch the whole base, and measure the open sequences with the submission. */
  readonly measure: boolean;
}

/** @throws phase-not-open while reports of the cycle are not final; not-scored for a hotkey without a group in the cycle. */
export async function explainScore(context: Context, membership: Membership, input: ExplainInput): Promise<Explanation> {
  const { task } = membership;
  const scoreEnd = windowOf(task, input.cycle, "score").last;
  await awaitOpening(context.clock, afterFinalized("Explaining", input.cycle, scoreEnd), { wait: false, signal: context.signal });
  const view = await viewCycle(context, membership, input.cycle);
  const group = groupOfMiner(view.assignment, input.hotkey);
  if (group === undefined) throw notAssigned(input);
  const { verdicts } = await readVerdicts(context, membership, view);
  const verdict = verdicts.find(({ miner }) => miner === input.hotkey) as ChainVerdict;
  const scorers = await scorersOf(context, membership, view);
  const committed = await committedReports(context, membership, view, scorers);
  const reports = await collectReports(context, membership, view, scorers, committed);
  const weighed = weigh(view, reports, { verdicts });

  const draw = await knownDraw(context, membership, input.cycle);
  const ofGroup = (scorers[group] ?? []).flatMap(({ hotkey }) => reports.get(hotkey) ?? []);
  const evidences = await collectEvidence(context, membership, draw, ofGroup);
  const measured = input.measure
    ? await openMeasurement(context, membership, view, verdicts, verdict, knownIn(task, evidences))
    : undefined;
  try {
    const own = measured && (await ownMeasuredHere(context, membership, view, measured));
    const rows: ScorerExplanation[] = [];
    for (const { hotkey: validator, stake } of scorers[group] ?? []) {
      const signed = reports.get(validator);
      const entry = signed?.report.entries.find(({ miner }) => miner === input.hotkey);
      if (signed === undefined || entry === undefined) {
        rows.push({ validator, stake, report: committed.has(validator) ? "withheld" : "silent" });
        continue;
      }
      if (contradictsChain(entry, verdict)) {
        rows.push({ validator, stake, report: "against-chain", status: entry.status, score: entry.score });
        continue;
      }
      const evidence = evidences.get(validator);
      rows.push({ validator, stake, report: "counted", ...(await explainReport(membership, signed.report, entry, evidence, measured)) });
    }
    const compared = measured && comparedHere(measured);
    const disputed = disputedMiners(weighed).includes(input.hotkey);
    const { agreed, settled, contradicted } = disputed
      ? await settle(context, input, weighed, rows, { compared, own })
      : { ...medianOf(weighed, input.hotkey), contradicted: [] };
    const { meaning, hint } = settled === "open" && disputed ? openDispute : statuses[agreed?.status ?? "unscored"];
    return {
      cycle: input.cycle,
      hotkey: input.hotkey,
      group,
      base: view.base,
      chain: verdict.status,
      root: verdict.root,
      ...(agreed && { agreed: { status: agreed.status, score: agreed.score } }),
      settled,
      meaning,
      hint,
      scorers: rows.map((row) => (contradicted.includes(row.validator) ? { ...row, report: "contradicted" } : row)),
      measured: measured?.sequences ?? 0,
      ...(compared && { compared }),
      ...(own && { own }),
    };
  } finally {
    await measured?.opened.close();
  }
}

interface Settled {
  readonly agreed?: Pick<AgreedScore, "status" | "score">;
  readonly settled: Explanation["settled"];
  readonly contradicted: readonly string[];
}

/** Losses of one submission on two machines differ by less, nats per token. */
const sameLoss = 1e-3;

const openDispute = {
  meaning: "scorers contradict each other, and what is known here does not say who is right",
  hint: "Measure it with --measure; a validator that merged the cycle has what it settled in its state directory.",
};

function medianOf(weighed: readonly WeighedReport[], hotkey: string): Omit<Settled, "contradicted"> {
  const agreed = agreedScores(weighed).find(({ miner }) => miner === hotkey);
  if (agreed === undefined) return { settled: "open" };
  return { agreed, settled: isChainStatus(agreed.status) ? "chain" : "median" };
}

/** A disputed score: as this machine settled it, or from the reports that their evidence, and what was measured here, bear out. */
async function settle(
  context: Context,
  { cycle, hotkey }: ExplainInput,
  weighed: readonly WeighedReport[],
  rows: readonly ScorerExplanation[],
  { compared, own }: Pick<Explanation, "compared" | "own">,
): Promise<Settled> {
  const isContradicted = ({ status, consistent, largestDifference = 0 }: ScorerExplanation) =>
    (consistent !== true && status !== undefined && followsFromLosses(status)) ||
    largestDifference > sameLoss ||
    (compared !== undefined && status === (compared.copy ? "accepted" : "near-copy")) ||
    (own !== undefined && status === (own.tooLittle ? "accepted" : "not-trained"));
  const contradicted = rows.filter((row) => row.report === "counted" && isContradicted(row)).map(({ validator }) => validator);
  const merged = await readJson<Pick<MergeResult, "verdicts">>(context.workspace.layout.cycle(cycle, "merge.json"));
  const settled = merged?.verdicts.find(({ miner }) => miner === hotkey);
  if (settled !== undefined) return { agreed: settled, settled: "merge", contradicted };
  const left = weighed.filter(({ report }) => !contradicted.includes(report.validator));
  const { agreed } = medianOf(left, hotkey);
  if (agreed === undefined || agreed.status === "unscored" || disputedMiners(left).includes(hotkey))
    return { settled: "open", contradicted };
  return { agreed, settled: "evidence", contradicted };
}

async function explainReport(
  { task }: Membership,
  { entries }: ScoreReport,
  entry: ReportEntry,
  evidence: ScoreEvidence | undefined,
  measured: Measurement | undefined,
): Promise<Partial<ScorerExplanation>> {
  const said = { status: entry.status, score: entry.score };
  const own = evidence?.miners.find(({ miner }) => miner === entry.miner);
  if (evidence === undefined || own === undefined) return said;
  const computedAgain = judgeAgain(task, evidence, own);
  const consistent = follows(entry, computedAgain, littleTrained(task, entries, evidence));
  const ofOwn = task.evaluation.leastTraining && ownShown(ownEffectsOf(entries, evidence, entry.group), entry.miner);
  const shown = { ...(own.likeness && { likeness: own.likeness }), ...(ofOwn && { own: ofOwn }) };
  const facts = { ...said, ...(computedAgain && { computedAgain }), ...shown, consistent };
  if (measured === undefined || own.openLosses.length === 0) return facts;
  const sequences = evidence.open.map(({ domain, index, tokens }) => ({ domain, index, tokens: Int32Array.from(tokens) }));
  const { comparison } = measured;
  const found = await measured.opened.losses(sequences, [measured.deltas, ...(comparison?.unclear ?? [])]).catch((error: unknown) => {
    if (error instanceof ConnitoError && error.code === "batch-invalid") return undefined;
    throw error;
  });
  // What it shows are no sequences of this task.
  if (found === undefined) return { ...facts, consistent: false };
  const [losses, ...rest] = found.candidates;
  measured.sequences = sequences.length;
  if (losses && comparison?.unclear) measured.effects = effects(comparison, found.base, losses, rest);
  const differences = [...(losses ?? [])].map((loss, index) => Math.abs(loss - (own.openLosses[index] as number)));
  return { ...facts, largestDifference: Math.max(0, ...differences) };
}

function notAssigned({ cycle, hotkey }: ExplainInput): ConnitoError {
  return new ConnitoError(`${hotkey} had no group in cycle ${cycle}, so it has no score.`, {
    code: "not-assigned",
    exit: "notAssigned",
    hint: "Give the hotkey of a miner that was assigned in that cycle; `connito assign --cycle N` shows the assignment.",
  });
}
