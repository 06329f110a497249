/**
 * Low-bit copies of a matrix as they would read back: each format gives the values after rounding, and the bits that a value takes with all that
 * is stored beside it. Formats here are candidates; the one that the protocol uses is `q4-32`, taken from the product itself.
 */
import { dequantize, quantize } from "../../src/model/stand-ins.ts";

export interface Format {
  readonly name: string;
  /** Bits a value, scales included. */
  readonly bits: number;
  round(values: Float32Array, shape: readonly number[]): Float32Array;
}

export const exact: Format = { name: "bf16", bits: 16, round: (values) => values };
export const nothing: Format = { name: "none", bits: 0, round: (values) => new Float32Array(values.length) };
export const q4: Format = { name: "q4-32", bits: 4.5, round: (values, shape) => dequantize(quantize(values, shape), shape) };

/** Runs of `run` values along rows, each between its own minimum and maximum in 2^bits - 1 equal steps, both ends stored as fp16. */
export function affine(bits: number, run: number): Format {
  return {
    name: `affine ${bits}-bit, runs of ${run}`,
    bits: bits + 32 / run,
    round: (values) =>
      byRun(values, run, (part) => {
        const low = part.reduce((a, b) => Math.min(a, b));
        const step = (part.reduce((a, b) => Math.max(a, b)) - low) / (2 ** bits - 1);
        return step === 0 ? part : part.map((value) => low + step * Math.round((value - low) / step));
      }),
  };
}

/**
 * Levels that are best for normally distributed values (Max 1960, "Quantizing for minimum distortion", table I) times a scale a run, which is the one of
 * several tried that leaves the least squared error; the scale takes 8 bits (relative to one fp16 number a row, not counted).
 */
export function normal(bits: 1 | 2 | 3, run: number): Format {
  const positive = { 1: [0.7979], 2: [0.4528, 1.51], 3: [0.2451, 0.756, 1.344, 2.152] }[bits];
  const nearest = (value: number) => {
    const size = Math.abs(value);
    const level = positive.reduce((best, one) => (Math.abs(one - size) < Math.abs(best - size) ? one : best));
    return value < 0 ? -level : level;
  };
  return {
    name: `normal ${bits}-bit, runs of ${run}`,
    bits: bits + 8 / run,
    round: (values) => byRun(values, run, (part) => bestScale(part, nearest)),
  };
}

/** Three levels, five values in a byte. */
export function ternary(run: number): Format {
  const nearest = (value: number) => (Math.abs(value) < 0.6119 ? 0 : Math.sign(value) * 1.2238);
  return {
    name: `ternary, runs of ${run}`,
    bits: 1.6 + 8 / run,
    round: (values) => byRun(values, run, (part) => bestScale(part, nearest)),
  };
}

function bestScale(part: Float32Array, nearest: (value: number) => number): Float32Array {
  const deviation = Math.sqrt(part.reduce((sum, value) => sum + value * value, 0) / part.length);
  if (deviation === 0) return part;
  let best = part;
  let least = Number.POSITIVE_INFINITY;
  for (let factor = 0.7; factor < 1.45; factor += 0.05) {
    const scale = deviation * factor;
    const rounded = part.map((value) => scale * nearest(value / scale));
    const error = rounded.reduce((sum, value, index) => sum + (value - (part[index] as number)) ** 2, 0);
    if (error < least) {
      least = error;
      best = rounded;
    }
  }
  return best;
}

function byRun(values: Float32Array, run: number, round: (part: Float32Array) => Float32Array): Float32Array {
  const result = new Float32Array(values.length);
  for (let at = 0; at < values.length; at += run) result.set(round(values.subarray(at, at + run)), at);
  return result;
}
