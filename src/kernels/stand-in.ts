/** fp32 as 4 bits with one fp16 scale for each 32 values. */
import { bytesOf, forRuns, kernels, slotAddress, slotBytesOf } from "./module.ts";

/** Values that share one scale: a divisor of what a kernel is given at once. */
const runValues = 32;

/**
 * Quantises runs of 32 values: 16 bytes of nibbles each to `nibbles`, and the bits of their scales to `scales`. False where a value is not finite, and
 * then what was written is not to be used. @throws RangeError where the lengths do not belong together
 */
export function quantizeStandIn(source: Float32Array, nibbles: Uint8Array, scales: Uint16Array): boolean {
  if (source.length !== runValues * scales.length || 2 * nibbles.length !== source.length)
    throw new RangeError(`${source.length} values, ${nibbles.length} bytes and ${scales.length} scales do not belong together`);
  const from = bytesOf(source);
  const [operand, result, steps] = [slotBytesOf(0), slotBytesOf(1), new Uint16Array(slotBytesOf(2).buffer, slotAddress(2))];
  let finite = true;
  forRuns(source.length, (first, count) => {
    if (!finite) return;
    operand.set(from.subarray(4 * first, 4 * (first + count)));
    const runs = count / runValues;
    finite = kernels().quantizeRuns(slotAddress(0), runs, slotAddress(1), slotAddress(2)) === 1;
    nibbles.set(result.subarray(0, count / 2), first / 2);
    scales.set(steps.subarray(0, runs), first / runValues);
  });
  return finite;
}
