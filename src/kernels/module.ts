/**
 * The compiled kernels (src/kernels/assembly), loaded when they are first called: one instance a thread, over 4 MiB of memory that never
 * grow. A call copies its operands into slots of that memory, a run of values at a time so that they stay in the processor's cache, lets
 * the kernel work there, and copies the result out. Nothing in the memory outlives a call.
 *
 * A new kernel is a function in src/kernels/assembly, its line in `Kernels` here, and a function beside this file that moves the data.
 */
import { readFileSync } from "node:fs";
import { ConnitoError } from "../errors.ts";

/** What the module exports. Addresses are in bytes, counts in values; each is described at its source. */
export interface Kernels {
  readonly memory: { readonly buffer: ArrayBuffer };
  float32FromBfloat16(source: number, target: number, count: number): void;
  bfloat16FromFloat32(source: number, target: number, count: number): void;
  quantizeBlock(source: number, count: number, target: number, scale: number): void;
  dequantizeBlock(source: number, count: number, scale: number, target: number): void;
  allFinite(source: number, count: number): number;
  sumOf(first: number, stride: number, arrays: number, factor: number, count: number): void;
  sortPair(low: number, high: number, count: number): void;
  outerStep(gradient: number, momentum: number, base: number, rate: number, mu: number, scale: number, count: number): void;
  addSquares(a: number, b: number, lanes: number, count: number): void;
  encodeSparse(
    source: number,
    count: number,
    length: number,
    kept: number,
    lowBits: number,
    target: number,
    bytes: number,
    scratch: number,
  ): void;
  decodeSparse(source: number, length: number, kept: number, lowBits: number, bytes: number, target: number): number;
}

/** fp32 values that a slot holds, and so the longest run that a kernel is given at once. */
export const runElements = 16_384;

const slotBytes = 4 * runElements;
const slots = 63;

/** Address of a slot for `runElements` fp32 values. The first 64 KiB of the memory are the compiler's. */
export function slotAddress(slot: number): number {
  if (!(slot >= 0 && slot < slots)) throw new RangeError(`there are ${slots} slots, no slot ${slot}`);
  return (slot + 1) * slotBytes;
}

/** A slot's memory. */
export function slotBytesOf(slot: number, length = slotBytes): Uint8Array {
  return new Uint8Array(kernels().memory.buffer, slotAddress(slot), length);
}

/** Calls `work` for one run of values after the other: `count` of them from index `first` on, never more than `runElements`. */
export function forRuns(elements: number, work: (first: number, count: number) => void): void {
  for (let first = 0; first < elements; first += runElements) work(first, Math.min(runElements, elements - first));
}

/** The bytes of a typed array, in place. */
export function bytesOf(values: ArrayBufferView): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

let loaded: Kernels | undefined;

/** The kernels. @throws kernels-missing where the package was not built */
export function kernels(): Kernels {
  loaded ??= load();
  return loaded;
}

// The same path from src/kernels/ and from dist/kernels/: sources and built files share one compiled module.
const file = new URL("../../dist/kernels/kernels.wasm", import.meta.url);

function load(): Kernels {
  let bytes: Buffer<ArrayBuffer>;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    throw new ConnitoError("The compiled kernels are missing from dist/kernels.", {
      code: "kernels-missing",
      exit: "unexpected",
      hint: "In a checkout run `npm run build`; otherwise install connito again.",
      cause,
    });
  }
  return new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports as unknown as Kernels;
}
