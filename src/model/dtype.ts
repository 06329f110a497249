/**
 * Element types of checkpoints and the conversions between them and fp32. Rounding is to nearest, ties to even; a NaN stays a NaN.
 * Bytes are little-endian, as in safetensors and on every machine that Node.js runs ONNX Runtime on.
 */
import { ConnitoError } from "../errors.ts";
import { bfloat16FromFloat32, float32FromBfloat16 } from "../kernels/bfloat16.ts";

/** Bits of one element, in the order in which the safetensors library sorts tensors (it writes the last first). */
const bitsOf = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const;

export type Dtype = keyof typeof bitsOf;

export const dtypes = Object.keys(bitsOf) as readonly Dtype[];

export function isDtype(value: unknown): value is Dtype {
  return typeof value === "string" && Object.hasOwn(bitsOf, value);
}

/** Position in the library's order of element types. */
export function dtypeRank(dtype: Dtype): number {
  return dtypes.indexOf(dtype);
}

/** Elements of a shape, 1 for rank 0; undefined when the product is no exact integer. */
export function elementsOf(shape: readonly number[]): number | undefined {
  if (shape.includes(0)) return 0;
  let product = 1;
  for (const dimension of shape) {
    product *= dimension;
    if (!Number.isSafeInteger(product)) return undefined;
  }
  return product;
}

/** Bytes of a tensor; undefined when they are no exact integer, or when sub-byte elements do not fill whole bytes. */
export function bytesOf(dtype: Dtype, shape: readonly number[]): number | undefined {
  const elements = elementsOf(shape);
  if (elements === undefined) return undefined;
  const bits = elements * bitsOf[dtype];
  return Number.isSafeInteger(bits) && bits % 8 === 0 ? bits / 8 : undefined;
}

/** Element types that can be read as fp32 and written from it. */
export type FloatDtype = "F32" | "BF16" | "F16";

export function isFloatDtype(value: string): value is FloatDtype {
  return value === "F32" || value === "BF16" || value === "F16";
}

/** The bytes as whole elements of `width` bytes, on a buffer that is aligned for them (copied where it was not). */
function aligned(bytes: Uint8Array, width: 2 | 4): { buffer: ArrayBuffer; offset: number; elements: number } {
  if (bytes.length % width !== 0) throw new RangeError(`${bytes.length} bytes are no whole elements of ${width} bytes`);
  const own = bytes.byteOffset % width === 0 && bytes.buffer instanceof ArrayBuffer;
  const source = own ? bytes : Uint8Array.from(bytes);
  return { buffer: source.buffer as ArrayBuffer, offset: source.byteOffset, elements: bytes.length / width };
}

/** fp32 values of stored elements, in `into` where that is given. For F32 the result may otherwise share memory with `bytes`. */
export function toFloat32(dtype: FloatDtype, bytes: Uint8Array, into?: Float32Array): Float32Array {
  if (dtype === "F32") {
    const { buffer, offset, elements } = aligned(bytes, 4);
    const values = new Float32Array(buffer, offset, elements);
    into?.set(values);
    return into ?? values;
  }
  const { buffer, offset, elements } = aligned(bytes, 2);
  const source = new Uint16Array(buffer, offset, elements);
  const result = into ?? new Float32Array(elements);
  if (dtype === "BF16") {
    float32FromBfloat16(source, result);
  } else {
    for (let index = 0; index < elements; index++) result[index] = fromHalf(source[index] as number);
  }
  return result;
}

/** Stored elements of fp32 values. For F32 the result shares memory with `values`. */
export function fromFloat32(dtype: FloatDtype, values: Float32Array): Uint8Array {
  if (dtype === "F32") return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const result = new Uint16Array(values.length);
  if (dtype === "BF16") {
    bfloat16FromFloat32(values, result);
  } else {
    for (let index = 0; index < values.length; index++) result[index] = toHalf(values[index] as number);
  }
  return new Uint8Array(result.buffer);
}

/** The value of a half-precision number's 16 bits. */
export function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1024 + fraction) * (powersOfTwo[exponent] as number);
}

/** 2^(exponent - 25): what one step of the fraction is worth in each binade. */
const powersOfTwo = Float64Array.from({ length: 32 }, (_, exponent) => 2 ** (exponent - 25));

const scratch = new Float64Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

/** The 16 bits of the half-precision number nearest to any double, rounded once; beyond 65,520 infinity. */
export function toHalf(value: number): number {
  scratch[0] = value;
  const high = scratchBits[1] as number;
  const sign = (high >>> 16) & 0x8000;
  if (Number.isNaN(value)) return sign | 0x7e00;
  const magnitude = Math.abs(value);
  if (magnitude >= 65_520) return sign | 0x7c00;
  const exponent = Math.max(((high >>> 20) & 0x7ff) - 1023, -14);
  // A carry out of the fraction runs into the exponent, which is just what rounding up to the next binade is.
  const steps = roundHalfEven(magnitude * 2 ** (10 - exponent));
  return sign | (exponent === -14 ? steps : ((exponent + 14) << 10) + steps);
}

/** To the nearest integer, ties to even. Exact for magnitudes below 2^51. */
export function roundHalfEven(value: number): number {
  return value + 6_755_399_441_055_744 - 6_755_399_441_055_744;
}

/** The dtype, where its values can be read; throws `dtype-unsupported` that names the tensor. */
export function requireFloatDtype(dtype: string, name: string): FloatDtype {
  if (isFloatDtype(dtype)) return dtype;
  throw new ConnitoError(`${name} is stored as ${dtype}, whose values cannot be read`, {
    code: "dtype-unsupported",
    exit: "invalidInput",
    hint: "Use a checkpoint in F32, BF16 or F16: `connito model convert` makes one of packed weights.",
  });
}
