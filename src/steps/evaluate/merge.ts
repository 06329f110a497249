/**
 * The outer step: what the validators accepted becomes the next canonical version. Each group's contributors are averaged and stepped;
 * the gate lets through only what lowers the held-out loss and raises no domain; the root of the result goes on the chain.
 */

import { ConnitoError } from "../../errors.ts";
import { newVersion } from "../../model/weights.ts";
import { type AgreedScore, agreedScores, mergeOrder } from "../../protocol/agreement.ts";
import { windowOf } from "../../protocol/clock.ts";
import { domainLosses } from "../../protocol/gate.ts";
import type { SignedReport } from "../../protocol/report.ts";
import { readJson, writeJson } from "../../workspace/files.ts";
import type { Context } from "../context.ts";
import { type CycleView, viewCycle } from "../cycle-view.ts";
import { sendVersion } from "../distribute/announce.ts";
import { peerSources } from "../fetch.ts";
import { storeManifest } from "../manifests.ts";
import type { Membership } from "../membership.ts";
import { sliceMomentum } from "../model-weights.ts";
import { publishFile, publishObjects } from "../publish.ts";
import { afterFinalized, awaitOpening } from "../windows.ts";
import { openCandidate } from "./candidates.ts";
import { openWholeModel } from "./held-out.ts";
import { type Contribution, mergeGroups } from "./merge-groups.ts";
import { collectReports } from "./reports.ts";
import { lossesWith, measureBase, readVerdicts } from "./score.ts";
import { requireValidator } from "./validators.ts";

export interface MergeResult {
  readonly cycle: number;
  readonly base: string;
  /** Root of the version that the next cycle trains; the base's when nothing was merged. */
  readonly root: string;
  /** Hotkeys whose work is in the new version, by group. */
  readonly merged: readonly { group: number; contributors: readonly string[] }[];
  readonly scale: number;
  readonly verdicts: readonly AgreedScore[];
  /** Validators whose reports counted. */
  readonly reporters: readonly string[];
  /** Mean loss of each domain on the cycle's evaluation sequences, in micro-nats per token, before and after. */
  readonly evaluationLoss: { readonly before: readonly number[]; readonly after: readonly number[] };
  readonly block: number;
  readonly alreadyDone: boolean;
}

type StoredMerge = Omit<MergeResult, "block" | "alreadyDone">;

/** @throws scores-missing before `score` has made this validator's report; phase-not-open; not-a-validator. */
export async function merge(context: Context, membership: Membership, input: { cycle: number; wait: boolean }): Promise<MergeResult> {
  const { workspace } = context;
  const { task } = membership;
  const file = workspace.layout.cycle(input.cycle, "merge.json");
  const stored = (await readJson<StoredMerge>(file)) ?? (await compute(context, membership, input));
  await writeJson(file, stored);
  const sent = await sendVersion(context, {
    cycle: input.cycle + 1,
    previousRoot: stored.base,
    root: stored.root,
    until: windowOf(task, input.cycle, "merge").last,
  });
  return { ...stored, ...sent };
}

async function compute(context: Context, membership: Membership, input: { cycle: number; wait: boolean }): Promise<StoredMerge> {
  const { task } = membership;
  const { last } = windowOf(task, input.cycle, "merge");
  const revealEnd = windowOf(task, input.cycle, "reveal").last;
  await awaitOpening(context.clock, afterFinalized("Merge", input.cycle, revealEnd, last), { wait: input.wait, signal: context.signal });
  const view = await viewCycle(context, membership, input.cycle);
  requireValidator(view, context.signer.address);
  const reports = await gatherReports(context, membership, view);
  const verdicts = agreedScores(
    view.participants.validators.flatMap(({ hotkey, stake }) => {
      const signed = reports.get(hotkey);
      return signed === undefined ? [] : [{ stake, report: signed.report }];
    }),
  );
  const facts = { cycle: input.cycle, base: view.base, verdicts, reporters: [...reports.keys()].sort() };

  const opened = await openWholeModel(context, membership, view.base);
  try {
    const { sequences, losses } = await measureBase(context, membership, view, opened);
    const domains = task.data.domains.length;
    const before = domainLosses(losses, sequences, domains);
    const contributions = await openContributions(context, membership, view, opened.slice, verdicts);
    const momentum = await sliceMomentum(context, opened.slice);
    const outcome = await mergeGroups({
      task,
      base: opened.weights,
      momentum,
      contributions,
      before,
      measure: async (weights) => domainLosses(await lossesWith(opened, weights, sequences, context.signal), sequences, domains),
    });
    const { merged, scale, after } = outcome;
    const result = { ...facts, merged, scale, evaluationLoss: { before, after } };
    if (outcome.updates.size === 0) return { ...result, root: view.base };
    const version = newVersion({ manifest: opened.slice.manifest, updates: outcome.updates });
    for (const bytes of version.objects.values()) await context.workspace.objects.put(bytes);
    const root = await storeManifest(context.workspace, version.manifest);
    await publishObjects(context, version.objects.keys());
    await publishFile(context, `/manifests/${root}.json`, context.workspace.layout.manifest(root));
    return { ...result, root };
  } finally {
    opened.close();
  }
}

/** Own report, and the others' as they come in. Merging begins when all are here, at the latest when the merge window does. @throws scores-missing */
async function gatherReports(context: Context, membership: Membership, view: CycleView): Promise<Map<string, SignedReport>> {
  const mergeFirst = windowOf(membership.task, view.cycle, "merge").first;
  for (;;) {
    const reports = await collectReports(context, membership, view);
    if (!reports.has(context.signer.address)) {
      throw new ConnitoError(`This validator has no scores of cycle ${view.cycle} to merge by.`, {
        code: "scores-missing",
        exit: "invalidInput",
        hint: "Run `connito score` for this cycle first, with the same --state-dir.",
      });
    }
    const { best } = await context.clock.now();
    if (reports.size === view.participants.validators.length || best >= mergeFirst) return reports;
    await context.clock.until((heads) => heads.best > best, context.signal);
  }
}

/** By group, the agreed best, opened, in the order in which the protocol adds them up. */
async function openContributions(
  context: Context,
  membership: Membership,
  view: CycleView,
  slice: Parameters<typeof openCandidate>[2]["slice"],
  agreed: readonly AgreedScore[],
): Promise<Contribution[][]> {
  const { task } = membership;
  const { verdicts, commits } = await readVerdicts(context, membership, view);
  const sources = await peerSources(context, task);
  const order = mergeOrder({ agreed, commits, groups: task.experts.groups, contributors: task.merge.contributors });
  const open = async ({ miner }: AgreedScore): Promise<Contribution[]> => {
    const verdict = verdicts.find((candidate) => candidate.miner === miner);
    if (verdict?.status !== "to-fetch") return [];
    const candidate = await openCandidate(context, membership, { slice, view }, miner, verdict.reveal.record, sources);
    if ("deltas" in candidate) return [{ miner, deltas: candidate.deltas }];
    throw new ConnitoError(`The accepted submission of ${miner} is not here: ${candidate.reason}`, {
      code: "submission-missing",
      exit: "network",
      retryable: true,
      hint: "Without it this validator would compute another version than the others; it is asked for again until the merge window ends.",
    });
  };
  return Promise.all(order.map(async (group) => (await Promise.all(group.map(open))).flat()));
}
