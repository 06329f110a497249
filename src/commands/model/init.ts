import { existsSync } from "node:fs";
import { join } from "node:path";
import { Args, Flags } from "@oclif/core";
import * as v from "valibot";
import { BaseCommand, type Invocation } from "../../cli/base-command.ts";
import { readInput } from "../../cli/input.ts";
import { ConnitoError } from "../../errors.ts";
import { creatableFamilies, familyNamed } from "../../model/families/index.ts";
import { indexCheckpoint } from "../../model/index-checkpoint.ts";
import { initializeCheckpoint } from "../../model/initialize.ts";
import { manifestRoot, totalBytes } from "../../model/manifest.ts";
import { formatBytes } from "../../ui/format.ts";
import { fields } from "../../ui/table.ts";

interface InitializedModel {
  readonly directory: string;
  readonly family: string;
  readonly root: string;
  readonly pieces: number;
  readonly bytes: number;
}

const maximumTokenizerBytes = 128 * 2 ** 20;

const size = (summary: string, initial: number) => Flags.integer({ helpValue: "N", summary, default: initial, min: 1, max: 2 ** 24 });

export default class ModelInit extends BaseCommand<typeof ModelInit, InitializedModel> {
  static override readonly summary = "Write a small Mixture-of-Experts checkpoint with random weights.";
  static override readonly description =
    "The files and names are those of a Hugging Face checkpoint of the family: config.json, tokenizer.json, model.safetensors. The same seed gives the same bytes on every machine.";
  static override readonly examples = [
    "<%= config.bin %> model init ./base",
    "<%= config.bin %> model init ./base --family olmoe --layers 2 --experts 4 --seed trial",
  ];

  static override readonly args = { directory: Args.directory({ required: true, description: "Where to write it." }) };
  static override readonly flags = {
    family: Flags.string({ summary: "Whose names and rules.", options: [...creatableFamilies], default: "qwen3_moe" }),
    layers: size("Decoder layers.", 4),
    "hidden-size": size("Width of the residual stream.", 128),
    heads: size("Attention heads; hidden size divided by them is a head's width.", 4),
    "key-value-heads": size("Heads of keys and values.", 2),
    experts: size("Experts a layer.", 8),
    "experts-per-token": size("Experts that a token is sent to.", 2),
    "intermediate-size": size("Inner width of an expert.", 128),
    "normalize-top-k": Flags.boolean({
      summary: "Scale the chosen experts' weights to sum to one, as Qwen3-MoE does and OLMoE does not.",
      default: true,
      allowNo: true,
    }),
    "vocabulary-size": size("Tokens. The built-in byte tokenizer needs 257.", 257),
    tokenizer: Flags.string({ helpValue: "FILE|-", summary: "A tokenizer.json to put in, instead of the built-in one token a byte." }),
    seed: Flags.string({ helpValue: "TEXT", summary: "What the weights are drawn from.", default: "connito" }),
    force: Flags.boolean({ summary: "Overwrite a checkpoint that is there." }),
  };

  static override resultSchema() {
    return v.strictObject({ directory: v.string(), family: v.string(), root: v.string(), pieces: v.number(), bytes: v.number() });
  }

  protected override async perform({ args, flags, progress, signal }: Invocation<typeof ModelInit>): Promise<InitializedModel> {
    const { directory } = args;
    if (!flags.force && existsSync(join(directory, "config.json"))) {
      throw new ConnitoError(`There is a checkpoint in ${directory} already.`, {
        code: "checkpoint-exists",
        exit: "invalidInput",
        hint: "Choose another directory, or give --force to overwrite it.",
      });
    }
    const tokenizer =
      flags.tokenizer === undefined ? undefined : await readInput(flags.tokenizer, { maximumBytes: maximumTokenizerBytes, signal });
    const family = familyNamed(flags.family);
    const config = family.newConfig?.({
      vocabularySize: flags["vocabulary-size"],
      hiddenSize: flags["hidden-size"],
      layers: flags.layers,
      heads: flags.heads,
      keyValueHeads: flags["key-value-heads"],
      intermediateSize: flags["intermediate-size"],
      experts: flags.experts,
      expertsPerToken: flags["experts-per-token"],
      normalizeTopK: flags["normalize-top-k"],
    });
    if (config === undefined) throw new Error(`${flags.family} is offered and cannot be made`);
    progress.start("writing weights");
    const checkpoint = await initializeCheckpoint({ directory, config, seed: flags.seed, ...(tokenizer && { tokenizer }) });
    const { manifest } = await indexCheckpoint(checkpoint, { signal });
    progress.succeed();
    return {
      directory,
      family: family.modelType,
      root: manifestRoot(manifest),
      pieces: manifest.pieces.length,
      bytes: totalBytes(manifest.pieces),
    };
  }

  protected override render({ directory, family, root, pieces, bytes }: InitializedModel): string {
    return fields([
      ["directory", directory],
      ["family", family],
      ["root", root],
      ["pieces", pieces],
      ["size", formatBytes(bytes)],
    ]);
  }
}
