/** fp32 as int8 with one scale for each 256 values, and back. */
import { bytesOf, forRuns, kernels, slotAddress, slotBytesOf } from "./module.ts";

/** Values that share one scale: a divisor of a run. */
export const blockElements = 256;

/** Quantises `source`: int8 values to `target`, which has as many, and the scale of each block to `scales`. */
export function quantizeBlocks(source: Float32Array, target: Int8Array, scales: Float32Array): void {
  requireLengths(source, target, scales);
  const [from, to] = [bytesOf(source), bytesOf(target)];
  const [operand, result, steps] = [slotBytesOf(0), slotBytesOf(1), new Float32Array(slotBytesOf(2).buffer, slotAddress(2), 64)];
  forRuns(source.length, (first, count) => {
    operand.set(from.subarray(4 * first, 4 * (first + count)));
    const blocks = Math.ceil(count / blockElements);
    operand.fill(0, 4 * count, 4 * blocks * blockElements);
    for (let block = 0; block < blocks; block++) {
      const at = block * blockElements;
      kernels().quantizeBlock(slotAddress(0) + 4 * at, blockElements, slotAddress(1) + at, slotAddress(2) + 4 * block);
    }
    to.set(result.subarray(0, count), first);
    scales.set(steps.subarray(0, blocks), first / blockElements);
  });
}

/** Writes `int8 * scale`, rounded once, to `target`. */
export function dequantizeBlocks(source: Int8Array, scales: Float32Array, target: Float32Array): void {
  requireLengths(target, source, scales);
  const [from, to] = [bytesOf(source), bytesOf(target)];
  const [operand, result] = [slotBytesOf(0), slotBytesOf(1)];
  forRuns(source.length, (first, count) => {
    operand.set(from.subarray(first, first + count));
    for (let at = 0; at < count; at += blockElements) {
      const scale = scales[(first + at) / blockElements] as number;
      kernels().dequantizeBlock(slotAddress(0) + at, blockElements, scale, slotAddress(1) + 4 * at);
    }
    to.set(result.subarray(0, 4 * count), 4 * first);
  });
}

function requireLengths(values: Float32Array, bytes: Int8Array, scales: Float32Array): void {
  if (bytes.length === values.length && scales.length === Math.ceil(values.length / blockElements)) return;
  throw new RangeError(`${values.length} values, ${bytes.length} int8 and ${scales.length} scales do not belong together`);
}
