/**
 * A checkpoint's backbone and one group's experts as one file, from the checkpoint alone: no task, no chain, no stand-ins. Stopped at any
 * moment, it goes on where it was: hashes of pieces and what is written lie in hidden files beside the output until that is whole.
 */
import { rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { ConnitoError } from "../errors.ts";
import { onStorage } from "../files/errors.ts";
import { fileExists } from "../files/reading.ts";
import { type Checkpoint, openCheckpoint } from "../model/checkpoint.ts";
import { openHashMemo } from "../model/hash-memo.ts";
import { type IndexedCheckpoint, indexCheckpoint } from "../model/index-checkpoint.ts";
import { totalBytes } from "../model/manifest.ts";
import { expertLayout, planSlice, writeSliceFile } from "../model/slice.ts";
import { createExpertManager, type ExpertManager } from "../protocol/experts/expert-manager.ts";
import type { Context } from "./context.ts";
import { withOutput } from "./output-lock.ts";

export interface SliceCheckpointInput {
  readonly directory: string;
  readonly groups: number;
  /** Counted from 0. */
  readonly group: number;
  /** The file to write; it must not exist. */
  readonly output: string;
}

export interface SlicedModel {
  readonly file: string;
  readonly family: string;
  /** Of the version that the checkpoint is. */
  readonly root: string;
  readonly groups: number;
  readonly group: number;
  /** The group's, of every layer that has experts. */
  readonly experts: readonly number[];
  readonly pieces: number;
  /** Of tensors: the slice's two parts and their sum, and what the version has that it is cut from. */
  readonly bytes: { readonly backbone: number; readonly experts: number; readonly total: number; readonly checkpoint: number };
}

/** All of the checkpoint is read, for the version's root. @throws usage for a group that there is not or an output that cannot be, groups-do-not-divide, output-exists, output-busy, and what reading and writing throw */
export async function sliceCheckpoint(
  context: Pick<Context, "progress" | "signal">,
  { directory, groups, group, output }: SliceCheckpointInput,
): Promise<SlicedModel> {
  if (group >= groups) throw noSuchGroup(group, groups);
  const checkpoint = await openCheckpoint(directory);
  const manager = createExpertManager(expertLayout(checkpoint.architecture), groups);
  // Both before all is read, which large checkpoints need minutes for.
  return withOutput(output, "file", async () => {
    if (await fileExists(output)) throw outputExists(output);
    return writeSlice(context, checkpoint, { manager, groups, group, output });
  });
}

async function writeSlice(
  { progress, signal }: Pick<Context, "progress" | "signal">,
  checkpoint: Checkpoint,
  { manager, groups, group, output }: Omit<SliceCheckpointInput, "directory"> & { readonly manager: ExpertManager },
): Promise<SlicedModel> {
  const notes = join(dirname(output), `.${basename(output)}.hashes`);
  const { manifest, locations } = await indexWithNotes({ progress, signal }, checkpoint, notes);
  const plan = planSlice({ manifest, standIns: "none", manager, group });
  const { backbone, experts } = plan.bytes;
  progress.start("writing the slice", totalBytes(plan.pieces), "bytes");
  await writeSliceFile(plan, output, {
    locate: (hash) => locations.get(hash),
    signal,
    onProgress: (done) => progress.update(done),
  });
  progress.succeed();
  await onStorage(notes, () => rm(notes, { force: true }));
  return {
    file: output,
    family: checkpoint.architecture.family,
    root: plan.version,
    groups,
    group,
    experts: manager.expertsOf(group)[0]?.experts ?? [],
    pieces: plan.pieces.length,
    bytes: { backbone, experts, total: backbone + experts, checkpoint: totalBytes(manifest.pieces) },
  };
}

/** All pieces and their hashes; those that an earlier run noted are not computed again. */
async function indexWithNotes(
  { progress, signal }: Pick<Context, "progress" | "signal">,
  checkpoint: Checkpoint,
  notes: string,
): Promise<IndexedCheckpoint> {
  const memo = await openHashMemo(notes);
  try {
    progress.start("hashing pieces", totalBytes([...checkpoint.tensors.values()]), "bytes");
    const indexed = await indexCheckpoint(checkpoint, { memo, signal, onProgress: (done) => progress.update(done) });
    progress.succeed();
    return indexed;
  } finally {
    await memo.close();
  }
}

function noSuchGroup(group: number, groups: number): ConnitoError {
  return new ConnitoError(`There is no group ${group} of ${groups}.`, {
    code: "usage",
    exit: "usage",
    hint: groups === 1 ? "The one group is 0: give --group 0." : `Groups are counted from 0: give --group 0 to ${groups - 1}.`,
  });
}

function outputExists(file: string): ConnitoError {
  return new ConnitoError(`There is a file ${file} already.`, {
    code: "output-exists",
    exit: "invalidInput",
    hint: "Choose another file, or remove it first.",
  });
}
