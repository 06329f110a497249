/**
 * Checkpoints as Hugging Face lays them out: config.json, tokenizer.json, and model.safetensors or shards with an index. Opening one
 * reads headers only. Whatever disagrees (a name, a shape, a shard, the index) is refused with the file and the rule.
 */
import { join } from "node:path";
import { ConnitoError } from "../errors.ts";
import { fileExists, readWhole } from "../files.ts";
import { type Dtype, isFloatDtype } from "./dtype.ts";
import { type Architecture, familyNamed, listTensors, readArchitecture, type TensorSpec } from "./families/index.ts";
import { readHeader } from "./safetensors.ts";

/** Limits on the small files beside the tensors. */
const maximumBytes = { config: 4 * 2 ** 20, tokenizer: 128 * 2 ** 20, index: 64 * 2 ** 20 };
const maximumShards = 4096;

export interface StoredTensor {
  readonly file: string;
  readonly offset: number;
  readonly bytes: number;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

export interface Checkpoint {
  readonly directory: string;
  /** config.json as parsed, and its bytes. */
  readonly config: unknown;
  readonly configBytes: Uint8Array;
  /** The bytes of tokenizer.json. */
  readonly tokenizer: Uint8Array;
  readonly architecture: Architecture;
  /** What the family says is in it, in the family's order. */
  readonly specs: readonly TensorSpec[];
  /** Where each of them lies. */
  readonly tensors: Map<string, StoredTensor>;
  /** Tensors in the files that belong to no version, such as layers that predict further tokens. */
  readonly leftOut: readonly string[];
}

export type CheckpointRule =
  | "json"
  | "index-format"
  | "shard-name"
  | "shard-missing-tensor"
  | "shard-unlisted-tensor"
  | "tensor-missing"
  | "tensor-unknown"
  | "tensor-shape"
  | "tensor-dtype"
  | "no-tensors";

/** `checkpoint-invalid`, with the file and the rule that it breaks. */
export class CheckpointError extends ConnitoError {
  readonly file: string;
  readonly rule: CheckpointRule;

  constructor(file: string, rule: CheckpointRule, detail: string) {
    super(`${file}: ${rule}: ${detail}`, {
      code: "checkpoint-invalid",
      exit: "invalidInput",
      hint: "Compare the directory with the published checkpoint: a file is missing, damaged or of another model.",
    });
    this.file = file;
    this.rule = rule;
  }
}

/**
 * Opens a checkpoint directory. Throws CheckpointError, SafetensorsError, `config-invalid`, `unknown-family`, and what opening
 * files throws (`file-missing`, `permission-denied`, `file-oversize`, ...).
 */
export async function openCheckpoint(directory: string): Promise<Checkpoint> {
  const { config, bytes: configBytes } = await readConfig(join(directory, "config.json"));
  const tokenizer = await readWhole(join(directory, "tokenizer.json"), maximumBytes.tokenizer);
  const tensors = await readTensors(directory);
  const names = new Set(tensors.keys());
  const architecture = readArchitecture(config, names);
  const listed = listTensors(architecture, names);
  checkTensors(directory, listed, tensors);
  const { carried, leftOut } = sortUnlisted(architecture, listed, tensors);
  const specs = [...listed, ...carried];
  // Under the names of the specs: the files' own would keep the text of all headers in memory.
  const stored = new Map(specs.map(({ name }) => [name, tensors.get(name) as StoredTensor]));
  return { directory, config, configBytes, tokenizer, architecture, specs, tensors: stored, leftOut };
}

/** A config.json of a known family as parsed, and its bytes. Throws CheckpointError, `config-invalid`, `unknown-family`, and what opening files throws. */
export async function readConfig(file: string): Promise<{ config: unknown; bytes: Uint8Array }> {
  const bytes = await readWhole(file, maximumBytes.config);
  const config = parseJson(bytes, file);
  try {
    readArchitecture(config);
  } catch (error) {
    if (!(error instanceof ConnitoError)) throw error;
    const { code, hint, message } = error;
    throw new ConnitoError(`${file}: ${message.replace(/^config\.json: /, "")}`, { code, exit: "invalidInput", hint, cause: error });
  }
  return { config, bytes };
}

function parseJson(bytes: Uint8Array, file: string): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new CheckpointError(file, "json", "not JSON in UTF-8");
  }
}

async function readTensors(directory: string): Promise<Map<string, StoredTensor>> {
  const single = join(directory, "model.safetensors");
  if (await fileExists(single)) return readShard(single);
  const index = join(directory, "model.safetensors.index.json");
  if (await fileExists(index)) return readShards(directory, index);
  throw new CheckpointError(directory, "no-tensors", "neither model.safetensors nor model.safetensors.index.json is there");
}

async function readShard(file: string): Promise<Map<string, StoredTensor>> {
  const { tensors } = await readHeader(file);
  return new Map([...tensors].map(([name, { dtype, shape, offset, bytes }]) => [name, { file, dtype, shape, offset, bytes }]));
}

/** All shards that the index names. The index and the shards must list the same tensors; `total_size` is informative and not read. */
async function readShards(directory: string, indexFile: string): Promise<Map<string, StoredTensor>> {
  const { weight_map: weightMap } = (parseJson(await readWhole(indexFile, maximumBytes.index), indexFile) ?? {}) as Record<string, unknown>;
  if (!isWeightMap(weightMap)) throw new CheckpointError(indexFile, "index-format", "no weight_map from tensor names to file names");
  const names = new Set(Object.values(weightMap));
  if (names.size > maximumShards) throw new CheckpointError(indexFile, "index-format", `more than ${maximumShards} shards`);
  const tensors = new Map<string, StoredTensor>();
  for (const name of [...names].sort()) {
    if (!/^[^/\\\0]+\.safetensors$/.test(name)) {
      throw new CheckpointError(indexFile, "shard-name", `${JSON.stringify(name)} is no plain name of a .safetensors file`);
    }
    const shard = join(directory, name);
    for (const [tensor, stored] of await readShard(shard)) {
      if (!Object.hasOwn(weightMap, tensor) || weightMap[tensor] !== name) {
        throw new CheckpointError(shard, "shard-unlisted-tensor", `holds ${tensor}, which the index does not place there`);
      }
      tensors.set(tensor, stored);
    }
  }
  for (const tensor in weightMap) {
    if (!tensors.has(tensor)) {
      const shard = join(directory, weightMap[tensor] as string);
      throw new CheckpointError(shard, "shard-missing-tensor", `lacks ${tensor}, which the index places there`);
    }
  }
  return tensors;
}

/** By hand, because a schema makes a copy of what may be a hundred thousand names. */
function isWeightMap(value: unknown): value is Record<string, string> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.values(value).every((name) => typeof name === "string" && name.length <= 255);
}

function checkTensors(directory: string, specs: readonly TensorSpec[], tensors: Map<string, StoredTensor>): void {
  for (const spec of specs) {
    const stored = tensors.get(spec.name);
    if (stored === undefined) throw new CheckpointError(directory, "tensor-missing", `${spec.name} [${spec.shape}] is in no file`);
    if (stored.shape.length !== spec.shape.length || stored.shape.some((dimension, axis) => dimension !== spec.shape[axis])) {
      throw new CheckpointError(stored.file, "tensor-shape", `${spec.name} is [${stored.shape}], config.json makes it [${spec.shape}]`);
    }
    if (spec.dtype === undefined ? !isFloatDtype(stored.dtype) : stored.dtype !== spec.dtype) {
      const wanted = spec.dtype ?? "one of F32, BF16 and F16";
      throw new CheckpointError(stored.file, "tensor-dtype", `${spec.name} is ${stored.dtype}, not ${wanted}`);
    }
  }
}

/**
 * The tensors that the family does not list: those that are carried along, as part of the backbone, and the names of those that are left
 * out. Throws CheckpointError `tensor-unknown` for any other.
 */
function sortUnlisted(
  architecture: Architecture,
  listed: readonly TensorSpec[],
  tensors: ReadonlyMap<string, StoredTensor>,
): { carried: TensorSpec[]; leftOut: string[] } {
  const known = new Set(listed.map((spec) => spec.name));
  const prefixes = familyNamed(architecture.family).unlisted(architecture);
  const carried: TensorSpec[] = [];
  const leftOut: string[] = [];
  for (const [name, { file, shape, dtype }] of tensors) {
    if (known.has(name)) continue;
    if (prefixes.carried.some((prefix) => name.startsWith(prefix))) carried.push({ name, shape, dtype, role: "backbone" });
    else if (prefixes.leftOut.some((prefix) => name.startsWith(prefix))) leftOut.push(name);
    else throw new CheckpointError(file, "tensor-unknown", `${name} is no tensor of this model`);
  }
  return { carried, leftOut };
}
