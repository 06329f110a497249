/** Indexing: one pass over a checkpoint that hashes every piece, in the order in which they lie on the disk. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { type Location, type OpenFile, openFile, readInto } from "../files.ts";
import { type Hash, sha256, toHex } from "../protocol/hash.ts";
import type { Checkpoint, StoredTensor } from "./checkpoint.ts";
import { shapeOfExpert, type TensorSpec } from "./families/index.ts";
import { createManifest, type Manifest } from "./manifest.ts";
import type { Piece } from "./pieces.ts";

export interface IndexedCheckpoint {
  readonly manifest: Manifest;
  /** Where the bytes of each piece, of config.json and of tokenizer.json lie, by hash. */
  readonly locations: Map<Hash, Location>;
}

export interface IndexOptions {
  /** Bytes hashed so far, and all there are. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

const chunkBytes = 4 << 20;

/**
 * The manifest of a checkpoint and the places of its pieces. Holds one chunk in memory. Throws `file-truncated` where a file has
 * become shorter since it was opened.
 */
export async function indexCheckpoint(checkpoint: Checkpoint, { onProgress, signal }: IndexOptions = {}): Promise<IndexedCheckpoint> {
  const planned = checkpoint.specs.flatMap((spec) => cut(spec, checkpoint.tensors.get(spec.name) as StoredTensor));
  planned.sort((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : a.offset - b.offset));
  const total = planned.reduce((sum, { piece }) => sum + piece.bytes, 0);

  const pieces: Piece[] = [];
  const locations = new Map<Hash, Location>();
  const buffer = new Uint8Array(chunkBytes);
  let file: OpenFile | undefined;
  let done = 0;
  try {
    for (const { piece, file: path, offset } of planned) {
      if (file?.path !== path) {
        await file?.handle.close();
        file = undefined;
        file = await openFile(path);
      }
      const digest = createHash("sha256");
      for (let at = 0; at < piece.bytes; at += chunkBytes) {
        signal?.throwIfAborted();
        const chunk = buffer.subarray(0, Math.min(chunkBytes, piece.bytes - at));
        await readInto(file, offset + at, chunk);
        digest.update(chunk);
        done += chunk.length;
        onProgress?.(done, total);
      }
      const hash = digest.digest("hex");
      pieces.push({ ...piece, hash });
      locations.set(hash, { file: path, offset, bytes: piece.bytes });
    }
  } finally {
    await file?.handle.close();
  }

  const whole = (name: string, bytes: Uint8Array): Hash => {
    const hash = toHex(sha256(bytes));
    locations.set(hash, { file: join(checkpoint.directory, name), offset: 0, bytes: bytes.length });
    return hash;
  };
  const config = whole("config.json", checkpoint.configBytes);
  const tokenizer = whole("tokenizer.json", checkpoint.tokenizer);
  return { manifest: createManifest(config, tokenizer, pieces), locations };
}

interface PlannedPiece {
  readonly piece: Omit<Piece, "hash">;
  readonly file: string;
  readonly offset: number;
}

/** One tensor's pieces: itself, or in a fused layout each expert's part, which is contiguous since experts are the leading dimension. */
function cut(spec: TensorSpec, { file, offset, bytes, dtype, shape }: StoredTensor): PlannedPiece[] {
  const { role, name, layer } = spec;
  if (role === "backbone" || layer === undefined) return [{ piece: { role, name, dtype, shape, bytes }, file, offset }];
  if (spec.expert !== undefined) return [{ piece: { role, name, dtype, shape, bytes, layer, expert: spec.expert }, file, offset }];
  const experts = spec.fusedExperts ?? 1;
  const own = shapeOfExpert(shape, experts);
  const part = bytes / experts;
  return Array.from({ length: experts }, (_, expert) => {
    return { piece: { role, name, dtype, shape: own, bytes: part, layer, expert }, file, offset: offset + expert * part };
  });
}
