/** The values of packed weights: FP8 with block scales, and MXFP4. Everything else treats such weights as bytes. */
import { blockValues } from "./families/mxfp4.ts";

/** The value of each FP8 byte, E4M3 without infinities: the two with all bits but the sign set are no numbers. */
const fp8Values = Float32Array.from({ length: 256 }, (_, byte) => {
  const sign = byte & 0x80 ? -1 : 1;
  const exponent = (byte >>> 3) & 0xf;
  const fraction = byte & 7;
  if (exponent === 0xf && fraction === 7) return Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -9 : sign * (8 + fraction) * 2 ** (exponent - 10);
});

/** The value of each of the 16 codes of E2M1. */
const fp4Values = Float32Array.of(0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6);

/**
 * The fp32 values of rows of an FP8 matrix, each of `columns` bytes; all of them lie in one row of blocks, whose scales are given, one
 * for `blockColumns` columns.
 */
export function unpackFp8(bytes: Uint8Array, columns: number, scales: Float32Array, blockColumns: number): Float32Array {
  const values = new Float32Array(bytes.length);
  for (let row = 0; row < bytes.length; row += columns) {
    for (let block = 0; block * blockColumns < columns; block++) {
      const scale = scales[block] as number;
      const end = row + Math.min(columns, (block + 1) * blockColumns);
      for (let at = row + block * blockColumns; at < end; at++) values[at] = (fp8Values[bytes[at] as number] as number) * scale;
    }
  }
  return values;
}

/**
 * The fp32 values of a matrix of `rows` rows in MXFP4, transposed: [columns, rows], as gpt-oss's matrices stand when they are not packed. A
 * block's bytes hold two values each, the low four bits first; a scale byte `e` means 2^(e - 127).
 */
export function unpackMxfp4(blocks: Uint8Array, scales: Uint8Array, rows: number): Float32Array {
  const perRow = scales.length / rows;
  const values = new Float32Array(blocks.length * 2);
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < perRow; block++) {
      const scale = 2 ** ((scales[row * perRow + block] as number) - 127);
      const from = (row * perRow + block) * (blockValues / 2);
      for (let at = 0; at < blockValues / 2; at++) {
        const byte = blocks[from + at] as number;
        const column = block * blockValues + 2 * at;
        values[column * rows + row] = (fp4Values[byte & 0xf] as number) * scale;
        values[(column + 1) * rows + row] = (fp4Values[byte >>> 4] as number) * scale;
      }
    }
  }
  return values;
}
