/** What the model room's tests share: temporary directories, files made by hand, and a reader of safetensors that is not the project's. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConnitoError } from "../../src/errors.ts";
import type { Location } from "../../src/files/reading.ts";
import { familyNamed, type NewModel, readArchitecture } from "../../src/model/families/index.ts";
import type { Manifest } from "../../src/model/manifest.ts";
import { missingPiece, type Piece, type ReadPiece } from "../../src/model/pieces.ts";
import { newVersion, type TensorUpdate } from "../../src/model/weights.ts";
import { sha256, toHex } from "../../src/protocol/hash.ts";

export const fixtures = join(import.meta.dirname, "fixtures");

/** What scripts/fixtures/model.py computed. */
export const expected = JSON.parse(readFileSync(join(fixtures, "expected.json"), "utf8"));

/** Calls `use` with an empty directory that is removed afterwards. */
export async function inDirectory<T>(use: (directory: string) => Promise<T> | T): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), "connito-model-"));
  try {
    return await use(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

export function bytesOfHex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, "hex"));
}

export function floatsOfHex(text: string): Float32Array {
  return new Float32Array(bytesOfHex(text).buffer);
}

/** A file of the format from a header's text and data: neither is checked. */
export function rawFile(header: string | Uint8Array, data: Uint8Array = new Uint8Array(), length?: bigint): Uint8Array {
  const json = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const file = new Uint8Array(8 + json.length + data.length);
  new DataView(file.buffer).setBigUint64(0, length ?? BigInt(json.length), true);
  file.set(json, 8);
  file.set(data, 8 + json.length);
  return file;
}

/** Reads a safetensors file in the shortest way there is. */
export function independentRead(path: string): {
  metadata: Record<string, string>;
  tensors: Record<string, { dtype: string; shape: number[]; data: Uint8Array }>;
} {
  const file = readFileSync(path);
  const start = 8 + Number(file.readBigUInt64LE(0));
  const { __metadata__: metadata = {}, ...entries } = JSON.parse(file.subarray(8, start).toString("utf8"));
  const tensors = Object.entries(entries as Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>).map(
    ([name, { dtype, shape, data_offsets: offsets }]) => {
      return [name, { dtype, shape, data: Uint8Array.from(file.subarray(start + offsets[0], start + offsets[1])) }];
    },
  );
  return { metadata, tensors: Object.fromEntries(tensors) };
}

export function writeFile(directory: string, name: string, bytes: Uint8Array | string): string {
  const path = join(directory, name);
  writeFileSync(path, bytes);
  return path;
}

/** For assert.throws and assert.rejects: a ConnitoError with this code, whose other named fields are as given. */
export function failure(code: string, fields: Record<string, unknown> = {}): (error: unknown) => true {
  return (error) => {
    if (!(error instanceof ConnitoError)) throw error;
    for (const [key, value] of Object.entries({ code, ...fields })) {
      const found = (error as unknown as Record<string, unknown>)[key];
      if (found !== value) throw new Error(`${key} is ${String(found)}, not ${String(value)}: ${error.message}`);
    }
    if (error.hint.length === 0) throw new Error(`no hint: ${error.message}`);
    return true;
  };
}

/** Numbers that look random and are the same in each run: a linear congruence, uniform in [0, 1). */
export function numbers(seed: number): () => number {
  let state = BigInt(seed);
  return () => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffff_ffff_ffff_ffffn;
    return Number(state >> 40n) / 2 ** 24;
  };
}

export function someFloats(seed: number, count: number, scale = 1): Float32Array {
  const next = numbers(seed);
  return Float32Array.from({ length: count }, () => (next() + next() + next() - 1.5) * scale);
}

/** The sizes of a small model: two layers, four experts. */
export const tinySizes: NewModel = {
  vocabularySize: 260,
  hiddenSize: 12,
  layers: 2,
  heads: 2,
  keyValueHeads: 1,
  intermediateSize: 10,
  experts: 4,
  expertsPerToken: 2,
  normalizeTopK: true,
};

/** The config.json of a new model of a family that can be made. */
export function newConfig(family: string, changes: Partial<NewModel> = {}): Record<string, unknown> {
  const config = familyNamed(family).newConfig?.({ ...tinySizes, ...changes });
  if (config === undefined) throw new Error(`${family} cannot be made`);
  return config;
}

/** A small Qwen3-MoE. */
export const tinyConfig = newConfig("qwen3_moe");
export const tiny = readArchitecture(tinyConfig);

/** Pieces from memory, by hash. */
export function readFrom(objects: ReadonlyMap<string, Uint8Array>): ReadPiece {
  return async (piece) => {
    const bytes = objects.get(piece.hash);
    if (bytes === undefined) throw missingPiece(piece);
    return bytes;
  };
}

/** Places for pieces: those that have one, and files in `directory` for those in memory. */
export function locateIn(
  directory: string,
  objects: ReadonlyMap<string, Uint8Array>,
  places: ReadonlyMap<string, Location> = new Map(),
): (hash: string) => Location | undefined {
  return (hash) => {
    const bytes = objects.get(hash);
    return bytes === undefined ? places.get(hash) : { file: writeFile(directory, hash, bytes), offset: 0, bytes: bytes.length };
  };
}

export function pieceNamed(manifest: Manifest, role: Piece["role"], name: string): Piece {
  const piece = manifest.pieces.find((one) => one.role === role && one.name === name);
  if (piece === undefined) throw new Error(`no ${role} ${name}`);
  return piece;
}

export interface MadeVersion {
  readonly manifest: Manifest;
  /** The bytes that the version before does not have, by hash. */
  readonly objects: Map<string, Uint8Array>;
}

/** The version after these updates, by piece name, and its new objects. */
export async function versionWith(manifest: Manifest, updates: ReadonlyMap<string, TensorUpdate>): Promise<MadeVersion> {
  const objects = new Map<string, Uint8Array>();
  const made = await newVersion({
    manifest,
    changed: new Set(updates.keys()),
    update: async (name) => updates.get(name) as TensorUpdate,
    keep: async (bytes) => {
      const hash = toHex(sha256(bytes));
      objects.set(hash, bytes);
      return hash;
    },
  });
  return { manifest: made, objects };
}
