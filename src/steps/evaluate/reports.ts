/** Signed score reports: kept one file a validator and cycle, exchanged between validators, checked on the way in. */

import { verifySignature } from "../../chain/signer.ts";
import { ConnitoError } from "../../errors.ts";
import { collectBytes } from "../../exchange/exchange.ts";
import { fromHex, toHex } from "../../protocol/hash.ts";
import { maximumReportBytes, parseSignedReport, reportMessage, type ScoreReport, type SignedReport } from "../../protocol/report.ts";
import { readJson, writeJson } from "../../workspace/files.ts";
import type { Workspace } from "../../workspace/workspace.ts";
import type { Context } from "../context.ts";
import type { CycleView } from "../cycle-view.ts";
import { sourceAt } from "../fetch.ts";
import type { Membership } from "../membership.ts";
import { publishFile } from "../publish.ts";

export function reportPath(workspace: Workspace, cycle: number, validator: string): string {
  return workspace.layout.cycle(cycle, `report-${validator}.json`);
}

/** This or another validator's report as it is kept here. */
export async function findReport(workspace: Workspace, cycle: number, validator: string): Promise<SignedReport | undefined> {
  return readJson<SignedReport>(reportPath(workspace, cycle, validator));
}

/** Signs, keeps and publishes this validator's report. */
export async function publishReport(context: Context, report: ScoreReport): Promise<SignedReport> {
  const signed = { report, signature: toHex(context.signer.sign(reportMessage(report))) };
  const file = reportPath(context.workspace, report.cycle, report.validator);
  await writeJson(file, signed);
  await publishFile(context, `/reports/${report.cycle}/${report.validator}.json`, file);
  return signed;
}

/**
 * The other validators' reports as far as they can be had now, by hotkey. What a peer delivers counts only with the validator's own
 * signature, for this task, cycle and base; anything else is as good as missing.
 */
export async function collectReports(context: Context, membership: Membership, view: CycleView): Promise<Map<string, SignedReport>> {
  const reports = new Map<string, SignedReport>();
  await Promise.all(
    view.participants.validators.map(async ({ hotkey, record }) => {
      const kept = await findReport(context.workspace, view.cycle, hotkey);
      if (kept !== undefined) return reports.set(hotkey, kept);
      if (record === undefined || record.locator === "") return;
      const fetched = await fetchReport(context, membership, view, hotkey, record.locator).catch((error: unknown) => {
        if (context.signal.aborted) throw error;
        return undefined;
      });
      if (fetched === undefined) return;
      await writeJson(reportPath(context.workspace, view.cycle, hotkey), fetched);
      reports.set(hotkey, fetched);
    }),
  );
  return reports;
}

async function fetchReport(
  context: Context,
  membership: Membership,
  view: CycleView,
  validator: string,
  locator: string,
): Promise<SignedReport> {
  const source = sourceAt(context, locator, validator);
  const stream = await source.get(`/reports/${view.cycle}/${validator}.json`, { maximumBytes: maximumReportBytes, signal: context.signal });
  const document: unknown = JSON.parse(Buffer.from(await collectBytes(stream, maximumReportBytes)).toString("utf8"));
  const assigned = new Map(view.assignment.groups.flatMap((miners, group) => miners.map((miner) => [miner, group] as const)));
  const signed = parseSignedReport(document, { task: membership.taskHash, cycle: view.cycle, base: view.base, validator, assigned });
  if (!(await verifySignature(reportMessage(signed.report), fromHex(signed.signature), validator))) {
    throw new ConnitoError(`${locator} delivered a report that ${validator} did not sign.`, {
      code: "report-invalid",
      exit: "verification",
      hint: "It is not used. Ask the validator's operator.",
    });
  }
  return signed;
}
