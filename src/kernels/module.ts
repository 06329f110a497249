/**
 * The compiled kernels (src/kernels/assembly), loaded when they are first called: one instance a thread, over 4 MiB of memory that never
 * grow. A call copies its operands into slots of that memory, a run of values at a time so that they stay in the processor's cache, lets
 * the kernel work there, and copies the result out. Nothing in the memory outlives a call. Who has much to do with the same operands takes an
 * arena: memory with kernels of its own, which work on what lies there without copying.
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
  quantizeRuns(source: number, runs: number, target: number, scales: number): number;
  inverseRoot(matrix: number, size: number, stride: number, target: number): number;
  readRow(source: number, columns: number, bits: number, steps: number, target: number): void;
  roundBlock(
    source: number,
    rows: number,
    columns: number,
    start: number,
    size: number,
    bits: number,
    usual: number,
    factor: number,
    stride: number,
    target: number,
    steps: number,
    scratch: number,
  ): void;
  sumOf(table: number, arrays: number, target: number, factor: number, count: number): void;
  sortPair(low: number, high: number, count: number): void;
  outerStep(
    gradient: number,
    momentum: number,
    base: number,
    nextMomentum: number,
    weights: number,
    rate: number,
    mu: number,
    scale: number,
    count: number,
  ): void;
  addSquares(a: number, b: number, lanes: number, count: number): void;
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

/** Memory whose arrays kernels work on where they lie. */
export interface Arena {
  /** The next `length` values, zeros. @throws RangeError where no more are left */
  take(length: number): Float32Array<ArrayBuffer>;
}

const pageBytes = 65_536;
const mostPages = 65_536;
/** Addresses below are the compiler's; then come the slots, then what an arena gives away. */
const slotsEnd = pageBytes + slots * slotBytes;
const alignment = 64;

/**
 * An arena for `elements` values in at most `arrays` arrays. The system gives memory as it is touched. What WebAssembly cannot address (4 GiB) lies in
 * arrays of their own, which kernels copy from and to. @throws kernels-missing
 */
export function openArena(elements: number, arrays: number): Arena {
  const end = slotsEnd + 4 * elements + alignment * arrays;
  const pages = Math.ceil(end / pageBytes);
  if (pages > mostPages) return { take: (length) => new Float32Array(length) };
  const { memory } = instantiate(pages);
  let next = slotsEnd;
  return {
    take: (length) => {
      const taken = new Float32Array(memory.buffer, next, length);
      next = Math.ceil((next + 4 * length) / alignment) * alignment;
      return taken;
    },
  };
}

let loaded: Kernels | undefined;
let compiled: WebAssembly.Module | undefined;
const instances = new WeakMap<ArrayBufferLike, Kernels>();

/** The kernels. @throws kernels-missing where the package was not built */
export function kernels(): Kernels {
  loaded ??= instantiate(slotsEnd / pageBytes);
  return loaded;
}

/** The kernels of the arena that all of these arrays lie in; undefined where there is no such. */
export function kernelsAt(arrays: readonly Float32Array[]): Kernels | undefined {
  const buffer = arrays[0]?.buffer;
  return buffer !== undefined && arrays.every((one) => one.buffer === buffer) ? instances.get(buffer) : undefined;
}

function instantiate(pages: number): Kernels {
  compiled ??= new WebAssembly.Module(readModule());
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const { exports } = new WebAssembly.Instance(compiled, { env: { memory } });
  const made = { ...(exports as unknown as Kernels), memory };
  instances.set(memory.buffer, made);
  return made;
}

// The same path from src/kernels/ and from dist/kernels/: sources and built files share one compiled module.
const file = new URL("../../dist/kernels/kernels.wasm", import.meta.url);

function readModule(): Buffer<ArrayBuffer> {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new ConnitoError("The compiled kernels are missing from dist/kernels.", {
      code: "kernels-missing",
      exit: "unexpected",
      hint: "In a checkout run `npm run build`; otherwise install connito again.",
      cause,
    });
  }
}
