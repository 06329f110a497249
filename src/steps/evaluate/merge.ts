/**
 * The outer step: what the validators accepted becomes the next canonical version. Each group's contributors are averaged and stepped;
 * the gate lets through only what clearly lowers the held-out loss and raises no domain; the root of the result goes on the chain, first as a
 * ballot that shows nothing, then open.
 */

import type { Tensors, Values } from "../../model/tensors.ts";
import { newVersion, readValues } from "../../model/weights.ts";
import type { AgreedScore } from "../../protocol/agreement.ts";
import { votingWindows, windowOf } from "../../protocol/clock.ts";
import { ballotHash } from "../../protocol/commitment.ts";
import { encodeRecord } from "../../protocol/records.ts";
import type { SignedReport } from "../../protocol/report.ts";
import { readJson, writeJson } from "../../workspace/files.ts";
import type { Validator } from "../chain-records.ts";
import type { Context } from "../context.ts";
import { type CycleView, viewCycle } from "../cycle-view.ts";
import { sendVersion } from "../distribute/announce.ts";
import type { Slice } from "../distribute/slice.ts";
import { storeManifest } from "../manifests.ts";
import type { Membership } from "../membership.ts";
import { publishFile, publishObjects, requireLocator } from "../publish.ts";
import { sendRecord } from "../send-record.ts";
import { afterFinalized, awaitOpening } from "../windows.ts";
import { compareResults, groupGradients, type MergePlan, mergeOrderOf, ownPart } from "./contributions.ts";
import { settleScores } from "./disputes.ts";
import { type Foreseen, foresee } from "./foresight.ts";
import { mergeGroups, nothing, type OuterState, step, stepPlace } from "./merge-groups.ts";
import { collectReports, committedReports, showReport } from "./reports.ts";
import { requireValidator, scorersOf } from "./validators.ts";

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
  /** Mean loss of each domain on the gate's sequences, in micro-nats per token, before and after. */
  readonly evaluationLoss: { readonly before: readonly number[]; readonly after: readonly number[] };
  readonly block: number;
  readonly alreadyDone: boolean;
}

type StoredMerge = Omit<MergeResult, "block" | "alreadyDone">;

/** @throws phase-not-open before the reports are final; deadline-missed once the root can no longer be proved; not-a-validator. */
export async function merge(context: Context, membership: Membership, input: { cycle: number; wait: boolean }): Promise<MergeResult> {
  const { workspace } = context;
  const { task } = membership;
  const file = workspace.layout.cycle(input.cycle, "merge.json");
  const stored = (await readJson<StoredMerge>(file)) ?? (await compute(context, membership, input));
  await writeJson(file, stored);
  await sendBallot(context, membership, stored);
  const { ballot, version } = votingWindows(task, input.cycle);
  // The root is shown once nobody can send a ballot any more.
  await context.clock.until(({ best }) => best >= ballot.last, context.signal);
  const record = { cycle: input.cycle + 1, previousRoot: stored.base, root: stored.root };
  const sent = await sendVersion(context, { ...record, until: version.last });
  await compareResults(context, membership, await viewCycle(context, membership, input.cycle));
  return { ...stored, ...sent };
}

/** Binds this validator to the root that it computed. @throws deadline-missed: the root then does not count, and the majority's is followed. */
async function sendBallot(context: Context, { task, taskHash }: Membership, stored: StoredMerge): Promise<void> {
  const { netuid, signer } = context;
  const version = { cycle: stored.cycle + 1, previousRoot: stored.base, root: stored.root };
  const ballot = ballotHash({ netuid, taskHash, hotkey: signer.address, ...version });
  const record = encodeRecord({
    kind: "ballot",
    cycle: version.cycle,
    base: stored.base,
    ballot,
    locator: requireLocator(context, "ballot"),
  });
  await sendRecord(context, {
    key: `ballot/${version.cycle}`,
    prepare: async () => ({ record, notes: { root: stored.root } }),
    until: votingWindows(task, stored.cycle).ballot.last,
  });
}

async function compute(context: Context, membership: Membership, input: { cycle: number; wait: boolean }): Promise<StoredMerge> {
  const { task } = membership;
  const { ballot } = votingWindows(task, input.cycle);
  const scoreEnd = windowOf(task, input.cycle, "score").last;
  const opening = afterFinalized("Merge", input.cycle, scoreEnd, ballot.last);
  const isEarly = !opening.open(await context.clock.now());
  const foresight = isEarly && input.wait ? foresee(context, membership, input.cycle) : undefined;
  try {
    await awaitOpening(context.clock, opening, { wait: input.wait, signal: context.signal });
    const view = await viewCycle(context, membership, input.cycle);
    requireValidator(view, context.signer.address);
    await showReport(context, input.cycle);
    const scorers = await scorersOf(context, membership, view);
    const reports = await gatherReports(context, membership, view, scorers);
    const verdicts = await settleScores(context, membership, view, reports, { beforeMeasuring: async () => foresight?.close() });
    const facts = { cycle: input.cycle, base: view.base, verdicts, reporters: [...reports.keys()].sort() };
    const order = await mergeOrderOf(context, membership, view, verdicts);
    return { ...facts, ...(await mergeInOrder(context, membership, { view, scorers, order }, await foresight?.by(order))) };
  } finally {
    await foresight?.close();
  }
}

async function mergeInOrder(
  context: Context,
  membership: Membership,
  plan: MergePlan,
  foreseen: Foreseen | undefined,
): Promise<Pick<StoredMerge, "merged" | "scale" | "evaluationLoss" | "root">> {
  const { task } = membership;
  const { opened, search, own } = foreseen ?? (await ownPart(context, membership, plan));
  try {
    const gradients = await groupGradients(context, membership, { ...plan, slice: opened.slice, search }, own);
    const { merged, scale, before, after, gradient, momentum = nothing } = foreseen?.outcome ?? (await mergeGroups(search, gradients));
    const root = gradient === undefined ? plan.view.base : await keepVersion(context, opened.slice, { task, momentum }, gradient, scale);
    return { merged, scale, evaluationLoss: { before, after }, root };
  } finally {
    await opened.close();
  }
}

/** Makes and keeps the new version's pieces and manifest, and returns its root. */
async function keepVersion(context: Context, slice: Slice, state: OuterState, gradient: Tensors, scale: number): Promise<string> {
  const { objects, layout } = context.workspace;
  const kept = new Set<string>();
  const how = { gradient, scale, place: stepPlace(gradient.sizes) };
  const manifest = await newVersion({
    manifest: slice.manifest,
    changed: new Set(gradient.sizes.keys()),
    update: (name, piece) => {
      const readBase = (into: Values) => readValues(piece, ({ hash }) => objects.stream(hash), into);
      // Nobody else works at this place: what it holds stays until the next tensor.
      return step(state, how, name, readBase, (stepped) => stepped);
    },
    keep: async (bytes) => {
      const hash = await objects.put(bytes);
      kept.add(hash);
      return hash;
    },
  });
  const root = await storeManifest(context.workspace, manifest);
  await publishObjects(context, kept);
  await publishFile(context, `/manifests/${root}.json`, layout.manifest(root));
  return root;
}

/**
 * The reports that were committed in time. Whoever committed and does not deliver is waited for through half of the time for ballots; reports
 * are passed on by all who have them, so that what one validator got the others get too.
 */
async function gatherReports(
  context: Context,
  membership: Membership,
  view: CycleView,
  scorers: readonly (readonly Validator[])[],
): Promise<Map<string, SignedReport>> {
  const committed = await committedReports(context, membership, view, scorers);
  const { first, last } = votingWindows(membership.task, view.cycle).ballot;
  const patience = first + Math.floor((last - first) / 2);
  for (;;) {
    const reports = await collectReports(context, membership, view, scorers, committed);
    const { best } = await context.clock.now();
    if (reports.size === committed.size || best >= patience) return reports;
    await context.clock.until((heads) => heads.best > best, context.signal);
  }
}
