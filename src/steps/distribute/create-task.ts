/**
 * The owner's step: from a checkpoint, data and rules to a task that others can join. Everything that the task names by hash is made
 * here and kept in the owner's workspace, which serves it; the hash of the document goes on the chain.
 */

import { checkSources } from "../../data/sources/local.ts";
import type { Checkpoint } from "../../model/checkpoint.ts";
import { requireComputable } from "../../model/families/index.ts";
import { openHashMemo } from "../../model/hash-memo.ts";
import { type IndexedCheckpoint, indexCheckpoint } from "../../model/index-checkpoint.ts";
import { manifestRoot } from "../../model/manifest.ts";
import { expertLayout, planSlice, type SlicePlan } from "../../model/slice.ts";
import { defaultPolicy, type StandInPolicy } from "../../model/stand-in-policy.ts";
import { canonicalJson, documentHash } from "../../protocol/canonical.ts";
import type { ExpertScores } from "../../protocol/experts/esft.ts";
import { createExpertManager } from "../../protocol/experts/expert-manager.ts";
import { groupExperts, type KeptWeight, keptWeight } from "../../protocol/experts/group-experts.ts";
import type { ExpertGrouping, GroupingObjective } from "../../protocol/experts/grouping.ts";
import { type RouterStatistics, scoresOf } from "../../protocol/experts/router-statistics.ts";
import { type Hash, hashFields } from "../../protocol/hash.ts";
import { drawSequences } from "../../protocol/held-out.ts";
import { encodeRecord } from "../../protocol/records.ts";
import type { Task, TaskOverrides } from "../../protocol/task.ts";
import { createTask as composeTask, taskHash } from "../../protocol/task.ts";
import type { TokenData } from "../../protocol/token-data.ts";
import type { Context } from "../context.ts";
import { publishObjects, requireLocator } from "../publish.ts";
import { sendRecord } from "../send-record.ts";
import { draftTask, largestSubmissions, noteScarceSpace } from "./check-task.ts";
import { type EvaluationNeeds, evaluationNeeds } from "./evaluation-needs.ts";
import { measureBase, sampleShards } from "./measure-base.ts";
import { type DomainSources, prepareData } from "./prepare-data.ts";
import { publishParts } from "./publish-task.ts";
import type { MeasuredModel } from "./select-experts.ts";
import { makeTaskStandIns } from "./stand-ins.ts";

export interface CreateTaskInput {
  readonly name: string;
  readonly checkpoint: Checkpoint;
  readonly domains: readonly DomainSources[];
  /** The part of split sources that is held out. */
  readonly heldOutShare: number;
  readonly groups: number;
  /** Whether experts are grouped evenly by number or by what they do on the domains. */
  readonly grouping: "even" | GroupingObjective;
  /** Any other field of the task; what is absent takes its default. */
  readonly overrides: TaskOverrides;
  /** A measurement made before with `esft select`; absent, it is made now. */
  readonly scores?: ExpertScores;
  readonly sampleTokens?: number;
  /** How all experts are copied for those who lack them; by use where the engine computes the model. */
  readonly standIns?: StandInPolicy;
  /** Blocks between now and cycle 0, unless the overrides name a start block: time for validators to fetch the base. */
  readonly leadBlocks: number;
  /** Puts the held-out data here, for validators that do not fetch over HTTP: whoever can read the directory has them. */
  readonly heldOutDirectory?: string | undefined;
  /** Validate and show: nothing is published, and of what the task names only the data are stored. What took long to compute (hashes, the measurement) is kept for the next run. */
  readonly dryRun?: boolean;
}

export interface CreateTaskResult {
  readonly task: Task;
  readonly taskHash: Hash;
  /** The block that holds the task record; absent in a dry run. */
  readonly block?: number;
  readonly data: readonly DomainCounts[];
  /** By codec, the bytes of the largest submission that a miner of any group makes in a cycle. */
  readonly submissionBytes: Readonly<Record<string, number>>;
  /** What every group's slice takes at the base, in bytes. */
  readonly slices: readonly SlicePlan["bytes"][];
  /** What validators have to measure in a cycle, and in how much time, at the pace at which experts were measured here; without one where they were not, or on another number of threads. */
  readonly evaluation: EvaluationNeeds & { readonly blockSeconds: number; readonly lossSeconds?: number };
  /** What groups keep together of each domain, evenly split and as the task groups them; absent where nothing was measured. */
  readonly kept?: Partial<Record<"even" | GroupingObjective, readonly KeptWeight[]>>;
}

export interface DomainCounts {
  readonly name: string;
  readonly train: SideCounts;
  readonly heldOut: SideCounts;
}

export interface SideCounts {
  readonly documents: number;
  readonly textBytes: number;
  readonly sequences: number;
  readonly shards: number;
}

/** @throws config-not-computable; task-invalid, with every problem at once; submission-too-large; what is wrong with sources, as prepareData has it; held-out-too-short; locator-missing; the chain's errors when the record is refused. */
export async function createTask(context: Context, input: CreateTaskInput): Promise<CreateTaskResult> {
  const { workspace } = context;
  const { checkpoint } = input;
  // What the engine does not compute nobody could measure, even where programs of their own train it.
  requireComputable(checkpoint.architecture, checkpoint.directory);
  if (!input.dryRun) requireLocator(context, "task");

  // Before anything slow: a group count that does not divide the experts, rules that cannot be, and sources that cannot be had.
  createExpertManager(expertLayout(checkpoint.architecture), input.groups);
  const policy = input.standIns ?? defaultPolicy(checkpoint.architecture);
  const measures = input.scores === undefined || input.grouping !== "even" || policy.kind === "by-use";
  const draft = draftTask(context, input);
  await noteScarceSpace(context, draft);
  await checkSources(
    input.domains.flatMap(({ train, heldOut, split }) => [...train, ...heldOut, ...split]),
    context.signal,
  );
  const { sequenceLength } = draft.data;
  const domains = await prepareData(context, {
    domains: input.domains,
    heldOutShare: input.heldOutShare,
    tokenizer: checkpoint.tokenizer,
    endOfText: endOfTextOf(checkpoint.config),
    sequenceLength,
    store: workspace.objects.put,
    onHeldOut: (available) => void drawSequences({ task: draft, seed: hashFields("connito/draft/1"), available }),
  });
  const indexed = await indexPieces(context, input);
  const { manifest } = indexed;

  const measured: MeasuredModel = {
    checkpoint,
    indexed,
    sample: measures ? await sampleShards(workspace, domains, input.sampleTokens) : [],
    sequenceLength,
    threads: context.threads,
    scratchDirectory: workspace.directory,
    signal: context.signal,
  };
  const { statistics, lossSeconds } = measures ? await measureBase(context, measured) : {};
  const scores = input.scores ?? scoresOf(statistics as RouterStatistics);
  const grouping = input.grouping === "even" ? undefined : groupExperts(statistics as RouterStatistics, input.groups, input.grouping);
  const layout = expertLayout(checkpoint.architecture);
  const managerOf = (by?: ExpertGrouping) => createExpertManager(layout, input.groups, by);
  const keptBy = (by?: ExpertGrouping) => keptWeight(statistics as RouterStatistics, managerOf(by).layers(), input.groups);
  const manager = managerOf(grouping);
  const submissionBytes = largestSubmissions(draft, manifest, manager, scores);
  const standIns = await makeTaskStandIns(context, { policy, measured, statistics, manager, dryRun: input.dryRun });

  if (!input.dryRun) {
    const documents = [scores, grouping, statistics].filter((document) => document !== undefined);
    await publishParts(context, { manifest, standIns, documents, domains, heldOutDirectory: input.heldOutDirectory });
  }

  // Read last: the time until cycle 0 begins when there is something to fetch.
  const { best } = await context.clock.now();
  const model = {
    root: manifestRoot(manifest),
    standIns: manifestRoot(standIns),
    ...(policy.kind === "by-use" && { allotment: { statistics: documentHash(statistics), bits: policy.bits } }),
  };
  const task = composeTask(
    {
      name: input.name,
      netuid: context.netuid,
      model,
      groups: input.groups,
      grouping: grouping && documentHash(grouping),
      scores: documentHash(scores),
      domains: domains.map(({ name, train, heldOut }) => ({ name, train: documentHash(train), heldOut: documentHash(heldOut) })),
      startBlock: best + input.leadBlocks,
    },
    input.overrides,
  );
  const hash = taskHash(task);
  const data = domains.map(({ name, train, heldOut }) => ({ name, train: countsOf(train), heldOut: countsOf(heldOut) }));
  const kept = statistics && { even: keptBy(), ...(grouping && { [grouping.objective]: keptBy(grouping) }) };
  const slices = Array.from({ length: input.groups }, (_, group) => planSlice({ manifest, standIns, manager, group }).bytes);
  const needs = evaluationNeeds(
    task,
    domains.map(({ heldOut }) => heldOut.sequences),
  );
  const evaluation = { ...needs, blockSeconds: await blockSeconds(context, best), ...(lossSeconds !== undefined && { lossSeconds }) };
  const summary = { task, taskHash: hash, data, slices, submissionBytes, evaluation, ...(kept && { kept }) };
  if (input.dryRun) return summary;

  await workspace.objects.put(canonicalJson(task));
  await publishObjects(context, [hash]);
  const record = encodeRecord({ kind: "task", taskHash: hash, locator: requireLocator(context, "task") });
  const { block } = await sendRecord(context, { key: `task/${hash}`, prepare: async () => ({ record, notes: {} }) });
  return { ...summary, block };
}

/** Of the last blocks; 12 where there are none to go by. */
async function blockSeconds({ chain }: Context, best: number): Promise<number> {
  const blocks = Math.min(10, best - 1);
  if (blocks < 1) return 12;
  const [first, last] = await Promise.all([best - blocks, best].map(async (block) => chain.timestamp(await chain.blockHash(block))));
  return ((last as number) - (first as number)) / 1000 / blocks;
}

/** A long pass over the checkpoint. What was done before it was stopped is not done again. */
async function indexPieces(
  { workspace, progress, threads, signal }: Context,
  { checkpoint, dryRun }: CreateTaskInput,
): Promise<IndexedCheckpoint> {
  const memo = await openHashMemo(workspace.layout.hashes);
  try {
    const bytes = [...checkpoint.tensors.values()].reduce((sum, tensor) => sum + tensor.bytes, 0);
    progress.start("Hashing the checkpoint's pieces", bytes, "bytes");
    const indexed = await indexCheckpoint(checkpoint, {
      memo,
      threads,
      signal,
      onProgress: (done) => progress.update(done),
    });
    progress.succeed(`${indexed.manifest.pieces.length} pieces hashed`);
    if (!dryRun) await workspace.objects.addView(indexed.locations);
    return indexed;
  } finally {
    await memo.close();
  }
}

/** The model's end-of-text token: the first, where its config names several. */
function endOfTextOf(config: unknown): number | undefined {
  const { eos_token_id: own, text_config: inner } = config as { eos_token_id?: unknown; text_config?: unknown };
  const [token] = [own ?? undefined].flat();
  if (Number.isInteger(token) && (token as number) >= 0) return token as number;
  return typeof inner === "object" && inner !== null ? endOfTextOf(inner) : undefined;
}

function countsOf({ documents, textBytes, sequences, shards }: TokenData): SideCounts {
  return { documents, textBytes, sequences, shards: shards.length };
}
