/**
 * Stand-ins of 2, 3 or 4 bits a value (docs/protocol.md, section 4, encoding q2-64 and its like): each value is an odd multiple of a step that 64
 * neighbours share. Reading them is a rule. Making them is the owner's art: rounding takes care of what the values will be multiplied by, so that what
 * one value loses is made up for by those after it in the row (error feedback, as in GPTQ, arXiv 2210.17323; kernels/low-bits.ts).
 */
import { type Feedback, readRows, roundRows } from "../kernels/low-bits.ts";
import { bytesOfPiece, type LowBits, lowBitsRun, rowsAndColumns } from "./pieces.ts";
import type { Quantizer } from "./stand-ins.ts";

/** fp32 values of the bytes of `bits` a value. Throws RangeError where they do not fit the shape. */
export function readLowBits(bytes: Uint8Array, shape: readonly number[], bits: LowBits): Float32Array {
  const { rows, columns } = rowsAndColumns(shape);
  const wanted = bytesOfPiece(`Q${bits}_64`, shape);
  if (bytes.length !== wanted) throw new RangeError(`${bytes.length} bytes for shape [${shape}], which takes ${wanted}`);
  const codes = bytes.subarray(0, rows * Math.ceil((columns * bits) / 8));
  const result = new Float32Array(rows * columns);
  readRows({ codes, steps: bytes.subarray(codes.length) }, columns, bits, result);
  return result;
}

/**
 * Takes a tensor a few rows at a time to `bits` a value. With feedback, columns are rounded from the first to the last of their block, and what each loses is
 * spread over those that are left, so that the row's product with inputs like those that the feedback was made of changes least.
 * @throws RangeError where the feedback is for rows of another length
 */
export function createLowBits(shape: readonly number[], bits: LowBits, feedback?: Feedback): Quantizer {
  const { rows, columns } = rowsAndColumns(shape);
  if (feedback !== undefined && feedback.columns !== columns)
    throw new RangeError(`feedback of ${feedback.columns} columns for ${columns}`);
  const bytes = new Uint8Array(bytesOfPiece(`Q${bits}_64`, shape) ?? Number.NaN);
  const [rowBytes, runs] = [Math.ceil((columns * bits) / 8), Math.ceil(columns / lowBitsRun)];
  const [codes, steps] = [bytes.subarray(0, rows * rowBytes), bytes.subarray(rows * rowBytes)];
  return {
    rows,
    bytes,
    put(values, row) {
      const end = row + values.length / columns;
      const into = { codes: codes.subarray(row * rowBytes, end * rowBytes), steps: steps.subarray(row * runs, end * runs), feedback };
      return roundRows(values, columns, bits, into);
    },
  };
}
