/**
 * Pieces (docs/protocol.md, section 4): what a checkpoint is cut into. Their names and order, and reading one from anywhere with
 * its length and hash checked, so that a source need not be trusted.
 */
import { createHash } from "node:crypto";
import { ConnitoError } from "../errors.ts";
import { type Location, streamLocation } from "../files/reading.ts";
import type { Hash } from "../protocol/hash.ts";
import { bytesOf, type Dtype, elementsOf } from "./dtype.ts";
import { compareText } from "./text.ts";

/** In canonical order. The base's stand-ins stand in a manifest of their own, those of what was merged in the version's. */
export const roles = ["backbone", "expert", "momentum", "stand-in"] as const;
export type Role = (typeof roles)[number];

/** Encodings of stand-ins. `Q0_64` has no bytes: all its values are zero. */
export const standInDtypes = ["Q4_32", "Q0_64", "Q2_64", "Q3_64", "Q4_64"] as const;
export type StandInDtype = (typeof standInDtypes)[number];
/** Bits a value of those whose steps are shared by 64. */
export type LowBits = 2 | 3 | 4;

export function isStandInDtype(dtype: unknown): dtype is StandInDtype {
  return standInDtypes.some((known) => known === dtype);
}

/** The bits a value of `Qn_64`; undefined for any other dtype. */
export function lowBitsOf(dtype: Piece["dtype"]): 0 | LowBits | undefined {
  const [, bits] = /^Q([0234])_64$/.exec(dtype) ?? [];
  return bits === undefined ? undefined : (Number(bits) as 0 | LowBits);
}

export interface Piece {
  readonly role: Role;
  /** The tensor's name in the checkpoint. */
  readonly name: string;
  /** The element type, or for stand-ins the encoding. */
  readonly dtype: Dtype | StandInDtype;
  /** The piece's own shape: in a fused layout, one expert's. For stand-ins the shape of what they stand for. */
  readonly shape: readonly number[];
  readonly bytes: number;
  readonly hash: Hash;
  /** Of an expert's piece. */
  readonly layer?: number;
  readonly expert?: number;
}

/**
 * What tells pieces of one role apart, and what submissions call a tensor: the tensor's name, and in a fused layout, where all
 * experts share one, `NAME#EXPERT`. A per-expert layout's name contains `experts.EXPERT.` already.
 */
export function pieceName(piece: { readonly name: string; readonly expert?: number }): string {
  if (piece.expert === undefined || piece.name.includes(`experts.${piece.expert}.`)) return piece.name;
  return `${piece.name}#${piece.expert}`;
}

/** Unique within a version: `ROLE:NAME`. */
export function pieceKey(piece: { readonly role: Role; readonly name: string; readonly expert?: number }): string {
  return `${piece.role}:${pieceName(piece)}`;
}

/** Canonical order: role, name by UTF-8 bytes, expert. */
export function comparePieces(a: Piece, b: Piece): number {
  return roles.indexOf(a.role) - roles.indexOf(b.role) || compareText(a.name, b.name) || (a.expert ?? 0) - (b.expert ?? 0);
}

/** Values that share one scale in `Q4_32`, and one step in the others. */
export const standInRun = 32;
export const lowBitsRun = 64;

/** A shape as the rows and columns of section 4: runs are cut along the last dimension. */
export function rowsAndColumns(shape: readonly number[]): { rows: number; columns: number } {
  const columns = shape.at(-1) ?? 1;
  return { rows: elementsOf(shape.slice(0, -1)) ?? Number.NaN, columns };
}

/** Bytes that a piece of this dtype and shape has; undefined where they are no exact integer. */
export function bytesOfPiece(dtype: Piece["dtype"], shape: readonly number[]): number | undefined {
  if (!isStandInDtype(dtype)) return bytesOf(dtype, shape);
  const { rows, columns } = rowsAndColumns(shape);
  const bits = lowBitsOf(dtype);
  const bytes =
    bits === undefined
      ? rows * (Math.ceil(columns / 2) + 2 * Math.ceil(columns / standInRun))
      : rows * (Math.ceil((columns * bits) / 8) + (bits === 0 ? 0 : Math.ceil(columns / lowBitsRun)));
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Where pieces come from: an object store, a peer, a file. What it returns is checked by whoever reads. */
export type ReadPiece = (piece: Piece) => Promise<Uint8Array> | AsyncIterable<Uint8Array>;

/** Reads pieces from the places that `locate` names. Throws `piece-missing` for a piece that has none. */
export function readPieceFrom(locate: (hash: Hash) => Location | undefined): ReadPiece {
  return (piece) => {
    const location = locate(piece.hash);
    if (location === undefined) throw missingPiece(piece);
    return streamLocation(location);
  };
}

export function missingPiece(piece: Piece): ConnitoError {
  return new ConnitoError(`missing piece ${pieceKey(piece)} (${piece.hash.slice(0, 12)}, ${piece.bytes} bytes)`, {
    code: "piece-missing",
    exit: "verification",
    hint: "Fetch the slice again: pieces that are there already are not transferred twice.",
  });
}

/**
 * The bytes of a piece as they come. The last chunk is followed by the check: what was passed on before a `piece-mismatch` is
 * thrown must not be used. Never passes on more bytes than the piece has.
 */
export async function* streamPiece(piece: Piece, readPiece: ReadPiece): AsyncGenerator<Uint8Array> {
  const hash = createHash("sha256");
  let got = 0;
  const source = readPiece(piece);
  for await (const chunk of Symbol.asyncIterator in source ? source : [await source]) {
    got += chunk.length;
    if (got > piece.bytes) throw pieceMismatch(piece, `more than ${piece.bytes} bytes`);
    hash.update(chunk);
    yield chunk;
  }
  if (got !== piece.bytes) throw pieceMismatch(piece, `${got} of ${piece.bytes} bytes`);
  const found = hash.digest("hex");
  if (found !== piece.hash) throw pieceMismatch(piece, `hash ${found.slice(0, 12)} instead of ${piece.hash.slice(0, 12)}`);
}

/** A piece as a whole, checked. Its bytes, if not put `into` what is given, begin at an own buffer's start, aligned for every element type. */
export async function readWholePiece(piece: Piece, readPiece: ReadPiece, into?: Uint8Array): Promise<Uint8Array> {
  const bytes = into ?? new Uint8Array(piece.bytes);
  let at = 0;
  for await (const chunk of streamPiece(piece, readPiece)) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** For bytes that are not those that the manifest names. */
export function pieceMismatch(piece: Piece, found: string): ConnitoError {
  return new ConnitoError(`piece ${pieceKey(piece)} is not what the manifest says: ${found}`, {
    code: "piece-mismatch",
    exit: "verification",
    hint: "The copy is damaged or its source lies: remove it and fetch the piece from another source.",
  });
}
