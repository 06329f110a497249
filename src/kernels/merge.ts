/**
 * The arithmetic of a merge (docs/protocol.md, section 9) at the speed of memory: the same bits as the plain rules in src/protocol, which say what is
 * meant. All arrays of a call have one length. Results go to new arrays, or `into` such that are used again: memory that the system has to clear first
 * costs more than the arithmetic.
 */
import { bytesOf, forRuns, kernels, slotAddress, slotBytesOf } from "./module.ts";

const { fround } = Math;

/** As protocol/outer-step's: `(d_1 + d_2 + .. + d_n) * (1 / n)`, added from the left. At most 62 arrays. */
export function averageDeltas(deltas: readonly Float32Array[], into?: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  return meanOfSlots(deltas, 0, into);
}

/** As protocol/aggregate's: coordinate by coordinate the `trim` lowest and highest dropped, the rest added rising, times `1 / kept`. At most 62 arrays. */
export function middleMean(values: readonly Float32Array[], trim: number, into?: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  return meanOfSlots(values, trim, into, (count) => {
    // Odd-even transposition: as many rounds as there are values sort every coordinate.
    for (let round = 0; round < values.length; round++)
      for (let slot = round & 1; slot + 1 < values.length; slot += 2) kernels().sortPair(slotAddress(slot), slotAddress(slot + 1), count);
  });
}

/** The mean of the arrays but for `trim` at either end, once they lie in slots and `order` has done what it does there. */
function meanOfSlots(
  values: readonly Float32Array[],
  trim: number,
  into?: Float32Array<ArrayBuffer>,
  order: (count: number) => void = () => undefined,
): Float32Array<ArrayBuffer> {
  const result = into ?? new Float32Array(lengthOf(values));
  const length = lengthOf([...values, result]);
  const kept = values.length - 2 * trim;
  const [to, from, slots] = [bytesOf(result), values.map(bytesOf), values.map((_, slot) => slotBytesOf(slot))];
  const stride = slotAddress(1) - slotAddress(0);
  forRuns(length, (first, count) => {
    for (const [index, bytes] of from.entries()) slots[index]?.set(bytes.subarray(4 * first, 4 * (first + count)));
    order(count);
    kernels().sumOf(slotAddress(trim), stride, kept, fround(1 / kept), count);
    to.set((slots[trim] as Uint8Array).subarray(0, 4 * count), 4 * first);
  });
  return result;
}

/** As protocol/aggregate's: the sum of the squares of `a - b`, or of `a`. */
export function squaredDistance(a: Float32Array, b?: Float32Array): number {
  const length = lengthOf(b === undefined ? [a] : [a, b]);
  const [left, right] = [bytesOf(a), b === undefined ? undefined : bytesOf(b)];
  const [first, second] = [slotBytesOf(0), slotBytesOf(1)];
  const lanes = new Float64Array(first.buffer, slotAddress(2), 4).fill(0);
  forRuns(length, (start, count) => {
    const [from, to] = [4 * start, 4 * (start + count)];
    first.set(left.subarray(from, to));
    if (right !== undefined) second.set(right.subarray(from, to));
    kernels().addSquares(slotAddress(0), right === undefined ? 0 : slotAddress(1), slotAddress(2), count);
  });
  const [l0, l1, l2, l3] = lanes as unknown as [number, number, number, number];
  return l0 + l1 + (l2 + l3);
}

/** Each value times `factor`, which is fp32. */
export function multiply(values: Float32Array, factor: number): Float32Array {
  return values.map((value) => value * factor);
}

export interface OuterStep {
  /** The tensor's weights in the base version, as fp32. */
  readonly base: Float32Array;
  readonly gradient: Float32Array;
  /** The momentum kept from the tensor's last merge; zeros where there was none. */
  readonly momentum?: Float32Array | undefined;
  readonly learningRate: number;
  readonly mu: number;
  readonly scale: number;
}

interface Stepped {
  readonly weights: Float32Array<ArrayBuffer>;
  readonly momentum: Float32Array<ArrayBuffer>;
}

/** As protocol/outer-step's. */
export function outerStep(step: OuterStep, into?: Stepped): Stepped {
  const { base, gradient, momentum } = step;
  const result = into ?? { weights: new Float32Array(base.length), momentum: new Float32Array(base.length) };
  const length = lengthOf([base, gradient, result.weights, result.momentum, ...(momentum === undefined ? [] : [momentum])]);
  const [rate, mu, scale] = [fround(step.learningRate), fround(step.mu), fround(step.scale)];
  const [weightBytes, nextBytes] = [bytesOf(result.weights), bytesOf(result.momentum)];
  const [baseBytes, gradientBytes] = [bytesOf(base), bytesOf(gradient)];
  const before = momentum === undefined ? undefined : bytesOf(momentum);
  const [first, second, third] = [slotBytesOf(0), slotBytesOf(1), slotBytesOf(2)];
  forRuns(length, (start, count) => {
    const [from, to] = [4 * start, 4 * (start + count)];
    first.set(gradientBytes.subarray(from, to));
    if (before === undefined) second.fill(0, 0, 4 * count);
    else second.set(before.subarray(from, to));
    third.set(baseBytes.subarray(from, to));
    kernels().outerStep(slotAddress(0), slotAddress(1), slotAddress(2), rate, mu, scale, count);
    nextBytes.set(second.subarray(0, 4 * count), from);
    weightBytes.set(third.subarray(0, 4 * count), from);
  });
  return result;
}

function lengthOf(arrays: readonly Float32Array[]): number {
  const length = arrays[0]?.length ?? 0;
  if (arrays.length === 0 || arrays.some((one) => one.length !== length)) throw new RangeError("arrays of one length are needed");
  return length;
}
