import { bytesOf, forRuns, kernels, slotAddress, slotBytesOf } from "./module.ts";

/** True where every value is neither NaN nor infinite. */
export function allFinite(values: Float32Array): boolean {
  const from = bytesOf(values);
  const operand = slotBytesOf(0);
  let finite = true;
  forRuns(values.length, (first, count) => {
    operand.set(from.subarray(4 * first, 4 * (first + count)));
    finite &&= kernels().allFinite(slotAddress(0), count) === 1;
  });
  return finite;
}
