/** Sparse deltas: of each chunk of 4,096 values the largest few, in two bits each (docs/protocol.md, section 6). */
import { allFinite } from "./finite.ts";
import { bytesOf, kernels, slotAddress, slotBytesOf } from "./module.ts";

export const chunkElements = 4096;

/** How many values of a whole chunk are kept, and how many low bits of their indices are stored as they are. */
export interface SparseForm {
  readonly kept: number;
  readonly lowBits: number;
}

/** Values kept of a chunk of `elements`: the whole chunk's share of them, rounded up. */
function keptOf({ kept }: SparseForm, elements: number): number {
  return Math.ceil((kept * elements) / chunkElements);
}

/** Bytes of a chunk of `elements` values. */
function chunkBytes(form: SparseForm, elements: number): number {
  const kept = keptOf(form, elements);
  const marks = kept + Math.ceil(elements / 2 ** form.lowBits);
  return 2 + Math.ceil((marks + kept * (form.lowBits + 2)) / 8);
}

/** Bytes of `elements` values: they follow from the number alone. */
export function sparseBytes(form: SparseForm, elements: number): number {
  const rest = elements % chunkElements;
  return ((elements - rest) / chunkElements) * chunkBytes(form, chunkElements) + (rest === 0 ? 0 : chunkBytes(form, rest));
}

const inputSlot = 0;
const outputSlot = 1;
const scratchSlot = 2;
/** Bytes that the kernels touch behind a chunk's. */
const slack = 8;

/** Encodes finite values. @throws RangeError where one is not. */
export function encodeSparse(form: SparseForm, values: Float32Array): Uint8Array {
  if (!allFinite(values)) throw new RangeError("only finite values can be encoded");
  const from = bytesOf(values);
  const result = new Uint8Array(sparseBytes(form, values.length));
  const [input, output] = [slotBytesOf(inputSlot), slotBytesOf(outputSlot)];
  let at = 0;
  for (let first = 0; first < values.length; first += chunkElements) {
    const length = Math.min(chunkElements, values.length - first);
    const padded = Math.ceil(length / 16) * 16;
    const bytes = chunkBytes(form, length);
    input.set(from.subarray(4 * first, 4 * (first + length)));
    input.fill(0, 4 * length, 4 * padded);
    kernels().encodeSparse(
      slotAddress(inputSlot),
      padded,
      length,
      keptOf(form, length),
      form.lowBits,
      slotAddress(outputSlot),
      bytes,
      slotAddress(scratchSlot),
    );
    result.set(output.subarray(0, bytes), at);
    at += bytes;
  }
  return result;
}

const faults = [
  "",
  "its scale is negative",
  "it does not mark as many values as are kept",
  "an index is out of range or repeated",
  "a bit is set behind its end",
];

/**
 * Decodes `elements` values, to `into` where that is given; what the bytes say may be infinite or NaN. @throws RangeError where the bytes are too few or too many, or
 * are not what an encoder makes of any values.
 */
export function decodeSparse(
  form: SparseForm,
  encoded: Uint8Array,
  elements: number,
  into?: Float32Array<ArrayBuffer>,
): Float32Array<ArrayBuffer> {
  if (encoded.length !== sparseBytes(form, elements)) throw new RangeError(`${encoded.length} bytes do not hold ${elements} values`);
  const result = into ?? new Float32Array(elements);
  const to = bytesOf(result);
  const [input, output] = [slotBytesOf(inputSlot), slotBytesOf(outputSlot)];
  let at = 0;
  for (let first = 0; first < elements; first += chunkElements) {
    const length = Math.min(chunkElements, elements - first);
    const bytes = chunkBytes(form, length);
    input.set(encoded.subarray(at, at + bytes));
    input.fill(0, bytes, bytes + slack);
    const fault = kernels().decodeSparse(
      slotAddress(inputSlot),
      length,
      keptOf(form, length),
      form.lowBits,
      bytes,
      slotAddress(outputSlot),
    );
    if (fault !== 0) throw new RangeError(`chunk ${first / chunkElements}: ${faults[fault]}`);
    to.set(output.subarray(0, 4 * length), 4 * first);
    at += bytes;
  }
  return result;
}
