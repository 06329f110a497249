/**
 * A checkpoint with packed weights (FP8 with block scales, MXFP4) as one in BF16, which can be trained and scored: packed weights are
 * unpacked and rounded to BF16, every other tensor is copied as it is. Holds one expert's matrix in memory.
 */
import { join, resolve } from "node:path";
import { ConnitoError } from "../errors.ts";
import { openFile, readInto } from "../files/reading.ts";
import { hashFields, utf8 } from "../protocol/hash.ts";
import type { Checkpoint, StoredTensor } from "./checkpoint.ts";
import { type Dtype, fromFloat32, requireFloatDtype, toFloat32 } from "./dtype.ts";
import { scaleNameOf } from "./families/fp8.ts";
import { listTensors, readArchitecture, type TensorSpec } from "./families/index.ts";
import { blocksName, scalesName, unpackedName } from "./families/mxfp4.ts";
import { findChange, identitiesOf } from "./file-identity.ts";
import { unpackFp8, unpackMxfp4 } from "./packed.ts";
import { streamTensor, writeSafetensors } from "./safetensors.ts";
import { jsonFile } from "./write-checkpoint.ts";
import { planShards, type WrittenCheckpoint, writeShards } from "./write-shards.ts";

export interface ConvertOptions {
  /** Must not exist, or be empty. */
  readonly directory: string;
  readonly maximumShardBytes: number;
  /** Bytes of tensors written, and all there are. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

export interface ConvertedCheckpoint extends WrittenCheckpoint {
  /** Tensors that were unpacked. */
  readonly unpacked: number;
}

interface ConvertedTensor {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly packed: boolean;
  readonly data: () => AsyncIterable<Uint8Array>;
}

/** Throws `nothing-packed`, `output-exists`, `file-changed` where a file of the checkpoint was written to meanwhile, and what reading and writing files throws. */
export async function convertCheckpoint(checkpoint: Checkpoint, options: ConvertOptions): Promise<ConvertedCheckpoint> {
  const { maximumShardBytes, signal } = options;
  const config = convertedConfig(checkpoint.config);
  const plain = listTensors(readArchitecture(config, new Set([...checkpoint.tensors.keys()].map(unpackedName))));
  const listed = new Set([...plain, ...listTensors(checkpoint.architecture, new Set(checkpoint.tensors.keys()))].map(({ name }) => name));
  const carried = checkpoint.specs.filter(({ name }) => !listed.has(name));
  const tensors = [...plain, ...carried].map((spec) => convertTensor(checkpoint, spec));
  const unpacked = tensors.filter(({ packed }) => packed).length;
  if (unpacked === 0) throw nothingPacked(checkpoint.directory);
  // Files are often replaced under the names that they had: what was written of the old ones must not count for the new.
  const identities = await identitiesOf([...checkpoint.tensors.values()].map(({ file }) => file));
  const files = [...identities].map(([file, { key }]) => `${resolve(file)} ${key}`);
  const written = await writeShards({
    ...options,
    source: hashFields("connito/convert/2", checkpoint.configBytes, utf8(files.join("\n"))),
    shards: planShards(tensors, maximumShardBytes),
    config: jsonFile(config),
    tokenizer: checkpoint.tokenizer,
    findChange: () => findChange(identities),
    async write(path, own, metadata, onProgress) {
      let done = 0;
      await writeSafetensors(path, own, metadata, (bytes) => {
        signal?.throwIfAborted();
        done += bytes.length;
        onProgress(done);
      });
    },
  });
  return { ...written, unpacked };
}

/** The config.json of a packed model in BF16. */
export function convertedConfig(config: unknown): Record<string, unknown> {
  const { quantization_config: _, ...rest } = config as Record<string, unknown>;
  return { ...rest, dtype: "bfloat16", torch_dtype: "bfloat16" };
}

function convertTensor({ directory, tensors, architecture }: Checkpoint, { name, shape }: TensorSpec): ConvertedTensor {
  const need = (wanted: string): StoredTensor => tensors.get(wanted) ?? missing(directory, wanted);
  const stored = tensors.get(name);
  if (stored === undefined) {
    const [blocks, scales] = [need(blocksName(name)), need(scalesName(name))];
    return { name, dtype: "BF16", shape, packed: true, data: () => fromMxfp4(blocks, scales) };
  }
  if (stored.dtype !== "F8_E4M3") return { name, dtype: stored.dtype, shape, packed: false, data: () => streamTensor(stored.file, stored) };
  const scales = need(scaleNameOf(name));
  const block = architecture.fp8Block as readonly [number, number];
  return { name, dtype: "BF16", shape, packed: true, data: () => fromFp8(stored, scales, block) };
}

/** One row of blocks after another. */
async function* fromFp8(
  weight: StoredTensor,
  scales: StoredTensor,
  [blockRows, blockColumns]: readonly [number, number],
): AsyncGenerator<Uint8Array> {
  const columns = weight.shape[1] as number;
  const perRow = scales.shape[1] as number;
  const factors = toFloat32(requireFloatDtype(scales.dtype, "the scales"), await readPart(scales, 0, scales.bytes));
  for (let at = 0; at < weight.bytes; at += blockRows * columns) {
    const bytes = await readPart(weight, at, Math.min(blockRows * columns, weight.bytes - at));
    const row = (at / (blockRows * columns)) * perRow;
    yield fromFloat32("BF16", unpackFp8(bytes, columns, factors.subarray(row, row + perRow), blockColumns));
  }
}

/** One expert after another. */
async function* fromMxfp4(blocks: StoredTensor, scales: StoredTensor): AsyncGenerator<Uint8Array> {
  const [experts = 1, rows = 1] = blocks.shape;
  for (let expert = 0; expert < experts; expert++) {
    const part = (tensor: StoredTensor) => readPart(tensor, (expert * tensor.bytes) / experts, tensor.bytes / experts);
    yield fromFloat32("BF16", unpackMxfp4(await part(blocks), await part(scales), rows));
  }
}

async function readPart({ file, offset }: StoredTensor, from: number, bytes: number): Promise<Uint8Array> {
  const open = await openFile(file);
  try {
    const part = new Uint8Array(bytes);
    await readInto(open, offset + from, part);
    return part;
  } finally {
    await open.handle.close();
  }
}

function missing(directory: string, name: string): never {
  throw new ConnitoError(`${join(directory, "config.json")} promises ${name}, which is in no file`, {
    code: "checkpoint-invalid",
    exit: "invalidInput",
    hint: "Compare the directory with the published checkpoint.",
  });
}

function nothingPacked(directory: string): ConnitoError {
  return new ConnitoError(`${directory} has no packed weights`, {
    code: "nothing-packed",
    exit: "invalidInput",
    hint: "Use it as it is: F32, BF16 and F16 are trained and scored without conversion.",
  });
}
