/**
 * Signed score reports. The report's hash stands on the chain before the score window closes, and what stands there decides which reports
 * count; the reports themselves are kept, one file a validator and cycle, and passed on by everybody who has them.
 */

import { verifySignature } from "../../chain/signer.ts";
import { ConnitoError } from "../../errors.ts";
import { collectBytes, type Source } from "../../exchange/exchange.ts";
import { heldToChain, type WeighedReport } from "../../protocol/agreement.ts";
import { windowOf } from "../../protocol/clock.ts";
import { fromHex, type Hash, toHex } from "../../protocol/hash.ts";
import { encodeRecord } from "../../protocol/records.ts";
import { maximumReportBytes, parseSignedReport, reportMessage, type ScoreReport, type SignedReport } from "../../protocol/report.ts";
import type { ChainVerdict } from "../../protocol/verdict.ts";
import { readJson, writeJson } from "../../workspace/files.ts";
import type { Workspace } from "../../workspace/workspace.ts";
import { recordsInWindow, type Validator } from "../chain-records.ts";
import type { Context } from "../context.ts";
import type { CycleView } from "../cycle-view.ts";
import { firstDelivered, inParallel, peerSources, provideObject } from "../fetch.ts";
import type { Membership } from "../membership.ts";
import { publishFile, publishObjects, requireLocator } from "../publish.ts";
import { type SentRecord, sendRecord } from "../send-record.ts";
import { signalAt } from "../windows.ts";
import { checkDrawn, checkEvidenceBytes, type KnownDraw, mostEvidenceBytes, parseEvidence, type ScoreEvidence } from "./evidence.ts";
import { groupsOf } from "./validators.ts";

export function reportPath(workspace: Workspace, cycle: number, validator: string): string {
  return workspace.layout.cycle(cycle, `report-${validator}.json`);
}

/** This or another validator's report as it is kept here. */
export async function findReport(workspace: Workspace, cycle: number, validator: string): Promise<SignedReport | undefined> {
  return readJson<SignedReport>(reportPath(workspace, cycle, validator));
}

/** Signs and keeps this validator's report. */
export async function signReport(context: Context, report: ScoreReport): Promise<SignedReport> {
  const signed = { report, signature: toHex(context.signer.sign(reportMessage(report))) };
  await writeJson(reportPath(context.workspace, report.cycle, report.validator), signed);
  return signed;
}

/** Keeps whom this validator judged without all that was to be asked, or had: where others say otherwise, it does not insist. */
export async function noteUnsure(workspace: Workspace, cycle: number, unsure: readonly string[]): Promise<void> {
  await writeJson(workspace.layout.cycle(cycle, "unsure.json"), unsure);
}

export async function findUnsure(workspace: Workspace, cycle: number): Promise<readonly string[]> {
  return (await readJson<readonly string[]>(workspace.layout.cycle(cycle, "unsure.json"))) ?? [];
}

/** Puts the report's hash on the chain. @throws deadline-missed after the score window: the report then does not count. */
export function sendReport(context: Context, { task }: Membership, report: ScoreReport): Promise<SentRecord> {
  const { cycle, base } = report;
  const locator = requireLocator(context, "report");
  const record = encodeRecord({ kind: "report", cycle, base, report: toHex(reportMessage(report)), locator });
  return sendRecord(context, {
    key: `report/${cycle}`,
    prepare: async () => ({ record, notes: {} }),
    until: windowOf(task, cycle, "score").last,
  });
}

/** Where reports may be seen: once their window is closed, by the best block, so that no later one can be made after them. */
export async function reportsAreOpen(context: Context, { task }: Pick<Membership, "task">, cycle: number): Promise<boolean> {
  return (await context.clock.now()).best > windowOf(task, cycle, "score").last;
}

/** Puts this validator's report and evidence where others look for them, if it publishes through a directory. */
export async function showReport(context: Context, cycle: number): Promise<void> {
  const own = await findReport(context.workspace, cycle, context.signer.address);
  if (own === undefined) return;
  const { address } = context.signer;
  await publishObjects(context, [own.report.evidence]);
  await publishFile(context, `/reports/${cycle}/${address}.json`, reportPath(context.workspace, cycle, address));
}

/** The hash of each report that counts: what drawn validators had on the chain at the last block of the score window. */
export async function committedReports(
  context: Context,
  { task }: Membership,
  view: CycleView,
  scorers: readonly (readonly Validator[])[],
): Promise<Map<string, Hash>> {
  const window = windowOf(task, view.cycle, "score");
  const at = await context.chain.blockHash(window.last);
  const records = await recordsInWindow(context.chain, context.netuid, at, "report", view.cycle, window);
  const drawn = new Set(scorers.flat().map(({ hotkey }) => hotkey));
  return new Map(
    records
      .filter(({ hotkey, record }) => drawn.has(hotkey) && record.base === view.base)
      .map(({ hotkey, record }) => [hotkey, record.report]),
  );
}

/**
 * The committed reports as far as they can be had now, by hotkey: from here, from their validator, or from any other that has them, within seconds. What
 * is delivered counts only if it has the hash on the chain and its validator's signature.
 */
export async function collectReports(
  context: Context,
  membership: Membership,
  view: CycleView,
  scorers: readonly (readonly Validator[])[],
  committed: ReadonlyMap<string, Hash>,
): Promise<Map<string, SignedReport>> {
  const reports = new Map<string, SignedReport>();
  const sources = await peerSources(context, membership.task);
  await Promise.all(
    [...committed].map(async ([hotkey, hash]) => {
      const kept = await findReport(context.workspace, view.cycle, hotkey);
      if (kept !== undefined && toHex(reportMessage(kept.report)) === hash) return reports.set(hotkey, kept);
      const expected = { validator: hotkey, hash, groups: groupsOf(scorers, hotkey) };
      const ask = (source: Source, signal: AbortSignal) => fetchReport({ ...context, signal }, membership, view, source, expected);
      const fetched = await firstDelivered(sources, ask, context.signal);
      if (fetched === undefined) return undefined;
      await writeJson(reportPath(context.workspace, view.cycle, hotkey), fetched);
      return reports.set(hotkey, fetched);
    }),
  );
  return reports;
}

/** Blocks through which evidence is waited for. Of one that comes slowly what is here stays, and the next time it goes on from there. */
const evidenceBlocks = 5;

/** What validators show with their reports, by hotkey (`fetchEvidence`), fetched side by side: one that drips its own is as one that shows none. */
export async function collectEvidence(
  context: Context,
  membership: Membership,
  draw: KnownDraw,
  reports: readonly SignedReport[],
): Promise<Map<string, ScoreEvidence | undefined>> {
  const shown = new Map<string, ScoreEvidence | undefined>(reports.map(({ report }) => [report.validator, undefined]));
  const { best } = await context.clock.now();
  const { signal, close } = signalAt(context, best + evidenceBlocks);
  try {
    await inParallel(reports, reports.length, async (signed) => {
      shown.set(signed.report.validator, await fetchEvidence(context, membership, draw, signed, signal));
    });
  } finally {
    close();
  }
  return shown;
}

/** What a validator shows with its report, under the hash that it signed; undefined, which is said, where nobody has it, or not in time, or it cannot be used. */
export async function fetchEvidence(
  context: Context,
  membership: Membership,
  draw: KnownDraw,
  { report }: SignedReport,
  signal = context.signal,
): Promise<ScoreEvidence | undefined> {
  try {
    const sources = await peerSources(context, membership.task, report.validator);
    const { objects } = context.workspace;
    const most = mostEvidenceBytes(membership.task, report.entries.length);
    await provideObject({ ...context, signal }, sources, { hash: report.evidence, maximumBytes: most, what: "a validator's evidence" });
    checkEvidenceBytes((await objects.locate(report.evidence))?.bytes ?? 0, most);
    const evidence = parseEvidence(await objects.read(report.evidence));
    checkDrawn(draw, evidence);
    return evidence;
  } catch (error) {
    if (context.signal.aborted || !(error instanceof ConnitoError)) throw error;
    context.progress.note(`No evidence of ${report.validator}: ${error.message}`, { code: error.code });
    return undefined;
  }
}

/** With their validators' stake, and held to what the chain alone says, as agreement takes them. */
export function weigh(
  view: CycleView,
  reports: ReadonlyMap<string, SignedReport>,
  { verdicts }: { readonly verdicts: readonly ChainVerdict[] },
): WeighedReport[] {
  const weighed = view.participants.validators.flatMap(({ hotkey, stake }) => {
    const signed = reports.get(hotkey);
    return signed === undefined ? [] : [{ stake, report: signed.report }];
  });
  return heldToChain(weighed, verdicts);
}

async function fetchReport(
  context: Context,
  membership: Membership,
  view: CycleView,
  source: Source,
  { validator, hash, groups }: { validator: string; hash: Hash; groups: readonly number[] },
): Promise<SignedReport> {
  const stream = await source.get(`/reports/${view.cycle}/${validator}.json`, { maximumBytes: maximumReportBytes, signal: context.signal });
  const document: unknown = JSON.parse(Buffer.from(await collectBytes(stream, maximumReportBytes)).toString("utf8"));
  const assigned = new Map(groups.flatMap((group) => (view.assignment.groups[group] ?? []).map((miner) => [miner, group] as const)));
  const signed = parseSignedReport(document, { task: membership.taskHash, cycle: view.cycle, base: view.base, validator, assigned });
  const message = reportMessage(signed.report);
  if (toHex(message) !== hash || !(await verifySignature(message, fromHex(signed.signature), validator))) {
    throw new ConnitoError(`${source.locator} delivered a report that ${validator} did not sign or did not commit to.`, {
      code: "report-invalid",
      exit: "verification",
      hint: "It is not used. Ask the validator's operator.",
    });
  }
  return signed;
}
