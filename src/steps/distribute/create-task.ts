/**
 * The owner's step: from a checkpoint, texts and rules to a task that others can join. Everything that the task names by hash is made
 * here and kept in the owner's workspace, which serves it; the hash of the document goes on the chain.
 */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { readSequences } from "../../data/text.ts";
import { ConnitoError } from "../../errors.ts";
import { publishToDirectory } from "../../exchange/directory.ts";
import type { Checkpoint } from "../../model/checkpoint.ts";
import { openHashMemo } from "../../model/hash-memo.ts";
import { type IndexedCheckpoint, indexCheckpoint } from "../../model/index-checkpoint.ts";
import { makeStandIns } from "../../model/make-stand-ins.ts";
import { type Manifest, manifestRoot } from "../../model/manifest.ts";
import { expertLayout } from "../../model/slice.ts";
import { canonicalJson, documentHash } from "../../protocol/canonical.ts";
import { drawSequences } from "../../protocol/evaluation.ts";
import type { ExpertScores } from "../../protocol/experts/esft.ts";
import { createExpertManager } from "../../protocol/experts/expert-manager.ts";
import { type Hash, hashFields, utf8 } from "../../protocol/hash.ts";
import { encodeRecord } from "../../protocol/records.ts";
import type { Task, TaskOverrides } from "../../protocol/task.ts";
import { createTask as composeTask, taskDefaults, taskHash } from "../../protocol/task.ts";
import type { Context } from "../context.ts";
import { storeManifest } from "../manifests.ts";
import { publishFile, publishObjects, requireLocator } from "../publish.ts";
import { sendRecord } from "../send-record.ts";
import { measureExperts } from "./select-experts.ts";

export interface DomainFiles {
  readonly name: string;
  /** UTF-8 text that miners train on. */
  readonly train: string;
  /** UTF-8 text that only validators get. */
  readonly heldOut: string;
}

export interface CreateTaskInput {
  readonly name: string;
  readonly checkpoint: Checkpoint;
  readonly domains: readonly DomainFiles[];
  readonly groups: number;
  /** Any other field of the task; what is absent takes its default. */
  readonly overrides: TaskOverrides;
  /** A measurement made before with `esft select`; absent, it is made now. */
  readonly scores?: ExpertScores;
  readonly sampleTokens?: number;
  /** Blocks between now and cycle 0, unless the overrides name a start block: time for validators to fetch the base. */
  readonly leadBlocks: number;
  /** Puts the held-out texts here, for validators that do not fetch over HTTP: whoever can read the directory has them. */
  readonly heldOutDirectory?: string | undefined;
  /** Validate and show, but store and publish nothing. */
  readonly dryRun?: boolean;
}

export interface CreateTaskResult {
  readonly task: Task;
  readonly taskHash: Hash;
  /** The block that holds the task record; absent in a dry run. */
  readonly block?: number;
}

/** @throws task-invalid, with every problem at once; data-missing; text-too-short; held-out-too-short; locator-missing; the chain's errors when the record is refused. */
export async function createTask(context: Context, input: CreateTaskInput): Promise<CreateTaskResult> {
  const { workspace, progress } = context;
  const { checkpoint } = input;
  if (!input.dryRun) requireLocator(context);

  const domains = await Promise.all(
    input.domains.map(async ({ name, train, heldOut }) => {
      const [trainFile, heldOutFile] = await Promise.all([describeFile(train), describeFile(heldOut)]);
      return { name, trainFile, heldOutFile };
    }),
  );

  // Before anything slow: a group count that does not divide the experts, rules that cannot be, and texts that are too short.
  createExpertManager(expertLayout(checkpoint.architecture), input.groups);
  await checkRules(context, input);
  const { indexed, standIns } = await indexAndMakeStandIns(context, input);
  const { manifest } = indexed;

  let scores = input.scores;
  if (scores === undefined) {
    progress.start("Measuring experts on the domains");
    scores = await measureExperts({
      checkpoint,
      indexed,
      files: input.domains.map((domain) => domain.train),
      sequenceLength: composeSequenceLength(input.overrides),
      sampleTokens: input.sampleTokens,
      threads: context.threads,
    });
    progress.succeed(`Experts measured on ${scores.tokens} tokens`);
  }

  const { best } = await context.clock.now();
  const model = { root: manifestRoot(manifest), standIns: manifestRoot(standIns) };
  const task = composeTask(
    {
      name: input.name,
      netuid: context.netuid,
      model,
      groups: input.groups,
      scores: documentHash(scores),
      domains: domains.map(({ name, trainFile, heldOutFile }) => ({ name, train: trainFile.hash, heldOut: heldOutFile.hash })),
      startBlock: best + input.leadBlocks,
    },
    input.overrides,
  );
  const hash = taskHash(task);
  if (input.dryRun) return { task, taskHash: hash };

  await storeManifest(workspace, manifest);
  await storeManifest(workspace, standIns);
  await workspace.objects.put(canonicalJson(scores));
  const dataViews = domains.flatMap(({ trainFile, heldOutFile }) => [trainFile, heldOutFile]);
  await workspace.objects.addView(new Map(dataViews.map(({ hash: data, file, bytes }) => [data, { file, offset: 0, bytes }])));
  await workspace.objects.put(canonicalJson(task));

  await publishObjects(context, [
    hash,
    manifest.config,
    manifest.tokenizer,
    task.experts.selection.scores,
    ...manifest.pieces.map((piece) => piece.hash),
    ...standIns.pieces.map((piece) => piece.hash),
    ...domains.map(({ trainFile }) => trainFile.hash),
  ]);
  for (const { heldOutFile } of input.heldOutDirectory === undefined ? [] : domains) {
    await publishToDirectory(input.heldOutDirectory as string, `/objects/${heldOutFile.hash}`, { file: heldOutFile.file });
  }
  for (const version of [model.root, model.standIns])
    await publishFile(context, `/manifests/${version}.json`, workspace.layout.manifest(version));

  const record = encodeRecord({ kind: "task", taskHash: hash, locator: requireLocator(context) });
  const { block } = await sendRecord(context, { key: `task/${hash}`, prepare: async () => ({ record, notes: {} }) });
  return { task, taskHash: hash, block };
}

/** The two long passes over the checkpoint. What either did before it was stopped is not done again. */
async function indexAndMakeStandIns(
  { workspace, progress, threads, signal }: Context,
  { checkpoint, dryRun }: CreateTaskInput,
): Promise<{ indexed: IndexedCheckpoint; standIns: Manifest }> {
  const { objects } = workspace;
  const memo = await openHashMemo(workspace.layout.hashes);
  try {
    progress.start("Hashing the checkpoint's pieces", 100);
    const indexed = await indexCheckpoint(checkpoint, {
      memo,
      threads,
      signal,
      onProgress: (done, total) => progress.update(Math.floor((100 * done) / total), "%"),
    });
    const { manifest, locations } = indexed;
    progress.succeed(`${manifest.pieces.length} pieces hashed`);
    if (!dryRun) await objects.addView(locations);

    progress.start("Making stand-ins", manifest.pieces.filter(({ role }) => role === "expert").length);
    const standIns = await makeStandIns({
      manifest,
      locate: (hash) => locations.get(hash),
      store: async (bytes, hash) => (dryRun ? undefined : objects.put(bytes, hash)),
      ...(dryRun ? {} : { memo, has: (hash: Hash) => objects.has(hash) }),
      onProgress: (done, total) => progress.update(done, `of ${total}`),
      threads,
      signal,
    });
    progress.succeed(`${standIns.pieces.length} stand-ins made`);
    return { indexed, standIns };
  } finally {
    await memo.close();
  }
}

/** What the owner wrote, with stand-ins for what is not made yet. @throws task-invalid, text-too-short, held-out-too-short */
async function checkRules({ netuid }: Context, { name, groups, domains, overrides, checkpoint }: CreateTaskInput): Promise<void> {
  const hash = (text: string) => hashFields("connito/draft/1", utf8(text));
  const task = composeTask(
    {
      name,
      netuid,
      model: { root: hash("model"), standIns: hash("stand-ins") },
      groups,
      scores: hash("scores"),
      domains: domains.map((domain, index) => ({ name: domain.name, train: hash(`train ${index}`), heldOut: hash(`held-out ${index}`) })),
      startBlock: 1,
    },
    overrides,
  );
  const { sequenceLength } = task.data;
  const available: number[] = [];
  for (const { train, heldOut } of domains) {
    await readSequences({ file: train, tokenizer: checkpoint.tokenizer, sequenceLength, maximumSequences: 1 });
    const maximumSequences = task.evaluation.sequencesPerDomain;
    const { sequences } = await readSequences({ file: heldOut, tokenizer: checkpoint.tokenizer, sequenceLength, maximumSequences });
    available.push(sequences.length);
  }
  drawSequences({ task, seed: hash("draw"), available });
}

function composeSequenceLength(overrides: TaskOverrides): number {
  return overrides.data?.sequenceLength ?? taskDefaults.data.sequenceLength;
}

async function describeFile(file: string): Promise<{ file: string; bytes: number; hash: Hash }> {
  try {
    const { size } = await stat(file);
    const hash = createHash("sha256");
    for await (const chunk of createReadStream(file)) hash.update(chunk as Uint8Array);
    return { file, bytes: size, hash: hash.digest("hex") };
  } catch (cause) {
    throw new ConnitoError(`The text ${file} cannot be read: ${(cause as NodeJS.ErrnoException).code ?? "unknown reason"}.`, {
      code: "data-missing",
      exit: "invalidInput",
      hint: "Give each domain as --domain NAME=TRAIN.txt,HELD-OUT.txt.",
      cause,
    });
  }
}
