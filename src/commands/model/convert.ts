import { Args } from "@oclif/core";
import * as v from "valibot";
import { BaseCommand, type Invocation } from "../../cli/base-command.ts";
import { parseBytes } from "../../cli/quantities.ts";
import { writtenFlags, writtenTensors } from "../../cli/written-checkpoint.ts";
import { openCheckpoint } from "../../model/checkpoint.ts";
import { type ConvertedCheckpoint, convertCheckpoint } from "../../model/convert.ts";
import { withOutput } from "../../steps/output-lock.ts";
import { formatBytes } from "../../ui/format.ts";
import { fields } from "../../ui/table.ts";

interface ConvertedModel extends ConvertedCheckpoint {
  readonly directory: string;
}

export default class ModelConvert extends BaseCommand<typeof ModelConvert, ConvertedModel> {
  static override readonly summary = "Write a checkpoint whose weights are packed (FP8 with block scales, MXFP4) in BF16.";
  static override readonly description =
    "Packed weights can be sliced, but the subnet moves weights by steps that such types cannot take: a task wants them in BF16. The directory appears when all of it is written; stopped half-way, the same command goes on with the file that it was at.";
  static override readonly examples = [
    "<%= config.bin %> model convert ./DeepSeek-V3 --output ./DeepSeek-V3-bf16",
    "<%= config.bin %> model convert ./gpt-oss-20b --output ./base --max-shard-size 2GB --json",
  ];

  static override readonly args = { path: Args.string({ required: true, description: "The checkpoint's directory." }) };
  static override readonly flags = writtenFlags;

  static override resultSchema() {
    return v.strictObject({ directory: v.string(), files: v.number(), bytes: v.number(), unpacked: v.number() });
  }

  protected override async perform({ args, flags, progress, signal }: Invocation<typeof ModelConvert>): Promise<ConvertedModel> {
    const maximumShardBytes = parseBytes(flags["max-shard-size"]);
    const checkpoint = await openCheckpoint(args.path);
    progress.start("converting to BF16", 100);
    const onProgress = (done: number, total: number) => progress.update(Math.floor((100 * done) / total), `of ${formatBytes(total)}`);
    const converted = await withOutput(flags.output, "directory", () =>
      convertCheckpoint(checkpoint, { directory: flags.output, maximumShardBytes, onProgress, signal }),
    );
    progress.succeed();
    return { directory: flags.output, ...converted };
  }

  protected override render(result: ConvertedModel): string {
    return fields([["directory", result.directory], ["unpacked", `${result.unpacked} tensors`], writtenTensors(result)]);
  }
}
