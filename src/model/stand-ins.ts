/**
 * Stand-ins: frozen 4-bit copies of the experts that a slice lacks (docs/protocol.md, section 4, encoding q4-32). They are pieces like
 * any other, so every machine must make the same bytes: all arithmetic is in doubles on fp32 and fp16 operands, where neither a
 * quotient's rounding can reach a tie that the exact quotient is not, nor the order of operations matters.
 */
import { createHash } from "node:crypto";
import { ConnitoError } from "../errors.ts";
import type { Hash } from "../protocol/hash.ts";
import { allFinite, elementsOf, fromHalf, requireFloatDtype, roundHalfEven, toFloat32, toHalf } from "./dtype.ts";
import { createManifest, type Manifest } from "./manifest.ts";
import { bytesOfPiece, type Piece, pieceKey, type ReadPiece, readWholePiece, rowsAndColumns, standInRun } from "./pieces.ts";

const largestHalf = 0x7bff;

function layout(shape: readonly number[]): { rows: number; columns: number; rowBytes: number; runs: number; bytes: number } {
  const { rows, columns } = rowsAndColumns(shape);
  const bytes = bytesOfPiece("Q4_32", shape) ?? Number.NaN;
  return { rows, columns, rowBytes: Math.ceil(columns / 2), runs: Math.ceil(columns / standInRun), bytes };
}

/** `Q4_32` bytes of a tensor. Throws RangeError where values and shape disagree or a value is not finite. */
export function quantize(values: Float32Array, shape: readonly number[]): Uint8Array {
  const { rows, columns, rowBytes, runs, bytes } = layout(shape);
  if (values.length !== elementsOf(shape)) throw new RangeError(`${values.length} values for shape [${shape}]`);
  if (!allFinite(values)) throw new RangeError("a value is not finite");
  const result = new Uint8Array(bytes);
  const scales = new DataView(result.buffer, rows * rowBytes);
  for (let row = 0; row < rows; row++) {
    for (let run = 0; run < runs; run++) {
      const first = run * standInRun;
      const last = Math.min(columns, first + standInRun);
      let largest = 0;
      for (let column = first; column < last; column++) largest = Math.max(largest, Math.abs(values[row * columns + column] as number));
      const bits = Math.min(toHalf(largest / 7), largestHalf);
      const scale = fromHalf(bits);
      scales.setUint16(2 * (row * runs + run), bits, true);
      for (let column = first; column < last; column++) {
        const quotient = scale === 0 ? 0 : (values[row * columns + column] as number) / scale;
        const code = roundHalfEven(Math.max(-7, Math.min(7, quotient))) + 8;
        const at = row * rowBytes + (column >> 1);
        result[at] = (result[at] as number) | (column & 1 ? code << 4 : code);
      }
    }
  }
  return result;
}

/** fp32 values of `Q4_32` bytes: each is its integer times its scale, which is exact. Throws RangeError where the bytes do not fit the shape. */
export function dequantize(bytes: Uint8Array, shape: readonly number[]): Float32Array {
  const { rows, columns, rowBytes, runs, bytes: wanted } = layout(shape);
  if (bytes.length !== wanted) throw new RangeError(`${bytes.length} bytes for shape [${shape}], which takes ${wanted}`);
  const result = new Float32Array(rows * columns);
  const scales = new DataView(bytes.buffer, bytes.byteOffset + rows * rowBytes);
  for (let row = 0; row < rows; row++) {
    for (let run = 0; run < runs; run++) {
      const scale = fromHalf(scales.getUint16(2 * (row * runs + run), true));
      const last = Math.min(columns, (run + 1) * standInRun);
      for (let column = run * standInRun; column < last; column++) {
        const pair = bytes[row * rowBytes + (column >> 1)] as number;
        result[row * columns + column] = ((column & 1 ? pair >> 4 : pair & 15) - 8) * scale;
      }
    }
  }
  return result;
}

export interface MakeStandInsOptions {
  /** The base version: its expert pieces are copied. */
  readonly manifest: Manifest;
  readonly readPiece: ReadPiece;
  /** Stores the bytes of one stand-in under its hash. */
  readonly store: (bytes: Uint8Array, hash: Hash) => Promise<unknown>;
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * Makes a stand-in of every expert piece, one in memory at a time, and returns their manifest.
 * Throws `stand-in-non-finite`, `dtype-unsupported`, and what reading a piece throws.
 */
export async function makeStandIns({ manifest, readPiece, store, onProgress, signal }: MakeStandInsOptions): Promise<Manifest> {
  const experts = manifest.pieces.filter((piece) => piece.role === "expert");
  const pieces: Piece[] = [];
  for (const piece of experts) {
    signal?.throwIfAborted();
    const values = toFloat32(requireFloatDtype(piece.dtype, pieceKey(piece)), await readWholePiece(piece, readPiece));
    if (!allFinite(values)) {
      throw new ConnitoError(`${pieceKey(piece)} holds a value that is not finite`, {
        code: "stand-in-non-finite",
        exit: "invalidInput",
        hint: "This checkpoint is damaged: use another.",
      });
    }
    const bytes = quantize(values, piece.shape);
    const hash = createHash("sha256").update(bytes).digest("hex");
    await store(bytes, hash);
    pieces.push({ ...piece, role: "stand-in", dtype: "Q4_32", bytes: bytes.length, hash });
    onProgress?.(pieces.length, experts.length);
  }
  return createManifest(manifest.config, manifest.tokenizer, pieces);
}
