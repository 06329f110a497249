/** fp32 as 2 to 4 bits, a step for each 64 neighbours, each column's loss made up for by those after it (GPTQ, arXiv 2210.17323). */
import { allFinite } from "./finite.ts";
import { bytesOf, type Kernels, kernelsAt, openArena } from "./module.ts";

/** Columns that make up for each other's losses: a multiple of a run. More would cost more than they bring. */
export const feedbackColumns = 256;

/** The step that loses least of normally distributed values, for a deviation of 1 (Max 1960, table II), halved: values are odd multiples of it. */
const usualStep = { 2: 0.9957 / 2, 3: 0.586 / 2, 4: 0.3352 / 2 } as const;

/** What each block of columns is made up for with: of its second moments' damped inverse the triangular root, lower, row by row. */
export interface Feedback {
  readonly columns: number;
  readonly factors: readonly Float64Array[];
}

/** How much a column's own square counts more than it was measured: of the mean of all. Without it, few tokens would be believed too much. */
const damping = 0.01;
/** Where moments are no moments even so, that is, no positive matrix, they are damped more, until the columns are taken to have nothing to do with each other. */
const mostDamping = 1e6;

/**
 * The feedback for rows whose inputs have these second moments: blocks of `feedbackColumns` columns, the last one narrower, square, row-major. A column that was never
 * seen is rounded as it is. @throws RangeError where a moment is not finite, or blocks are not of these sizes; kernels-missing
 */
export function feedbackOf(moments: readonly Float32Array[]): Feedback {
  let columns = 0;
  const factors = moments.map((block, index) => {
    const size = Math.sqrt(block.length);
    columns += size;
    if (!(index + 1 < moments.length ? size === feedbackColumns : Number.isInteger(size) && size > 0 && size <= feedbackColumns))
      throw new RangeError(`block ${index} of the moments has ${block.length} values`);
    if (!allFinite(block)) throw new RangeError(`block ${index} of the moments has a value that is not finite`);
    return inverseRootOf(block, size);
  });
  return { columns, factors };
}

function inverseRootOf(block: Float32Array, size: number): Float64Array {
  const stride = strideOf(size);
  const { matrix, factors, kernels, load } = roomFor(size);
  load(undefined);
  let trace = 0;
  for (let at = 0; at < size; at++) trace += block[at * (size + 1)] as number;
  for (let share = damping; share <= mostDamping; share *= 10) {
    const added = trace > 0 ? (share * trace) / size : 1;
    for (let row = 0; row < size; row++) {
      matrix.set(block.subarray(row * size, (row + 1) * size), row * stride);
      matrix[row * stride + row] = (matrix[row * stride + row] as number) + added;
    }
    factors.fill(0, 0, size * stride);
    if (kernels.inverseRoot(matrix.byteOffset, size, 8 * stride, factors.byteOffset) === 1) return factors.slice(0, size * stride);
  }
  throw new RangeError("the moments are no sums of squares");
}

/**
 * Rounds whole rows of `columns` values: their codes to `codes`, rows one behind the other, and a byte for each run's step to `steps`. False where a value is not
 * finite, and then what was written is not to be used. @throws RangeError where lengths, columns and feedback do not belong together
 */
export function roundRows(
  values: Float32Array,
  columns: number,
  bits: 2 | 3 | 4,
  { codes, steps, feedback }: { readonly codes: Uint8Array; readonly steps: Uint8Array; readonly feedback?: Feedback | undefined },
): boolean {
  const { rows, rowBytes, runs } = layout(values, columns, bits, { codes, steps });
  if (feedback !== undefined && feedback.columns !== columns)
    throw new RangeError(`feedback of ${feedback.columns} columns for ${columns}`);
  const room = roomFor(columns);
  room.load(feedback);
  const { kernels, source, target, marks, factors, scratch } = room;
  const most = Math.floor(room.valuesAtOnce / columns / 8) * 8;
  for (let row = 0; row < rows; row += most) {
    const count = Math.min(most, rows - row);
    source.set(values.subarray(row * columns, (row + count) * columns));
    if (kernels.allFinite(source.byteOffset, count * columns) === 0) return false;
    for (let start = 0, at = factors.byteOffset; start < columns; start += feedbackColumns) {
      const size = Math.min(feedbackColumns, columns - start);
      const stride = 8 * strideOf(size);
      const factor = feedback === undefined ? 0 : at;
      const [from, to, named] = [source.byteOffset, target.byteOffset, marks.byteOffset];
      kernels.roundBlock(from, count, columns, start, size, bits, usualStep[bits], factor, stride, to, named, scratch.byteOffset);
      at += size * stride;
    }
    codes.set(target.subarray(0, count * rowBytes), row * rowBytes);
    steps.set(marks.subarray(0, count * runs), row * runs);
  }
  return true;
}

/** The values of rows that were rounded to `codes` and `steps`, to `values`. @throws RangeError where lengths and columns do not belong together */
export function readRows(
  { codes, steps }: { readonly codes: Uint8Array; readonly steps: Uint8Array },
  columns: number,
  bits: 2 | 3 | 4,
  values: Float32Array,
): void {
  const { rows, rowBytes, runs } = layout(values, columns, bits, { codes, steps });
  const { kernels, source, target, marks, valuesAtOnce } = roomFor(columns);
  const most = Math.floor(valuesAtOnce / columns);
  for (let row = 0; row < rows; row += most) {
    const count = Math.min(most, rows - row);
    target.set(codes.subarray(row * rowBytes, (row + count) * rowBytes));
    marks.set(steps.subarray(row * runs, (row + count) * runs));
    for (let line = 0; line < count; line++) {
      const [from, named, to] = [
        target.byteOffset + line * rowBytes,
        marks.byteOffset + line * runs,
        source.byteOffset + 4 * line * columns,
      ];
      kernels.readRow(from, columns, bits, named, to);
    }
    values.set(source.subarray(0, count * columns), row * columns);
  }
}

const runColumns = 64;

function layout(
  values: Float32Array,
  columns: number,
  bits: number,
  { codes, steps }: { readonly codes: Uint8Array; readonly steps: Uint8Array },
): { readonly rows: number; readonly rowBytes: number; readonly runs: number } {
  const rows = values.length / columns;
  const [rowBytes, runs] = [Math.ceil((columns * bits) / 8), Math.ceil(columns / runColumns)];
  if (!Number.isInteger(rows) || codes.length !== rows * rowBytes || steps.length !== rows * runs)
    throw new RangeError(`${values.length} values, ${codes.length} bytes and ${steps.length} steps do not belong together`);
  return { rows, rowBytes, runs };
}

/** Values of a row of a factor, and some that are never read but for being loaded: rows would fall on the same lines of the cache otherwise. */
const strideOf = (size: number) => Math.ceil(size / 8) * 8 + 8;
/** Values that a kernel is given at once, if they are eight rows or more. */
const usualValues = 1 << 16;
/** Values that reading writes behind a row. */
const slack = 8;

/** Memory of the kernels for rows of up to `columns` values. */
interface Room {
  readonly columns: number;
  readonly valuesAtOnce: number;
  readonly kernels: Kernels;
  readonly matrix: Float64Array;
  /** The feedback that lies here, block after block. */
  readonly factors: Float64Array;
  readonly source: Float32Array;
  readonly target: Uint8Array;
  readonly marks: Uint8Array;
  readonly scratch: Uint8Array;
  load(feedback: Feedback | undefined): void;
}

/** One a thread, as wide as the widest rows so far. */
let known: Room | undefined;

function roomFor(columns: number): Room {
  if (known === undefined || known.columns < columns) known = openRoom(columns);
  return known;
}

function openRoom(columns: number): Room {
  const square = 2 * feedbackColumns * strideOf(feedbackColumns);
  const valuesAtOnce = Math.max(usualValues, 8 * columns);
  const sizes = {
    matrix: square,
    factors: Math.ceil(columns / feedbackColumns) * square,
    source: valuesAtOnce + slack,
    // Half a byte a value and what fills up each row; a byte a run.
    target: valuesAtOnce / 4,
    marks: valuesAtOnce / 4,
    scratch: 16 * (2 * feedbackColumns + 24),
  };
  const elements = Object.values(sizes).reduce((sum, size) => sum + size, 0);
  const arena = openArena(elements, Object.keys(sizes).length);
  const { matrix, factors, source, target, marks, scratch } = Object.fromEntries(
    Object.entries(sizes).map(([name, size]) => [name, arena.take(size)]),
  ) as Record<keyof typeof sizes, Float32Array<ArrayBuffer>>;
  const kernels = kernelsAt([source]);
  if (kernels === undefined) throw new RangeError(`rows of ${columns} values are too long`);
  const doubles = (at: Float32Array<ArrayBuffer>) => new Float64Array(at.buffer, at.byteOffset, at.length / 2);
  const room = doubles(factors);
  let loaded: Feedback | undefined;
  return {
    columns,
    valuesAtOnce,
    kernels,
    matrix: doubles(matrix),
    factors: room,
    source,
    target: bytesOf(target),
    marks: bytesOf(marks),
    scratch: bytesOf(scratch),
    load(feedback) {
      if (feedback === loaded) return;
      loaded = feedback;
      let at = 0;
      for (const factor of feedback?.factors ?? []) {
        room.set(factor, at);
        at += factor.length;
      }
    },
  };
}
