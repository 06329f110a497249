/**
 * Stand-ins: frozen 4-bit copies of the experts that a slice lacks (docs/protocol.md, section 4, encoding q4-32). They are pieces like
 * any other, so every machine must make the same bytes: all arithmetic is in doubles on fp32 and fp16 operands, where neither a
 * quotient's rounding can reach a tie that the exact quotient is not, nor the order of operations matters.
 */
import { elementsOf, fromHalf, roundHalfEven, toHalf } from "./dtype.ts";
import { bytesOfPiece, rowsAndColumns, standInRun } from "./pieces.ts";

const largestHalf = 0x7bff;

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
  const scales = new DataView(bytes.buffer, rows * rowBytes);

  /** One run, from column `first` of the row that begins at `start` in `values`; its largest magnitude, or NaN. */
  function largestOf(values: Float32Array, start: number, first: number, last: number): number {
    let largest = 0;
    for (let at = start + first; at < start + last; at++) largest = Math.max(largest, Math.abs(values[at] as number));
    return largest;
  }

  function code(value: number, scale: number): number {
    return roundHalfEven(Math.max(-7, Math.min(7, value / scale))) + 8;
  }

  return {
    rows,
    bytes,
    put(values, row) {
      for (let start = 0, line = row; start < values.length; start += columns, line++) {
        for (let run = 0; run < runs; run++) {
          const first = run * standInRun;
          const last = Math.min(columns, first + standInRun);
          const largest = largestOf(values, start, first, last);
          if (!Number.isFinite(largest)) return false;
          const bits = Math.min(toHalf(largest / 7), largestHalf);
          scales.setUint16(2 * (line * runs + run), bits, true);
          // Where all is zero, or too small for any scale, 0 / 1 gives the code of zero.
          const scale = fromHalf(bits);
          const [divisor, factor] = scale === 0 ? [1, 0] : [scale, 1];
          let target = line * rowBytes + (first >> 1);
          let column = start + first;
          for (; column + 1 < start + last; column += 2) {
            const low = code((values[column] as number) * factor, divisor);
            bytes[target++] = low | (code((values[column + 1] as number) * factor, divisor) << 4);
          }
          if (column < start + last) bytes[target] = code((values[column] as number) * factor, divisor);
        }
      }
      return true;
    },
  };
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
