/**
 * The arithmetic of a merge (docs/protocol.md, section 9) at the speed of memory: the same bits as the plain rules in src/protocol, which say what is
 * meant. All arrays of a call have one length. Where operands and results lie in one arena (module.ts), the kernels work on them in place; other
 * arrays are copied through slots. Results go to new arrays, or `into` such that are used again.
 */
import { bytesOf, forRuns, type Kernels, kernels, kernelsAt, slotAddress, slotBytesOf } from "./module.ts";

const { fround } = Math;

type Values = Float32Array<ArrayBuffer>;

/** As protocol/outer-step's: `(d_1 + d_2 + .. + d_n) * (1 / n)`, added from the left. At most 60 arrays; `into` may be one of them. */
export function averageDeltas(deltas: readonly Float32Array[], into?: Values): Values {
  const result = into ?? new Float32Array(lengthOf(deltas));
  onOperands(deltas, [result], (run, at, [target], count) =>
    run.sumOf(tableOf(run, at), at.length, target as number, share(at.length), count),
  );
  return result;
}

/**
 * As protocol/aggregate's: coordinate by coordinate the `trim` lowest and highest dropped, the rest added rising, times `1 / kept`. At most 60 arrays;
 * those in an arena are used up. `into` may be one of them.
 */
export function middleMean(values: readonly Float32Array[], trim: number, into?: Values): Values {
  const result = into ?? new Float32Array(lengthOf(values));
  onOperands(values, [result], (run, at, [target], count) => {
    // Odd-even transposition: as many rounds as there are values sort every coordinate.
    for (let round = 0; round < at.length; round++)
      for (let low = round & 1; low + 1 < at.length; low += 2) run.sortPair(at[low] as number, at[low + 1] as number, count);
    const kept = at.slice(trim, at.length - trim);
    run.sumOf(tableOf(run, kept), kept.length, target as number, share(kept.length), count);
  });
  return result;
}

/** As protocol/aggregate's: the sum of the squares of `a - b`, or of `a`. */
export function squaredDistance(a: Float32Array, b?: Float32Array): number {
  const sums = new Float64Array(4);
  onOperands(b === undefined ? [a] : [a, b], [], (run, [left, right = 0], _, count) => {
    const lanes = new Float64Array(run.memory.buffer, tableAddress, 4);
    lanes.set(sums);
    run.addSquares(left as number, right, tableAddress, count);
    sums.set(lanes);
  });
  const [l0, l1, l2, l3] = sums as unknown as [number, number, number, number];
  return l0 + l1 + (l2 + l3);
}

/** Each value times `factor`, which is fp32. */
export function multiply(values: Float32Array, factor: number, into?: Values): Values {
  const result = into ?? new Float32Array(values.length);
  onOperands([values], [result], (run, at, [target], count) => run.sumOf(tableOf(run, at), 1, target as number, factor, count));
  return result;
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
  readonly weights: Values;
  readonly momentum: Values;
}

/** As protocol/outer-step's. `into` may be the base and the momentum themselves. */
export function outerStep(step: OuterStep, into?: Stepped): Stepped {
  const { base, gradient } = step;
  const result = into ?? { weights: new Float32Array(base.length), momentum: new Float32Array(base.length) };
  const before = step.momentum ?? result.momentum.fill(0);
  const [rate, mu, scale] = [fround(step.learningRate), fround(step.mu), fround(step.scale)];
  onOperands([gradient, before, base], [result.momentum, result.weights], (run, [g, v, b], [next, weights], count) =>
    run.outerStep(g as number, v as number, b as number, next as number, weights as number, rate, mu, scale, count),
  );
  return result;
}

/** Where kernels are told addresses: the last slot. */
const tableAddress = slotAddress(62);

function tableOf({ memory }: Kernels, addresses: readonly number[]): number {
  new Uint32Array(memory.buffer, tableAddress, addresses.length).set(addresses);
  return tableAddress;
}

function share(count: number): number {
  return fround(1 / count);
}

/** Tells the kernels where a run of values of each array is: where they lie, or where they were copied to, from where results are copied back. */
function onOperands(
  operands: readonly Float32Array[],
  results: readonly Float32Array[],
  work: (run: Kernels, operands: readonly number[], results: readonly number[], count: number) => void,
): void {
  const length = lengthOf([...operands, ...results]);
  const home = kernelsAt([...operands, ...results]);
  if (home !== undefined) {
    forRuns(length, (first, count) => {
      const at = ({ byteOffset }: Float32Array) => byteOffset + 4 * first;
      work(home, operands.map(at), results.map(at), count);
    });
    return;
  }
  const slotOf = (_: unknown, index: number) => slotAddress(index);
  const [from, to] = [operands.map(bytesOf), results.map(bytesOf)];
  const slots = [...operands, ...results].map((_, index) => slotBytesOf(index));
  const addresses = slots.map(slotOf);
  const [inputs, outputs] = [addresses.slice(0, operands.length), addresses.slice(operands.length)];
  forRuns(length, (first, count) => {
    const [start, end] = [4 * first, 4 * (first + count)];
    for (const [index, bytes] of from.entries()) slots[index]?.set(bytes.subarray(start, end));
    work(kernels(), inputs, outputs, count);
    for (const [index, bytes] of to.entries()) bytes.set((slots[operands.length + index] as Uint8Array).subarray(0, end - start), start);
  });
}

function lengthOf(arrays: readonly Float32Array[]): number {
  const length = arrays[0]?.length ?? 0;
  if (arrays.length === 0 || arrays.some((one) => one.length !== length)) throw new RangeError("arrays of one length are needed");
  return length;
}
