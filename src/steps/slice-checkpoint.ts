/** A checkpoint's backbone and one group's experts as one file, from the checkpoint alone: no task, no chain, no stand-ins. */
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { ConnitoError } from "../errors.ts";
import { fileExists, onStorage } from "../files.ts";
import { openCheckpoint } from "../model/checkpoint.ts";
import { indexCheckpoint } from "../model/index-checkpoint.ts";
import { totalBytes } from "../model/manifest.ts";
import { expertLayout, planSlice, writeSliceFile } from "../model/slice.ts";
import { createExpertManager } from "../protocol/experts/expert-manager.ts";
import type { Context } from "./context.ts";

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

/** All of the checkpoint is read, for the version's root. @throws usage for a group that there is not, groups-do-not-divide, output-exists, and what reading and writing throw */
export async function sliceCheckpoint(
  { progress, signal }: Pick<Context, "progress" | "signal">,
  { directory, groups, group, output }: SliceCheckpointInput,
): Promise<SlicedModel> {
  if (group >= groups) throw noSuchGroup(group, groups);
  const checkpoint = await openCheckpoint(directory);
  const { architecture } = checkpoint;
  const manager = createExpertManager(expertLayout(architecture), groups);
  // Before all is read, which large checkpoints need minutes for.
  if (await fileExists(output)) throw outputExists(output);
  await onStorage(dirname(output), () => mkdir(dirname(output), { recursive: true }));

  const onProgress = (done: number) => progress.update(done);
  progress.start("hashing pieces", totalBytes([...checkpoint.tensors.values()]), "bytes");
  const { manifest, locations } = await indexCheckpoint(checkpoint, { signal, onProgress });
  progress.succeed();

  const plan = planSlice({ manifest, standIns: "none", manager, group });
  const { backbone, experts } = plan.bytes;
  progress.start("writing the slice", totalBytes(plan.pieces), "bytes");
  await writeSliceFile(plan, output, { locate: (hash) => locations.get(hash), signal, onProgress });
  progress.succeed();
  return {
    file: output,
    family: architecture.family,
    root: plan.version,
    groups,
    group,
    experts: manager.expertsOf(group)[0]?.experts ?? [],
    pieces: plan.pieces.length,
    bytes: { backbone, experts, total: backbone + experts, checkpoint: totalBytes(manifest.pieces) },
  };
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
