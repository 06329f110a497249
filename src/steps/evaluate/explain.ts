/**
 * A miner's score of a past cycle, from the chain and what validators show: what the chain alone says, each scorer's signed report and
 * evidence, the score computed again from the losses by the rules, and, if asked, the losses of the open sequences measured again with the
 * miner's own submission on this machine.
 */

import { ConnitoError } from "../../errors.ts";
import type { Tensors } from "../../model/tensors.ts";
import { type AgreedScore, agreedScores } from "../../protocol/agreement.ts";
import { windowOf } from "../../protocol/clock.ts";
import type { Judgement } from "../../protocol/evaluation.ts";
import { groupOfMiner } from "../../protocol/experts/assignment.ts";
import type { ReportEntry } from "../../protocol/report.ts";
import { type ChainVerdict, type Status, statuses } from "../../protocol/verdict.ts";
import type { Context } from "../context.ts";
import { type CycleView, viewCycle } from "../cycle-view.ts";
import { peerSources } from "../fetch.ts";
import type { Membership } from "../membership.ts";
import { afterFinalized, awaitOpening } from "../windows.ts";
import { openCandidate, roomForDecoded } from "./candidates.ts";
import { follows, judgeAgain, type Likeness, type ScoreEvidence } from "./evidence.ts";
import { type OpenModel, openWholeModel } from "./losses.ts";
import { collectReports, committedReports, fetchEvidence, weigh } from "./reports.ts";
import { scorersOf } from "./validators.ts";
import { readVerdicts } from "./verdicts.ts";

export interface ScorerExplanation {
  readonly validator: string;
  readonly stake: bigint;
  /** `silent`: no report on the chain in time; `withheld`: committed, and nobody delivers it. */
  readonly report: "silent" | "withheld" | "counted";
  readonly status?: Status;
  readonly score?: number;
  /** The judgement that follows from the losses in its evidence, and how much an earlier submission explains. */
  readonly computedAgain?: Judgement;
  readonly likeness?: Likeness;
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
  readonly agreed?: Pick<AgreedScore, "status" | "score">;
  readonly meaning: string;
  readonly hint: string;
  readonly scorers: readonly ScorerExplanation[];
  /** Open sequences measured again here. */
  readonly measured: number;
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
  const agreed = agreedScores(weigh(view, reports)).find(({ miner }) => miner === input.hotkey);

  const measured = await openMeasurement(context, membership, view, verdict, input.measure);
  try {
    const rows: ScorerExplanation[] = [];
    for (const { hotkey: validator, stake } of scorers[group] ?? []) {
      const signed = reports.get(validator);
      const entry = signed?.report.entries.find(({ miner }) => miner === input.hotkey);
      if (signed === undefined || entry === undefined) {
        rows.push({ validator, stake, report: committed.has(validator) ? "withheld" : "silent" });
        continue;
      }
      const evidence = await fetchEvidence(context, membership, signed);
      rows.push({ validator, stake, report: "counted", ...(await explainReport(membership, entry, evidence, measured)) });
    }
    const status = agreed?.status ?? "unscored";
    return {
      cycle: input.cycle,
      hotkey: input.hotkey,
      group,
      base: view.base,
      chain: verdict.status,
      root: verdict.root,
      ...(agreed && { agreed: { status: agreed.status, score: agreed.score } }),
      meaning: statuses[status].meaning,
      hint: statuses[status].hint,
      scorers: rows,
      measured: measured?.sequences ?? 0,
    };
  } finally {
    await measured?.opened.close();
  }
}

interface Measurement {
  readonly opened: OpenModel;
  readonly deltas: Tensors;
  sequences: number;
}

async function openMeasurement(
  context: Context,
  membership: Membership,
  view: CycleView,
  verdict: ChainVerdict,
  wanted: boolean,
): Promise<Measurement | undefined> {
  if (!wanted || verdict.status !== "to-fetch") return undefined;
  const opened = await openWholeModel(context, membership, view.base);
  const sources = await peerSources(context, membership.task);
  const place = { slice: opened.slice, view, room: roomForDecoded() };
  const candidate = await openCandidate(context, membership, place, verdict.miner, verdict.reveal.record, sources);
  if ("deltas" in candidate) return { opened, deltas: candidate.deltas, sequences: 0 };
  await opened.close();
  context.progress.note(`The submission cannot be measured here: ${candidate.reason}`, { status: candidate.status });
  return undefined;
}

async function explainReport(
  { task }: Membership,
  entry: ReportEntry,
  evidence: ScoreEvidence | undefined,
  measured: Measurement | undefined,
): Promise<Partial<ScorerExplanation>> {
  const said = { status: entry.status, score: entry.score };
  const own = evidence?.miners.find(({ miner }) => miner === entry.miner);
  if (evidence === undefined || own === undefined) return said;
  const computedAgain = judgeAgain(task, evidence, own);
  const consistent = follows(entry, computedAgain);
  const facts = { ...said, ...(computedAgain && { computedAgain }), ...(own.likeness && { likeness: own.likeness }), consistent };
  if (measured === undefined || own.openLosses.length === 0) return facts;
  const sequences = evidence.open.map(({ domain, index, tokens }) => ({ domain, index, tokens: Int32Array.from(tokens) }));
  const [losses] = (await measured.opened.losses(sequences, [measured.deltas])).candidates;
  measured.sequences = sequences.length;
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
