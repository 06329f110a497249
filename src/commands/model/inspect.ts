import { Args, Flags } from "@oclif/core";
import * as v from "valibot";
import { BaseCommand, type Invocation } from "../../cli/base-command.ts";
import { openCheckpoint } from "../../model/checkpoint.ts";
import { describeModel, type ModelDescription } from "../../model/describe.ts";
import { isFloatDtype } from "../../model/dtype.ts";
import type { Architecture } from "../../model/families/index.ts";
import { indexCheckpoint } from "../../model/index-checkpoint.ts";
import { manifestRoot } from "../../model/manifest.ts";
import { formatBytes, formatCount } from "../../ui/format.ts";
import { fields } from "../../ui/table.ts";

interface InspectedModel extends ModelDescription {
  readonly directory: string;
  readonly architecture: Architecture;
  /** The dtypes of its tensors, with how many have each. */
  readonly dtypes: Readonly<Record<string, number>>;
  readonly tensors: number;
  /** Absent with --no-root. */
  readonly root?: string;
}

const count = v.pipe(v.number(), v.minValue(0));
const counts = <const Names extends readonly string[]>(...names: Names) =>
  v.strictObject(Object.fromEntries(names.map((name) => [name, count])) as Record<Names[number], typeof count>);

export default class ModelInspect extends BaseCommand<typeof ModelInspect, InspectedModel> {
  static override readonly summary = "Show a checkpoint's experts and sizes, and what a miner's slice of it takes.";
  static override readonly description =
    "Checks names and shapes against the family, and hashes every piece for the version root (--no-root leaves that out, which large checkpoints need minutes for).";
  static override readonly examples = [
    "<%= config.bin %> model inspect ./base",
    "<%= config.bin %> model inspect ./base --groups 4 --json | jq .slice",
  ];

  static override readonly args = { directory: Args.directory({ required: true, description: "The checkpoint's directory." }) };
  static override readonly flags = {
    groups: Flags.integer({ helpValue: "N", summary: "Expert groups that the slice is reckoned for.", default: 2, min: 1 }),
    root: Flags.boolean({ summary: "Compute the version root.", default: true, allowNo: true }),
  };

  static override resultSchema() {
    return v.strictObject({
      directory: v.string(),
      family: v.string(),
      root: v.optional(v.string()),
      architecture: v.record(v.string(), v.unknown()),
      dtypes: v.record(v.string(), count),
      tensors: count,
      layers: count,
      expertLayers: count,
      experts: count,
      expertsPerToken: count,
      parameters: counts("total", "backbone", "routed", "expert", "active"),
      bytes: counts("total", "backbone", "routed", "expert"),
      slice: counts("groups", "expertsPerLayer", "backbone", "experts", "standIns", "trained", "total"),
    });
  }

  protected override async perform({ args, flags, progress, signal }: Invocation<typeof ModelInspect>): Promise<InspectedModel> {
    const checkpoint = await openCheckpoint(args.directory);
    const stored = [...checkpoint.tensors.values()];
    const dtypes: Record<string, number> = {};
    for (const { dtype } of stored) dtypes[dtype] = (dtypes[dtype] ?? 0) + 1;
    // Checkpoints are of one dtype but for a few small tensors: sizes are reckoned in the commonest.
    const [dtype = "BF16"] = Object.keys(dtypes)
      .filter(isFloatDtype)
      .sort((a, b) => (dtypes[b] ?? 0) - (dtypes[a] ?? 0));
    const description = describeModel(checkpoint.architecture, flags.groups, dtype);
    let root: string | undefined;
    if (flags.root) {
      progress.start("hashing pieces", description.bytes.total);
      const indexed = await indexCheckpoint(checkpoint, { signal, onProgress: (done) => progress.update(done) });
      progress.succeed();
      root = manifestRoot(indexed.manifest);
    }
    return {
      directory: args.directory,
      ...description,
      architecture: checkpoint.architecture,
      dtypes,
      tensors: stored.length,
      ...(root === undefined ? {} : { root }),
    };
  }

  protected override render(model: InspectedModel): string {
    const { parameters, bytes, slice } = model;
    const parametersAndBytes = (parameterCount: number, byteCount: number) =>
      `${formatCount(parameterCount)} parameters, ${formatBytes(byteCount)}`;
    return fields([
      ["directory", model.directory],
      ["family", model.family],
      ["root", model.root],
      [
        "dtypes",
        Object.entries(model.dtypes)
          .map(([dtype, tensors]) => `${tensors} ${dtype}`)
          .join(", "),
      ],
      ["layers", `${model.layers}, ${model.expertLayers} with experts`],
      ["experts", `${model.experts} a layer, ${model.expertsPerToken} a token`],
      ["all", parametersAndBytes(parameters.total, bytes.total)],
      ["backbone", parametersAndBytes(parameters.backbone, bytes.backbone)],
      ["routed experts", parametersAndBytes(parameters.routed, bytes.routed)],
      ["one expert", parametersAndBytes(parameters.expert, bytes.expert)],
      ["active a token", `${formatCount(parameters.active)} parameters`],
      [
        `slice of 1/${slice.groups}`,
        `${formatBytes(slice.total)}: backbone ${formatBytes(slice.backbone)}, experts ${formatBytes(slice.experts)}, stand-ins ${formatBytes(slice.standIns)}`,
      ],
    ]);
  }
}
