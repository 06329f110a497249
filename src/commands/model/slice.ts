import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { Args, Flags } from "@oclif/core";
import * as v from "valibot";
import { BaseCommand, type Invocation } from "../../cli/base-command.ts";
import { ConnitoError } from "../../errors.ts";
import { fileExists, onStorage } from "../../files.ts";
import { openCheckpoint } from "../../model/checkpoint.ts";
import { indexCheckpoint } from "../../model/index-checkpoint.ts";
import { totalBytes } from "../../model/manifest.ts";
import { expertLayout, planSlice, writeSliceFile } from "../../model/slice.ts";
import { createExpertManager } from "../../protocol/experts/expert-manager.ts";
import { formatBytes, formatRuns } from "../../ui/format.ts";
import { fields } from "../../ui/table.ts";

interface SlicedModel {
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

export default class ModelSlice extends BaseCommand<typeof ModelSlice, SlicedModel> {
  static override readonly summary = "Write a checkpoint's backbone and one group's experts as one safetensors file.";
  static override readonly description =
    "Of every family, those that the engine does not compute and packed weights (FP8, MXFP4) too: bytes are copied as they are. The experts are split evenly; of the other groups' there is nothing, so stand-ins are in a task's slices only. All of the checkpoint is read, for the version root; an expert of a fused tensor is called NAME#EXPERT.";
  static override readonly examples = [
    "<%= config.bin %> model slice ./DeepSeek-V3 --groups 32 --group 5 --output group-5.safetensors",
    "<%= config.bin %> model slice ./base --groups 4 --group 0 --output slice.safetensors --json | jq .bytes",
  ];

  static override readonly args = { directory: Args.string({ required: true, description: "The checkpoint's directory." }) };
  static override readonly flags = {
    groups: Flags.integer({ helpValue: "N", summary: "Expert groups, a divisor of the experts.", required: true, min: 1 }),
    group: Flags.integer({ helpValue: "G", summary: "Whose experts, counted from 0.", required: true, min: 0 }),
    output: Flags.string({ helpValue: "FILE", summary: "Where to write it; must not exist.", required: true }),
  };

  static override resultSchema() {
    return v.strictObject({
      file: v.string(),
      family: v.string(),
      root: v.string(),
      groups: v.number(),
      group: v.number(),
      experts: v.array(v.number()),
      pieces: v.number(),
      bytes: v.strictObject({ backbone: v.number(), experts: v.number(), total: v.number(), checkpoint: v.number() }),
    });
  }

  protected override async perform({ args, flags, progress, signal }: Invocation<typeof ModelSlice>): Promise<SlicedModel> {
    const { groups, group, output } = flags;
    if (group >= groups) throw noSuchGroup(group, groups);
    const checkpoint = await openCheckpoint(args.directory);
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

  protected override render({ file, family, root, groups, group, experts, bytes }: SlicedModel): string {
    const share = `${((100 * bytes.total) / bytes.checkpoint).toFixed(1)}% of the checkpoint's ${formatBytes(bytes.checkpoint)}`;
    return fields([
      ["file", file],
      ["family", family],
      ["root", root],
      ["group", `${group} of ${groups}: experts ${formatRuns(experts)} of each layer that has them`],
      ["backbone", formatBytes(bytes.backbone)],
      ["experts", formatBytes(bytes.experts)],
      ["total", `${formatBytes(bytes.total)}, ${share}`],
    ]);
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
