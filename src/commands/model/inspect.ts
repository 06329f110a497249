import { stat } from "node:fs/promises";
import { Args, Flags } from "@oclif/core";
import * as v from "valibot";
import { BaseCommand, type Invocation } from "../../cli/base-command.ts";
import { readStandInPolicy, standInsFlag } from "../../cli/stand-in-policy.ts";
import { type Checkpoint, openCheckpoint, readConfig } from "../../model/checkpoint.ts";
import { convertedConfig } from "../../model/convert.ts";
import {
  describeModel,
  describeSlice,
  type ModelDescription,
  type SizedModel,
  type SliceSize,
  sizeCheckpoint,
  sizeConfig,
} from "../../model/describe.ts";
import { type Architecture, isPacked, whyNotComputable } from "../../model/families/index.ts";
import { indexCheckpoint } from "../../model/index-checkpoint.ts";
import { manifestRoot } from "../../model/manifest.ts";
import { expertLayout } from "../../model/slice.ts";
import { defaultPolicy, type StandInPolicy } from "../../model/stand-in-policy.ts";
import { possibleGroups } from "../../protocol/experts/expert-manager.ts";
import { formatBytes, formatCount, formatRuns } from "../../ui/format.ts";
import { fields, table } from "../../ui/table.ts";

interface InspectedModel extends ModelDescription {
  readonly path: string;
  readonly architecture: Architecture;
  /** What keeps the engine from computing it; empty where it can be trained and scored. */
  readonly notComputed: readonly string[];
  readonly tensors: number;
  /** Tensors in the files that belong to no version. */
  readonly leftOut: number;
  /** Of a stand-in's value, on average. */
  readonly standInBits: number;
  readonly slices: readonly SliceSize[];
  /** What a packed checkpoint comes to in BF16, which tasks are made of. */
  readonly converted?: { readonly bytes: number; readonly slices: readonly SliceSize[] };
  /** Absent with --no-root, and where only a config.json was read. */
  readonly root?: string;
}

const count = v.pipe(v.number(), v.minValue(0));
const counts = <const Names extends readonly string[]>(...names: Names) =>
  v.object(Object.fromEntries(names.map((name) => [name, count])) as Record<Names[number], typeof count>);

const slices = v.array(
  v.strictObject({
    ...counts("groups", "expertsPerLayer", "backbone", "experts", "trained", "total").entries,
    standIns: v.optional(count),
  }),
);

export default class ModelInspect extends BaseCommand<typeof ModelInspect, InspectedModel> {
  static override readonly summary = "Show a checkpoint's experts and sizes, and what a miner's slice of it takes.";
  static override readonly description =
    "Checks names, shapes and element types against the family, and hashes every piece for the version root (--no-root leaves that out, which large checkpoints need minutes for). Of a config.json alone it shows what a checkpoint of that model would have.";
  static override readonly examples = [
    "<%= config.bin %> model inspect ./base",
    "<%= config.bin %> model inspect ./Qwen3-30B-A3B/config.json --groups 16",
    "<%= config.bin %> model inspect ./base --groups 4 --stand-ins by-use:3 --json | jq '.slices[0].total'",
  ];

  static override readonly args = {
    path: Args.string({ required: true, description: "The checkpoint's directory, or a config.json." }),
  };
  static override readonly flags = {
    groups: Flags.integer({
      helpValue: "N",
      summary: "Expert groups that the slice is reckoned for, a divisor of the experts; without it, all up to 64.",
      min: 1,
    }),
    "stand-ins": standInsFlag,
    root: Flags.boolean({ summary: "Compute the version root.", default: true, allowNo: true }),
  };

  static override resultSchema() {
    return v.strictObject({
      path: v.string(),
      family: v.string(),
      form: v.string(),
      notComputed: v.array(v.string()),
      root: v.optional(v.string()),
      architecture: v.record(v.string(), v.unknown()),
      dtypes: v.record(v.string(), count),
      tensors: count,
      leftOut: count,
      layers: count,
      expertLayers: v.array(count),
      experts: count,
      expertsPerToken: count,
      parameters: counts("total", "backbone", "routed", "expert", "active"),
      bytes: counts("total", "backbone", "routed", "expert"),
      standInBits: count,
      slices,
      converted: v.optional(v.strictObject({ bytes: count, slices })),
    });
  }

  protected override async perform({ args, flags, progress, signal }: Invocation<typeof ModelInspect>): Promise<InspectedModel> {
    const isFile = await stat(args.path).then(
      (found) => found.isFile(),
      () => false,
    );
    const checkpoint = isFile ? undefined : await openCheckpoint(args.path);
    const { config } = checkpoint ?? (await readConfig(args.path));
    const model = checkpoint ? sizeCheckpoint(checkpoint) : sizeConfig(config);
    const { architecture } = model;
    const choices = flags.groups === undefined ? possibleGroups(expertLayout(architecture)).filter(isUsual) : [flags.groups];
    const asked = readStandInPolicy(flags["stand-ins"]);
    const policyOf = (sized: SizedModel) => asked ?? defaultPolicy(sized.architecture);
    const slicesOf = (sized: SizedModel) => choices.map((groups) => describeSlice(sized, groups, policyOf(sized)));
    const description = describeModel(model);
    const converted = isPacked(architecture) ? sizeConfig(convertedConfig(config)) : undefined;

    const rootOf = async (opened: Checkpoint) => {
      progress.start("hashing pieces", description.bytes.total, "bytes");
      const indexed = await indexCheckpoint(opened, { signal, onProgress: (done) => progress.update(done) });
      progress.succeed();
      return manifestRoot(indexed.manifest);
    };
    return {
      path: args.path,
      ...description,
      architecture,
      notComputed: whyNotComputable(architecture),
      tensors: model.tensors.length,
      leftOut: checkpoint?.leftOut.length ?? 0,
      standInBits: bitsOf(policyOf(converted ?? model)),
      slices: slicesOf(model),
      ...(converted && { converted: { bytes: describeModel(converted).bytes.total, slices: slicesOf(converted) } }),
      ...(flags.root && checkpoint && { root: await rootOf(checkpoint) }),
    };
  }

  protected override render(model: InspectedModel): string {
    const { parameters, bytes, expertLayers } = model;
    const parametersAndBytes = (parameterCount: number, byteCount: number) =>
      `${formatCount(parameterCount)} parameters, ${formatBytes(byteCount)}`;
    const dtypes = Object.entries(model.dtypes).map(([dtype, tensors]) => `${tensors} ${dtype}`);
    const way = isPacked(model.architecture) ? " (`connito model convert` writes it in BF16)" : "";
    const summary = fields([
      ["path", model.path],
      ["family", `${model.family}, tensors in the form ${model.form}`],
      [
        "engine",
        model.notComputed.length === 0 ? "trains and scores it" : `slices it, does not compute ${model.notComputed.join(", ")}${way}`,
      ],
      ["root", model.root],
      ["tensors", `${dtypes.join(", ")}${model.leftOut === 0 ? "" : `; ${model.leftOut} more belong to no version`}`],
      ["layers", model.layers],
      ["with experts", `${expertLayers.length}: ${formatRuns(expertLayers)}`],
      ["experts", `${model.experts} a layer, ${model.expertsPerToken} a token`],
      ["all", parametersAndBytes(parameters.total, bytes.total)],
      ["backbone", parametersAndBytes(parameters.backbone, bytes.backbone)],
      ["routed experts", parametersAndBytes(parameters.routed, bytes.routed)],
      ["one expert", parametersAndBytes(parameters.expert, bytes.expert)],
      ["active a token", `${formatCount(parameters.active)} parameters`],
    ]);
    const holds = `What a miner holds, with stand-ins of ${model.standInBits} bits for the other groups' experts and without them`;
    const ofConverted =
      model.converted &&
      `\n\n${holds}, of the model in BF16 (${formatBytes(model.converted.bytes)}):\n\n${slicesTable(model.converted.slices)}`;
    return `${summary}\n\n${holds}:\n\n${slicesTable(model.slices)}${ofConverted ?? ""}`;
  }
}

function slicesTable(sizes: readonly SliceSize[]): string {
  const headings = ["groups", "experts a layer", "backbone", "own experts", "stand-ins", "with", "without"];
  return table(
    headings.map((heading) => ({ heading, align: "right" as const })),
    sizes.map(({ groups, expertsPerLayer, backbone, experts, standIns, total, trained }) => [
      groups,
      expertsPerLayer,
      formatBytes(backbone),
      formatBytes(experts),
      standIns === undefined ? undefined : formatBytes(standIns),
      standIns === undefined ? undefined : formatBytes(total),
      formatBytes(trained),
    ]),
  );
}

function bitsOf(policy: StandInPolicy): number {
  return policy.kind === "by-use" ? policy.bits : 4.5;
}

/** More groups than these are given by name only. */
function isUsual(groups: number): boolean {
  return groups <= 64;
}
