/** fp32 from bf16 and back. */
import { bytesOf, forRuns, kernels, slotAddress, slotBytesOf } from "./module.ts";

/** Writes the values of `source` (bf16 bits) to `target`, which has as many. Exact. */
export function float32FromBfloat16(source: Uint16Array, target: Float32Array): void {
  if (source.length !== target.length) throw new RangeError(`${source.length} values do not fill ${target.length}`);
  const [from, to] = [bytesOf(source), bytesOf(target)];
  const [operand, result] = [slotBytesOf(0), slotBytesOf(1)];
  forRuns(source.length, (first, count) => {
    operand.set(from.subarray(2 * first, 2 * (first + count)));
    kernels().float32FromBfloat16(slotAddress(0), slotAddress(1), count);
    to.set(result.subarray(0, 4 * count), 4 * first);
  });
}

/** Writes the values of `source` to `target` (bf16 bits), rounded to nearest, ties to even. A NaN stays a NaN. */
export function bfloat16FromFloat32(source: Float32Array, target: Uint16Array): void {
  if (source.length !== target.length) throw new RangeError(`${source.length} values do not fill ${target.length}`);
  const [from, to] = [bytesOf(source), bytesOf(target)];
  const [operand, result] = [slotBytesOf(0), slotBytesOf(1)];
  forRuns(source.length, (first, count) => {
    operand.set(from.subarray(4 * first, 4 * (first + count)));
    kernels().bfloat16FromFloat32(slotAddress(0), slotAddress(1), count);
    to.set(result.subarray(0, 2 * count), 2 * first);
  });
}
