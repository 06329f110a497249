/**
 * Reading a config.json that anybody may have written: every number a family uses is bounded, so that nothing computed from
 * it (shapes, tensor lists, bytes) can overflow an integer or fill the memory.
 */
import * as v from "valibot";
import { ConnitoError } from "../../errors.ts";
import { maximumTensors } from "../safetensors-header.ts";
import type { Architecture, Family, NewModel, TensorSpec } from "./family.ts";

const integer = (least: number, most: number) => v.pipe(v.number(), v.integer(), v.minValue(least), v.maxValue(most));

/** Dimensions: at most 2^24, so that the product of two of them and a few bytes stays an exact integer. */
export const dimension = integer(1, 2 ** 24);
export const layerCount = integer(1, 4096);
export const layerList = v.pipe(v.array(integer(0, 4095)), v.maxLength(4096));
/** What kind of attention each layer has, where the configuration says it layer by layer. */
export const layerTypes = v.nullish(v.pipe(v.array(v.string()), v.maxLength(4096)));
export const slidingLayer = "sliding_attention";
export const expertCount = integer(1, 65_536);
export const flag = v.boolean();
export const positive = v.pipe(v.number(), v.finite(), v.minValue(Number.MIN_VALUE));
export const activation = v.literal("silu", "only silu is known");

/** What nearly all families after LLaMA spell alike. */
export const common = {
  vocab_size: dimension,
  hidden_size: dimension,
  num_hidden_layers: layerCount,
  num_attention_heads: dimension,
  tie_word_embeddings: v.optional(flag, false),
};

export function invalidConfig(setting: string, reason: string): ConnitoError {
  return new ConnitoError(`config.json: ${setting}: ${reason}`, {
    code: "config-invalid",
    exit: "invalidInput",
    hint: "Compare the directory's config.json with the one published for the model.",
  });
}

/** The settings of `schema` from a config.json; the first one that does not fit is named. */
function readSettings<Schema extends v.GenericSchema>(schema: Schema, config: unknown): v.InferOutput<Schema> {
  const result = v.safeParse(schema, config, { abortEarly: true });
  if (result.success) return result.output;
  const issue = result.issues[0];
  throw invalidConfig(v.getDotPath(issue) ?? "the document", issue.received === "undefined" ? "missing" : issue.message);
}

function respell(config: unknown, spellings: Readonly<Record<string, string>> = {}): unknown {
  const given = config as Record<string, unknown>;
  const others = Object.entries(spellings).filter(([other]) => given[other] !== undefined);
  return { ...Object.fromEntries(others.map(([other, own]) => [own, given[other]])), ...given };
}

const quantization = v.object({
  quantization_config: v.nullish(
    v.looseObject({
      quant_method: v.picklist(["fp8", "mxfp4"], "only fp8 with block scales and mxfp4 are known"),
      weight_block_size: v.nullish(v.tuple([dimension, dimension])),
    }),
  ),
});

/** The blocks of FP8 weights. How a family packs its experts in 4 bits is the family's own business. */
function readFp8Block(config: unknown): Pick<Architecture, "fp8Block"> {
  const { quantization_config: read } = readSettings(quantization, config);
  if (read?.quant_method !== "fp8") return {};
  if (!read.weight_block_size) throw invalidConfig("quantization_config.weight_block_size", "missing: only FP8 with block scales is known");
  return { fp8Block: read.weight_block_size };
}

interface FamilyDefinition<Schema extends v.GenericSchema> {
  readonly modelType: string;
  readonly aliases?: readonly string[];
  /** Absent where there is one form, whose name is then `published`. */
  readonly forms?: readonly string[];
  /** The settings that the family reads, each bounded; all else in config.json is passed over. */
  readonly settings: Schema;
  /** Settings that some writers of the family spell otherwise: `{ other: own }`. The own spelling wins. */
  readonly spellings?: Readonly<Record<string, string>>;
  /** What the settings say, the first form assumed where none is given. Throws `config-invalid`. */
  readonly read: (settings: v.InferOutput<Schema>) => Omit<Architecture, "family" | "form" | "settings"> & { readonly form?: string };
  readonly tensors: (architecture: Architecture<v.InferOutput<Schema>>) => Iterable<TensorSpec>;
  /** Prefixes; see `Family.unlisted`. */
  readonly unlisted?: (architecture: Architecture<v.InferOutput<Schema>>) => Partial<ReturnType<Family["unlisted"]>>;
  readonly newConfig?: (sizes: NewModel) => Record<string, unknown>;
}

/** A family from what its file says. */
export function defineFamily<Schema extends v.GenericSchema>(definition: FamilyDefinition<Schema>): Family {
  const { modelType, aliases = [], forms = ["published"], unlisted, newConfig } = definition;
  type Own = Architecture<v.InferOutput<Schema>>;
  return {
    modelType,
    aliases,
    forms,
    architecture: (config) => {
      const settings = readSettings(definition.settings, respell(config, definition.spellings));
      return checkArchitecture({
        family: modelType,
        form: forms[0] as string,
        ...definition.read(settings),
        ...readFp8Block(config),
        settings,
      });
    },
    tensors: (architecture) => definition.tensors(architecture as Own),
    unlisted: (architecture) => ({ carried: [], leftOut: [], ...unlisted?.(architecture as Own) }),
    ...(newConfig && { newConfig: (sizes) => ({ model_type: modelType, ...newConfig(sizes) }) }),
  };
}

/** What the schemas cannot say: how the numbers must agree. Returns the architecture unchanged. */
function checkArchitecture(architecture: Architecture): Architecture {
  const { experts, expertsPerToken, expertLayers, layers } = architecture;
  if (expertsPerToken > experts) throw invalidConfig("num_experts_per_tok", `${expertsPerToken} is more than the ${experts} experts`);
  if (expertLayers.length === 0) throw invalidConfig("num_hidden_layers", "no layer has experts");
  if (expertLayers.length * experts * 3 + layers * 32 > maximumTensors)
    throw invalidConfig("num_experts", "more tensors than any checkpoint has");
  return architecture;
}

/** The width of a head, where the configuration may leave it to be reckoned. */
export function headDimension(read: {
  readonly head_dim?: number | null | undefined;
  readonly hidden_size: number;
  readonly num_attention_heads: number;
}): number {
  return read.head_dim ?? Math.floor(read.hidden_size / read.num_attention_heads);
}

/** Heads that share keys and values evenly and that rotary positions can turn. Throws `config-invalid`. */
export function checkHeads(heads: number, keyValueHeads: number, headDimension: number): void {
  if (heads % keyValueHeads !== 0) throw invalidConfig("num_key_value_heads", `${keyValueHeads} does not divide ${heads} heads`);
  if (headDimension < 2 || headDimension % 2 !== 0)
    throw invalidConfig("head_dim", `${headDimension} is not a positive even number, which rotary positions need`);
  if (headDimension > 2 ** 16 || heads * headDimension > 2 ** 26)
    throw invalidConfig("num_attention_heads", `${heads} heads of ${headDimension} are too wide`);
}
