/** Small models as transformers saved them (scripts/goldens/structure.py), and checkpoint directories of their shapes to work with. */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bytesOf, type Dtype, fromFloat32 } from "../../../src/model/dtype.ts";
import { families, listTensors, readArchitecture } from "../../../src/model/families/index.ts";
import { writeSafetensors } from "../../../src/model/safetensors.ts";
import { someFloats } from "../support.ts";

export interface Golden {
  readonly transformers: string;
  readonly config: Record<string, unknown>;
  /** Shapes by name: as saved by default, and as saved in the layout that transformers has in memory where that differs. */
  readonly tensors: Record<string, number[]>;
  readonly inMemory?: Record<string, number[]>;
}

const directory = join(import.meta.dirname, "structure");

const saved = readdirSync(directory).map((file): [string, Golden] => [
  file.replace(/\.json$/, ""),
  JSON.parse(readFileSync(join(directory, file), "utf8")),
]);
const hasFamily = ([, { config }]: [string, Golden]) =>
  families.some((one) => [one.modelType, ...one.aliases].includes(config["model_type"] as string));

export const goldens = saved.filter(hasFamily);

/** Files of families that there is no code of (yet): complete.test.ts names them, so that no other test has to trip over them. */
export const goldensWithoutFamily = saved.filter((one) => !hasFamily(one)).map(([name]) => `${name}.json`);

/** A model whose tensors a test makes up. */
export interface SmallModel {
  readonly name: string;
  readonly config: Record<string, unknown>;
  readonly tensors: Readonly<Record<string, { readonly shape: readonly number[]; readonly dtype: Dtype }>>;
}

const allOf = (tensors: Record<string, number[]>, dtype: Dtype) =>
  Object.fromEntries(Object.entries(tensors).map(([name, shape]) => [name, { shape, dtype }]));

/** What the family itself lists for a configuration, for layouts that transformers cannot write on this machine. */
function listed(config: Record<string, unknown>): SmallModel["tensors"] {
  return Object.fromEntries(listTensors(readArchitecture(config)).map(({ name, shape, dtype = "BF16" }) => [name, { shape, dtype }]));
}

/** One of every family and form, in BF16 but for what is packed. */
export function smallModels(): SmallModel[] {
  const asSaved = goldens.flatMap(([name, { config, tensors, inMemory }]): SmallModel[] => [
    { name, config, tensors: allOf(tensors, "BF16") },
    ...(inMemory ? [{ name: `${name}, fused`, config, tensors: allOf(inMemory, "BF16") }] : []),
  ]);
  const of = (name: string) => (goldens.find(([one]) => one === name) as [string, Golden])[1];
  const mxfp4 = { ...of("gpt_oss").config, hidden_size: 64, intermediate_size: 32, quantization_config: { quant_method: "mxfp4" } };
  const { config, tensors } = of("deepseek_v3");
  const fp8 = { ...config, quantization_config: { quant_method: "fp8", weight_block_size: [16, 8] } };
  // The layer after the last, as published checkpoints have it: it belongs to no version.
  const further = Object.fromEntries(
    Object.entries(tensors)
      .filter(([name]) => name.startsWith("model.layers.3."))
      .map(([name, shape]) => [name.replace(".3.", ".4."), { shape, dtype: "F8_E4M3" as const }]),
  );
  return [
    ...asSaved,
    { name: "gpt_oss, MXFP4", config: mxfp4, tensors: listed(mxfp4) },
    { name: "deepseek_v3, FP8 and a further layer", config: fp8, tensors: { ...listed(fp8), ...further } },
  ];
}

/** The bytes that a made-up tensor has: small finite values where it holds floats, anything where it is packed. */
export function bytesOfTensor(name: string, { shape, dtype }: SmallModel["tensors"][string]): Uint8Array {
  const bytes = bytesOf(dtype, shape) as number;
  const seed = createHash("sha256").update(name).digest();
  if (dtype === "BF16" || dtype === "F32") return fromFloat32(dtype, someFloats(seed.readUInt32LE(), bytes / (dtype === "F32" ? 4 : 2)));
  return Uint8Array.from({ length: bytes }, (_, at) => ((seed[at % 32] as number) * (at + 7)) & 0xff);
}

/** Writes the model as a checkpoint directory of several shards with an index. */
export async function writeSmallModel(path: string, { config, tensors }: SmallModel, shards = 2): Promise<void> {
  mkdirSync(path, { recursive: true });
  const names = Object.keys(tensors);
  const weightMap: Record<string, string> = {};
  for (let shard = 0; shard < shards; shard++) {
    const file = `model-${shard + 1}.safetensors`;
    const own = names.filter((_, index) => index % shards === shard);
    for (const name of own) weightMap[name] = file;
    const contents = own.map((name) => {
      const tensor = tensors[name] as SmallModel["tensors"][string];
      return { name, ...tensor, data: bytesOfTensor(name, tensor) };
    });
    await writeSafetensors(join(path, file), contents, { format: "pt" });
  }
  const files: Record<string, unknown> = {
    "model.safetensors.index.json": { weight_map: weightMap },
    "config.json": config,
    "tokenizer.json": {},
  };
  for (const [name, value] of Object.entries(files)) writeFileSync(join(path, name), JSON.stringify(value));
}
