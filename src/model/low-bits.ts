/**
 * Stand-ins of 2, 3 or 4 bits a value (docs/protocol.md, section 4, encoding q2-64 and its like): each value is an odd multiple of a step that 64
 * neighbours share. Reading them is a rule. Making them is the owner's art: rounding takes care of what the values will be multiplied by, so that what
 * one value loses is made up for by those after it in the row (error feedback, as in GPTQ, arXiv 2210.17323). All arithmetic is in doubles, in a fixed order.
 */
import { fromHalf, toHalf } from "./dtype.ts";
import { bytesOfPiece, type LowBits, lowBitsRun, rowsAndColumns } from "./pieces.ts";
import type { Quantizer } from "./stand-ins.ts";

/** A step is the upper byte of an fp16 number without its sign: five bits of exponent, three of fraction. */
const stepOf = (byte: number) => fromHalf(byte << 7);
const largestStep = 0xf7;

/** The step that loses least of normally distributed values, for a deviation of 1 (Max 1960, table II), halved: values are odd multiples of it. */
const usualStep = { 2: 0.9957 / 2, 3: 0.586 / 2, 4: 0.3352 / 2 } as const;
/** Steps to either side of the usual one that are tried. */
const stepsTried = 6;

/** fp32 values of the bytes of `bits` a value. Throws RangeError where they do not fit the shape. */
export function readLowBits(bytes: Uint8Array, shape: readonly number[], bits: LowBits): Float32Array {
  const { rows, columns } = rowsAndColumns(shape);
  const wanted = bytesOfPiece(`Q${bits}_64`, shape);
  if (bytes.length !== wanted) throw new RangeError(`${bytes.length} bytes for shape [${shape}], which takes ${wanted}`);
  const [rowBytes, runs] = [Math.ceil((columns * bits) / 8), Math.ceil(columns / lowBitsRun)];
  const [mask, odd] = [2 ** bits - 1, 1 - 2 ** bits];
  const result = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let run = 0; run < runs; run++) {
      const step = stepOf(bytes[rows * rowBytes + row * runs + run] as number);
      for (let column = run * lowBitsRun; column < Math.min(columns, (run + 1) * lowBitsRun); column++) {
        const place = column * bits;
        const at = row * rowBytes + (place >> 3);
        const code = (((bytes[at] as number) | ((bytes[at + 1] ?? 0) << 8)) >> (place & 7)) & mask;
        result[row * columns + column] = (2 * code + odd) * step;
      }
    }
  }
  return result;
}

/** Columns that make up for each other's losses: a multiple of a run. More would cost more than they bring. */
export const expertMomentBlock = 256;

/** What a row's values are multiplied by, in blocks of columns: for each, the square factor that `feedbackOf` makes, row-major. */
export type Feedback = readonly Float64Array[];

/**
 * Takes a tensor a few rows at a time to `bits` a value. With feedback, columns are rounded from the first to the last of their block, and what each loses is
 * spread over those that are left, so that the row's product with inputs like those that the feedback was made of changes least.
 */
export function createLowBits(shape: readonly number[], bits: LowBits, feedback?: Feedback): Quantizer {
  const { rows, columns } = rowsAndColumns(shape);
  const bytes = new Uint8Array(bytesOfPiece(`Q${bits}_64`, shape) ?? Number.NaN);
  const [rowBytes, runs] = [Math.ceil((columns * bits) / 8), Math.ceil(columns / lowBitsRun)];
  const line = new Float64Array(columns);
  const weights = new Float64Array(columns).fill(1);
  const blocks = feedback ?? [];
  let start = 0;
  for (const factor of blocks) {
    const size = Math.sqrt(factor.length);
    for (let column = 0; column < size; column++) weights[start + column] = (factor[column * size + column] as number) ** -2;
    start += size;
  }
  if (feedback !== undefined && start !== columns) throw new RangeError(`feedback of ${start} columns for ${columns}`);

  function putCode(row: number, column: number, code: number): void {
    const place = column * bits;
    const at = row * rowBytes + (place >> 3);
    const both = code << (place & 7);
    bytes[at] = (bytes[at] as number) | both;
    if (both > 0xff) bytes[at + 1] = (bytes[at + 1] as number) | (both >> 8);
  }

  function roundRow(row: number): void {
    let [block, blockStart, size] = [0, 0, Math.sqrt(blocks[0]?.length ?? 0)];
    for (let run = 0; run < runs; run++) {
      const first = run * lowBitsRun;
      const last = Math.min(columns, first + lowBitsRun);
      if (size > 0 && first >= blockStart + size) {
        blockStart += size;
        size = Math.sqrt(blocks[++block]?.length ?? 0);
      }
      const byte = bestStep(line, weights, first, last, bits);
      bytes[rows * rowBytes + row * runs + run] = byte;
      const step = stepOf(byte);
      const factor = blocks[block];
      for (let column = first; column < last; column++) {
        const code = codeOf(line[column] as number, step, bits);
        putCode(row, column, code);
        if (factor === undefined) continue;
        const own = (column - blockStart) * size;
        const lost = ((line[column] as number) - oddMultiple(code, step, bits)) / (factor[own + column - blockStart] as number);
        for (let later = column + 1; later < blockStart + size; later++)
          line[later] = (line[later] as number) - lost * (factor[own + later - blockStart] as number);
      }
    }
  }

  return {
    rows,
    bytes,
    put(values, row) {
      for (let from = 0, at = row; from < values.length; from += columns, at++) {
        for (let column = 0; column < columns; column++) line[column] = values[from + column] as number;
        if (!line.every(Number.isFinite)) return false;
        roundRow(at);
      }
      return true;
    },
  };
}

const oddMultiple = (code: number, step: number, bits: LowBits) => (2 * code + 1 - 2 ** bits) * step;

/** The nearest odd multiple of the step. */
function codeOf(value: number, step: number, bits: LowBits): number {
  if (step === 0) return 0;
  return Math.max(0, Math.min(2 ** bits - 1, Math.floor(value / (2 * step)) + 2 ** (bits - 1)));
}

/** The step, of those about the usual one, that leaves the least squared error, each value's times its weight. 0 where all is zero. */
function bestStep(values: Float64Array, weights: Float64Array, first: number, last: number, bits: LowBits): number {
  let squares = 0;
  for (let at = first; at < last; at++) squares += (values[at] as number) ** 2;
  if (squares === 0) return 0;
  const usual = (toHalf(Math.sqrt(squares / (last - first)) * usualStep[bits]) + 64) >> 7;
  let [best, least] = [0, Number.POSITIVE_INFINITY];
  for (let byte = Math.max(1, usual - stepsTried); byte <= Math.min(largestStep, Math.max(1, usual) + stepsTried); byte++) {
    const step = stepOf(byte);
    let error = 0;
    for (let at = first; at < last; at++) {
      const value = values[at] as number;
      error += (weights[at] as number) * (value - oddMultiple(codeOf(value, step, bits), step, bits)) ** 2;
    }
    if (error < least) [best, least] = [byte, error];
  }
  return best === 0 ? largestStep : best;
}

/** How much a column's own square counts more than it was measured: of the mean of all. Without it, few tokens would be believed too much. */
const damping = 0.01;

/**
 * The factor U of feedback: upper triangular, U^T U being the inverse of the inputs' second moments H (row-major, square), which are damped. Of H = R R^T with R
 * upper triangular, it is the inverse of R. Where nothing was seen it is the identity.
 */
export function feedbackOf(moments: Float32Array): Float64Array {
  const size = Math.sqrt(moments.length);
  const matrix = Float64Array.from(moments);
  let trace = 0;
  for (let at = 0; at < size; at++) trace += matrix[at * size + at] as number;
  const added = trace > 0 ? (damping * trace) / size : 1;
  for (let at = 0; at < size; at++) matrix[at * size + at] = (matrix[at * size + at] as number) + added;
  const dot = (one: number, other: number, from: number) => {
    let sum = 0;
    for (let at = from; at < size; at++) sum += (matrix[one * size + at] as number) * (matrix[other * size + at] as number);
    return sum;
  };
  for (let column = size - 1; column >= 0; column--) {
    const own = column * size + column;
    const root = Math.sqrt((matrix[own] as number) - dot(column, column, column + 1));
    matrix[own] = root;
    for (let row = 0; row < column; row++) {
      const at = row * size + column;
      matrix[at] = ((matrix[at] as number) - dot(row, column, column + 1)) / root;
    }
  }
  const inverse = new Float64Array(size * size);
  for (let row = size - 1; row >= 0; row--) {
    const root = matrix[row * size + row] as number;
    inverse[row * size + row] = 1 / root;
    for (let other = row + 1; other < size; other++) {
      const share = (matrix[row * size + other] as number) / root;
      for (let column = other; column < size; column++)
        inverse[row * size + column] = (inverse[row * size + column] as number) - share * (inverse[other * size + column] as number);
    }
  }
  return inverse;
}
