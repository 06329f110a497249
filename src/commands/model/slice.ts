import { Args, Flags } from "@oclif/core";
import * as v from "valibot";
import { BaseCommand, type Invocation } from "../../cli/base-command.ts";
import { type SlicedModel, sliceCheckpoint } from "../../steps/slice-checkpoint.ts";
import { formatBytes, formatRuns } from "../../ui/format.ts";
import { fields } from "../../ui/table.ts";

export default class ModelSlice extends BaseCommand<typeof ModelSlice, SlicedModel> {
  static override readonly summary = "Write a checkpoint's backbone and one group's experts as one safetensors file.";
  static override readonly description =
    "Of every family, those that the engine does not compute and packed weights (FP8, MXFP4) too: bytes are copied as they are. The experts are split evenly; of the other groups' there is nothing, so stand-ins are in a task's slices only. All of the checkpoint is read, for the version root. Stopped half-way, the same command goes on where it was, in hidden files beside the output. An expert of a fused tensor is called NAME#EXPERT.";
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
    return sliceCheckpoint({ progress, signal }, { ...args, ...flags });
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
