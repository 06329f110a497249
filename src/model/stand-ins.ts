/**
 * Stand-ins: frozen low-bit copies of the experts that a slice lacks (docs/protocol.md, section 4). This is the encoding q4-32; low-bits.ts has those of 2 to
 * 4 bits. They are pieces like any other, so every machine must make the same bytes: all arithmetic is in doubles on fp32 and fp16 operands, where neither a
 * quotient's rounding can reach a tie that the exact quotient is not, nor the order of operations matters.
 */
import { quantizeStandIn } from "../kernels/stand-in.ts";
import { elementsOf, fromHalf } from "./dtype.ts";
import { bytesOfPiece, rowsAndColumns, standInRun } from "./pieces.ts";

function layout(shape: readonly number[]): { rows: number; columns: number; rowBytes: number; runs: number; bytes: number } {
  const { rows, columns } = rowsAndColumns(shape);
  const bytes = bytesOfPiece("Q4_32", shape) ?? Number.NaN;
  return { rows, columns, rowBytes: Math.ceil(columns / 2), runs: Math.ceil(columns / standInRun), bytes };
}

/** A tensor's `Q4_32` bytes in the making. */
export interface Quantizer {
  readonly rows: number;
  /** Whole once every row was put. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Quantises whole rows from `row` on; false where one of the values is not finite, and then the bytes are not to be used. */
  put(values: Float32Array, row: number): boolean;
}

/** Takes a tensor a few rows at a time, so that its values need never be in memory as a whole. */
export function createQuantizer(shape: readonly number[]): Quantizer {
  const { rows, columns, rowBytes, runs, bytes: length } = layout(shape);
  const bytes = new Uint8Array(length);
  const padded = runs * standInRun;
  return {
    rows,
    bytes,
    put(values, row) {
      const lines = values.length / columns;
      const source = padded === columns ? values : inWholeRuns(values, columns, padded);
      const [nibbles, scales] = [new Uint8Array(source.length / 2), new Uint16Array(source.length / standInRun)];
      if (!quantizeStandIn(source, nibbles, scales)) return false;
      for (let line = 0; line < lines; line++) {
        const from = (line * padded) / 2;
        const end = (row + line + 1) * rowBytes;
        bytes.set(nibbles.subarray(from, from + rowBytes), end - rowBytes);
        if (columns % 2 === 1) bytes[end - 1] = (bytes[end - 1] as number) & 15;
      }
      bytes.set(new Uint8Array(scales.buffer), rows * rowBytes + 2 * row * runs);
      return true;
    },
  };
}

/** Each row followed by zeros, which change neither a run's scale nor its values. */
function inWholeRuns(values: Float32Array, columns: number, padded: number): Float32Array {
  const lines = values.length / columns;
  const whole = new Float32Array(lines * padded);
  for (let line = 0; line < lines; line++) whole.set(values.subarray(line * columns, (line + 1) * columns), line * padded);
  return whole;
}

/** `Q4_32` bytes of a tensor. Throws RangeError where values and shape disagree or a value is not finite. */
export function quantize(values: Float32Array, shape: readonly number[]): Uint8Array {
  if (values.length !== elementsOf(shape)) throw new RangeError(`${values.length} values for shape [${shape}]`);
  const quantizer = createQuantizer(shape);
  if (!quantizer.put(values, 0)) throw new RangeError("a value is not finite");
  return quantizer.bytes;
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
