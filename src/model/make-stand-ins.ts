/** Making the stand-ins of a version: on all cores, each piece checked as it is read, and what was made before not made again. */
import { ConnitoError } from "../errors.ts";
import type { Location } from "../files.ts";
import type { Hash } from "../protocol/hash.ts";
import { type ByteJob, workOnBytes } from "./byte-workers.ts";
import { requireFloatDtype } from "./dtype.ts";
import type { HashMemo } from "./hash-memo.ts";
import { createManifest, type Manifest } from "./manifest.ts";
import { bytesOfPiece, missingPiece, type Piece, pieceKey, pieceMismatch } from "./pieces.ts";

export interface MakeStandInsOptions {
  /** The base version: its expert pieces are copied. */
  readonly manifest: Manifest;
  readonly locate: (hash: Hash) => Location | undefined;
  /** Stores the bytes of one stand-in under its hash. */
  readonly store: (bytes: Uint8Array, hash: Hash) => Promise<unknown>;
  /** Which stand-in was made of which piece, from earlier runs; `has` says whether its bytes are still there. */
  readonly memo?: HashMemo;
  readonly has?: (hash: Hash) => Promise<boolean>;
  /** Stand-ins that are there, and all there are. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly threads?: number;
  readonly signal?: AbortSignal;
}

/**
 * Makes a stand-in of every expert piece and returns their manifest. Stopped half-way it goes on where it was, with `memo` and `has`.
 * Throws `stand-in-non-finite`, `dtype-unsupported`, `piece-missing`, `piece-mismatch`, and what reading files throws.
 */
export async function makeStandIns(options: MakeStandInsOptions): Promise<Manifest> {
  const { manifest, locate, store, memo, has = async () => false, onProgress, threads, signal } = options;
  const experts = manifest.pieces.filter((piece) => piece.role === "expert");
  const made: Piece[] = [];
  const wanted: Piece[] = [];
  const jobs: ByteJob[] = [];
  const keep = (piece: Piece, hash: Hash) => {
    made.push({ ...piece, role: "stand-in", dtype: "Q4_32", bytes: bytesOfPiece("Q4_32", piece.shape) as number, hash });
    onProgress?.(made.length, experts.length);
  };
  for (const piece of experts) {
    const known = memo?.find(memoKey(piece));
    if (known !== undefined && (await has(known))) {
      keep(piece, known);
      continue;
    }
    const dtype = requireFloatDtype(piece.dtype, pieceKey(piece));
    const { file, offset } = locate(piece.hash) ?? missing(piece);
    wanted.push(piece);
    jobs.push({ kind: "stand-in", file, offset, bytes: piece.bytes, dtype, shape: piece.shape });
  }
  await workOnBytes(jobs, {
    threads,
    signal,
    async onResult({ hash, standIn }, index) {
      const piece = wanted[index] as Piece;
      if (hash !== piece.hash) throw pieceMismatch(piece, `hash ${hash.slice(0, 12)} instead of ${piece.hash.slice(0, 12)}`);
      if (standIn === undefined) throw nonFinite(piece);
      await store(standIn.bytes, standIn.hash);
      await memo?.keep(memoKey(piece), standIn.hash);
      keep(piece, standIn.hash);
    },
  });
  return createManifest(manifest.config, manifest.tokenizer, made);
}

/** A stand-in follows from the bytes it is made of and how they are read. */
function memoKey({ hash, dtype, shape }: Piece): string {
  return `q4-32 ${hash} ${dtype} ${shape}`;
}

function missing(piece: Piece): never {
  throw missingPiece(piece);
}

function nonFinite(piece: Piece): ConnitoError {
  return new ConnitoError(`${pieceKey(piece)} holds a value that is not finite`, {
    code: "stand-in-non-finite",
    exit: "invalidInput",
    hint: "This checkpoint is damaged: use another.",
  });
}
