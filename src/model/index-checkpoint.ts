/**
 * Indexing: one pass over a checkpoint that hashes every piece where it lies, on all cores. Interrupted, it goes on with what a memo
 * holds, as long as a file's identity (device, inode, size, times of change) is still the one under which it was hashed.
 */
import { join } from "node:path";
import type { Location } from "../files/reading.ts";
import { type Hash, sha256, toHex } from "../protocol/hash.ts";
import { type ByteJob, workOnBytes } from "./byte-workers.ts";
import type { Checkpoint, StoredTensor } from "./checkpoint.ts";
import { shapeOfExpert, type TensorSpec } from "./families/index.ts";
import { findChange, type Identity, identitiesOf } from "./file-identity.ts";
import type { HashMemo } from "./hash-memo.ts";
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
  /** What earlier runs hashed, and where this one notes what it does. */
  readonly memo?: HashMemo;
  readonly threads?: number;
  readonly signal?: AbortSignal;
}

/**
 * The manifest of a checkpoint and the places of its pieces. Holds one chunk for each thread in memory. Throws `file-truncated` where a
 * file has become shorter since it was opened, `file-changed` where one was written to meanwhile.
 */
export async function indexCheckpoint(checkpoint: Checkpoint, options: IndexOptions = {}): Promise<IndexedCheckpoint> {
  const { onProgress, memo, threads, signal } = options;
  const planned = checkpoint.specs.flatMap((spec) => cut(spec, checkpoint.tensors.get(spec.name) as StoredTensor));
  planned.sort(({ location: a }, { location: b }) => (a.file < b.file ? -1 : a.file > b.file ? 1 : a.offset - b.offset));
  const total = planned.reduce((sum, { piece }) => sum + piece.bytes, 0);
  const identities = await identitiesOf(planned.map(({ location: { file } }) => file));
  const memoKey = ({ location: { file, offset, bytes } }: PlannedPiece): string | undefined => {
    const { key, settled } = identities.get(file) as Identity;
    return settled ? `piece ${key} ${offset} ${bytes}` : undefined;
  };

  const hashes = planned.map((one): Hash | undefined => {
    const key = memo && memoKey(one);
    return key === undefined ? undefined : memo?.find(key);
  });
  const open = [...planned.keys()].filter((index) => hashes[index] === undefined);
  const jobs = open.map((index): ByteJob => {
    const { file, offset, bytes } = (planned[index] as PlannedPiece).location;
    return { kind: "hash", file, offset, bytes };
  });
  const known = total - jobs.reduce((sum, { bytes }) => sum + bytes, 0);
  await workOnBytes(jobs, {
    threads,
    signal,
    onProgress: (done) => onProgress?.(known + done, total),
    async onResult({ hash }, job) {
      const index = open[job] as number;
      hashes[index] = hash;
      const key = memoKey(planned[index] as PlannedPiece);
      if (key !== undefined) await memo?.keep(key, hash);
    },
  });
  const change = await findChange(identities);
  if (change !== undefined) throw change;

  const locations = new Map<Hash, Location>();
  const pieces = planned.map(({ piece, location }, index): Piece => {
    const hash = hashes[index] as Hash;
    locations.set(hash, location);
    piece.hash = hash;
    return piece;
  });

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
  /** Its hash is filled in when it is known: of a hundred thousand pieces there would be two copies for a while. */
  readonly piece: Omit<Piece, "hash"> & { hash: Hash };
  readonly location: Location;
}

/** One tensor's pieces: itself, or in a fused layout each expert's part, which is contiguous since experts are the leading dimension. */
function cut(spec: TensorSpec, stored: StoredTensor): PlannedPiece[] {
  const { role, name, layer } = spec;
  const { file, offset, bytes, dtype, shape } = stored;
  // A tensor is the place of its one piece.
  if (role === "backbone" || layer === undefined) return [{ piece: { role, name, dtype, shape, bytes, hash: "" }, location: stored }];
  if (spec.expert !== undefined)
    return [{ piece: { role, name, dtype, shape, bytes, hash: "", layer, expert: spec.expert }, location: stored }];
  const experts = spec.fusedExperts ?? 1;
  const own = shapeOfExpert(shape, experts);
  const part = bytes / experts;
  return Array.from({ length: experts }, (_, expert) => {
    const location = { file, offset: offset + expert * part, bytes: part };
    return { piece: { role, name, dtype, shape: own, bytes: part, hash: "", layer, expert }, location };
  });
}
