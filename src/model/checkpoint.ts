/**
 * Checkpoints as Hugging Face lays them out: config.json, tokenizer.json, and model.safetensors or shards with an index. Opening one
 * reads headers only. Whatever disagrees (a name, a shape, a shard, the index) is refused with the file and the rule.
 */
import { basename, join } from "node:path";
import { ConnitoError } from "../errors.ts";
import { fileExists, readWhole } from "../files/reading.ts";
import { type Dtype, isFloatDtype } from "./dtype.ts";
import { type Architecture, eachTensor, familyNamed, readArchitecture, type TensorSpec } from "./families/index.ts";
import { NotJson, readLargeJson } from "./large-json.ts";
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
  const places = await readPlaces(directory);
  const architecture = readArchitecture(config, places);
  await readShards(places);
  const specs: TensorSpec[] = [];
  for (const spec of eachTensor(architecture, places)) {
    const placed = places.get(spec.name);
    if (placed === undefined) throw new CheckpointError(directory, "tensor-missing", `${spec.name} [${spec.shape}] is in no file`);
    assertTensor(spec, placed);
    placed.listed = true;
    specs.push({ ...spec, name: placed.name });
  }
  const { carried, leftOut } = sortUnlisted(architecture, places);
  for (const name of leftOut) places.delete(name);
  return { directory, config, configBytes, tokenizer, architecture, specs: [...specs, ...carried], tensors: places, leftOut };
}

/** A tensor as the index places it, before and after its file's header says the rest: of each there is one object and one text, since there may be a hundred thousand. */
interface PlacedTensor {
  readonly name: string;
  readonly file: string;
  /** No number until the header says it. */
  offset: number;
  bytes: number;
  dtype: Dtype;
  shape: readonly number[];
  /** Whether it is in the family's list. */
  listed: boolean;
}

const unknownShape: readonly number[] = [];

function place(name: string, file: string): PlacedTensor {
  return { name, file, offset: Number.NaN, bytes: 0, dtype: "F32", shape: unknownShape, listed: false };
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

/** Which file each tensor is said to be in: by the index, or by the one file there is. */
async function readPlaces(directory: string): Promise<Map<string, PlacedTensor>> {
  const single = join(directory, "model.safetensors");
  const places = new Map<string, PlacedTensor>();
  if (await fileExists(single)) {
    for (const name of (await readHeader(single)).tensors.keys()) places.set(name, place(name, single));
    return places;
  }
  const file = join(directory, "model.safetensors.index.json");
  if (!(await fileExists(file)))
    throw new CheckpointError(directory, "no-tensors", "neither model.safetensors nor model.safetensors.index.json is there");
  const invalid = (detail: string) => new CheckpointError(file, "index-format", detail);
  const shards = new Map<string, string>();
  const put = (name: unknown, tensor: string | number) => {
    if (typeof name !== "string") throw invalid(`${JSON.stringify(tensor)} is in no file that has a name`);
    if (name.length > 255 || !/^[^/\\\0]+\.safetensors$/.test(name))
      throw new CheckpointError(file, "shard-name", `${JSON.stringify(name.slice(0, 255))} is no plain name of a .safetensors file`);
    // The same text for all tensors of a shard.
    const shard = shards.get(name) ?? join(directory, name);
    shards.set(name, shard);
    const before = places.get(`${tensor}`)?.file ?? shard;
    // What other readers take of two, nobody knows.
    if (before !== shard) throw invalid(`${JSON.stringify(tensor)} is in two files: ${basename(before)} and ${name}`);
    places.set(`${tensor}`, place(`${tensor}`, shard));
  };
  if (!readIndex(file, await readWhole(file, maximumBytes.index), put)) throw invalid("no weight_map from tensor names to file names");
  if (shards.size > maximumShards) throw invalid(`more than ${maximumShards} shards`);
  return places;
}

/** Gives each member of an index's weight_map to `put`; false where there is none. */
function readIndex(file: string, bytes: Uint8Array, put: (shard: unknown, tensor: string | number) => void): boolean {
  try {
    return readLargeJson(bytes, { name: "weight_map", kind: "object", take: put }).taken;
  } catch (error) {
    throw error instanceof NotJson ? new CheckpointError(file, "json", error.message) : error;
  }
}

/** Reads the headers of the files, one after another. Throws CheckpointError for a tensor that is not placed in the file that holds it, or not held by the one it is placed in. */
async function readShards(places: ReadonlyMap<string, PlacedTensor>): Promise<void> {
  const files = new Set<string>();
  for (const { file } of places.values()) files.add(file);
  for (const file of [...files].sort()) {
    for (const [name, { dtype, shape, offset, bytes }] of (await readHeader(file)).tensors) {
      const placed = places.get(name);
      if (placed?.file !== file)
        throw new CheckpointError(file, "shard-unlisted-tensor", `holds ${name}, which the index does not place there`);
      placed.dtype = dtype;
      placed.shape = shape;
      placed.offset = offset;
      placed.bytes = bytes;
    }
  }
  for (const { name, file, offset } of places.values()) {
    if (Number.isNaN(offset)) throw new CheckpointError(file, "shard-missing-tensor", `lacks ${name}, which the index places there`);
  }
}

/** The tensor is as the configuration makes it. Throws CheckpointError. */
function assertTensor({ name, shape, dtype }: TensorSpec, stored: StoredTensor): void {
  if (stored.shape.length !== shape.length || stored.shape.some((dimension, axis) => dimension !== shape[axis]))
    throw new CheckpointError(stored.file, "tensor-shape", `${name} is [${stored.shape}], config.json makes it [${shape}]`);
  if (dtype === undefined ? !isFloatDtype(stored.dtype) : stored.dtype !== dtype) {
    const wanted = dtype ?? "one of F32, BF16 and F16";
    throw new CheckpointError(stored.file, "tensor-dtype", `${name} is ${stored.dtype}, not ${wanted}`);
  }
}

/**
 * The tensors that the family does not list: those that are carried along, as part of the backbone, and the names of those that are left
 * out. Throws CheckpointError `tensor-unknown` for any other.
 */
function sortUnlisted(architecture: Architecture, places: ReadonlyMap<string, PlacedTensor>): { carried: TensorSpec[]; leftOut: string[] } {
  const prefixes = familyNamed(architecture.family).unlisted(architecture);
  const carried: TensorSpec[] = [];
  const leftOut: string[] = [];
  for (const { name, file, shape, dtype, listed } of places.values()) {
    if (listed) continue;
    if (prefixes.carried.some((prefix) => name.startsWith(prefix))) carried.push({ name, shape, dtype, role: "backbone" });
    else if (prefixes.leftOut.some((prefix) => name.startsWith(prefix))) leftOut.push(name);
    else throw new CheckpointError(file, "tensor-unknown", `${name} is no tensor of this model`);
  }
  return { carried, leftOut };
}
