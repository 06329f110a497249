/**
 * The kernels: AssemblyScript, a strict subset of TypeScript that compiles to WebAssembly. `npm run build` makes dist/kernels/kernels.wasm of this file.
 *
 * A kernel is a function of addresses and counts. It allocates nothing, keeps nothing between calls, and reads and writes only the
 * ranges that its comment names. What is meant by "the same bits on every machine": integer operations, and fp32 and fp64
 * operations that IEEE 754 rounds in one way, each written out. No relaxed SIMD, no fused multiply-add, no sums whose order depends on the width.
 */
export { bfloat16FromFloat32, float32FromBfloat16 } from "./bfloat16";
export { dequantizeBlock, quantizeBlock } from "./block-int8";
export { allFinite } from "./finite";
export { inverseRoot, readRow, roundBlock } from "./low-bits";
export { addSquares, outerStep, sortPair, sumOf } from "./merge";
export { quantizeRuns } from "./stand-in";
