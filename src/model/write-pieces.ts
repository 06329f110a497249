/**
 * Pieces into one safetensors file: in one pass on all cores each is read once, hashed and written from the same buffer. The file gets
 * its name when all were what they should be. Of a file that was interrupted, the pieces that are in it, by their hashes, are left as they
 * are: it goes on at the speed of hashing, without notes that could be wrong.
 */

import { createHash } from "node:crypto";
import type { Location } from "../files/reading.ts";
import { writeAll } from "../files/replacing.ts";
import { resumeFile } from "../files/resuming.ts";
import type { Hash } from "../protocol/hash.ts";
import { type ByteJob, workOnBytes } from "./byte-workers.ts";
import type { Dtype } from "./dtype.ts";
import { missingPiece, type Piece, pieceMismatch } from "./pieces.ts";
import { layOut } from "./safetensors.ts";

export interface TensorOfPieces {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** What the tensor's bytes are made of, in order: one piece, or in a fused layout one for each expert. */
  readonly pieces: readonly Piece[];
}

export interface WritePiecesOptions {
  /** Where a piece lies now. */
  readonly locate: (hash: Hash) => Promise<Location | undefined> | Location | undefined;
  /** Told of a piece whose bytes are not its own, before that is thrown. */
  readonly onMismatch?: ((piece: Piece) => Promise<void>) | undefined;
  /** Bytes of tensors written so far, and all there are. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly threads?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface PiecesFile {
  readonly bytes: number;
  /** Where each piece lies in it. */
  readonly locations: Map<Hash, Location>;
}

/** Throws `piece-missing`, `piece-mismatch`, and what reading and writing files throws. */
export async function writePieces(
  path: string,
  tensors: readonly TensorOfPieces[],
  metadata: Readonly<Record<string, string>>,
  { locate, onMismatch, onProgress, threads, signal }: WritePiecesOptions,
): Promise<PiecesFile> {
  const { ordered, header, offsets, total } = layOut(tensors, metadata);
  const placed: { piece: Piece; source: Location; position: number }[] = [];
  for (const [index, { pieces }] of ordered.entries()) {
    let position = offsets[index] as number;
    for (const piece of pieces) {
      const source = await locate(piece.hash);
      if (source === undefined) throw missingPiece(piece);
      placed.push({ piece, source, position });
      position += piece.bytes;
    }
  }
  const content = createHash("sha256").update(header);
  for (const { piece } of placed) content.update(piece.hash);
  await resumeFile(path, content.digest("hex").slice(0, 16), async (handle) => {
    const { size } = await handle.stat();
    await writeAll(handle, header, 0);
    const jobs = placed.map(({ piece: { bytes, hash }, source: { file, offset }, position }): ByteJob => {
      const unless = position + bytes <= size ? hash : undefined;
      return { kind: "copy", file, offset, bytes, fd: handle.fd, target: path, position, unless };
    });
    await workOnBytes(jobs, {
      threads,
      signal,
      onProgress: (done) => onProgress?.(done, total - header.length),
      async onResult({ hash }, index) {
        const { piece } = placed[index] as (typeof placed)[number];
        if (hash === piece.hash) return;
        await onMismatch?.(piece);
        throw pieceMismatch(piece, `hash ${hash.slice(0, 12)} instead of ${piece.hash.slice(0, 12)}`);
      },
    });
    await handle.truncate(total);
  });
  const locations = placed.map(({ piece, position }): [Hash, Location] => [
    piece.hash,
    { file: path, offset: position, bytes: piece.bytes },
  ]);
  return { bytes: total, locations: new Map(locations) };
}
