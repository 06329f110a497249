/**
 * Tensors as the runtime sees them. A value lies either over a typed array of ours, which it keeps referenced and does
 * not copy, or over memory of ONNX Runtime, as every output does; both can be fed to any session, so that an output
 * becomes the next run's input with no byte moved.
 *
 * Lifetime: the arrays that `float32()` and its sisters give are the tensor's own memory, not a copy; writing to one writes to the tensor, and a
 * run that writes into the value changes it. Native memory is returned once the value is disposed of, no run reads it and no such
 * array is left: an array that is still held is never dangling, but it holds its memory until the collector takes it. A value that is forgotten
 * is released by the collector too, late, since the collector does not see how large it is: dispose of outputs.
 */
import { ConnitoError } from "../../errors.ts";
import { createSlots, type Library } from "./library.ts";

type ElementType = "float32" | "int32" | "int64" | "bool";

export interface Value {
  readonly type: ElementType;
  readonly shape: readonly number[];
  /** The elements in row-major order. Errors: engine-value for a value of another type, or one disposed of. */
  float32(): Float32Array;
  int32(): Int32Array;
  int64(): BigInt64Array;
  /** One byte an element, 0 or 1. */
  bool(): Uint8Array;
  dispose(): void;
}

/** A value held for a run. */
export interface Pin {
  /** The `OrtValue *`, valid until `unpin`. */
  readonly handle: bigint;
  /** The array of ours that it lies over: a run may outlast the value. */
  readonly source: Elements | undefined;
  unpin(): void;
}

type Elements = Float32Array | Int32Array | BigInt64Array | Uint8Array;
type ElementArray = new (buffer: ArrayBuffer, byteOffset: number, length: number) => Elements;

/** `ONNXTensorElementDataType` (the numbers of ONNX's TensorProto.DataType) and how the elements look here. */
const elements: Record<ElementType, { readonly number: number; readonly bytes: number; readonly array: ElementArray }> = {
  float32: { number: 1, bytes: 4, array: Float32Array },
  int32: { number: 6, bytes: 4, array: Int32Array },
  int64: { number: 7, bytes: 8, array: BigInt64Array },
  bool: { number: 9, bytes: 1, array: Uint8Array },
};
const typesByNumber = new Map(Object.entries(elements).map(([type, { number }]) => [number, type as ElementType]));

/** A tensor over `data`, which must not be detached while the value is in use. Errors: engine-value where shape and length disagree. */
export function float32Value(shape: readonly number[], data: Float32Array): Value {
  return hostValue("float32", shape, data);
}

/** As `float32Value`. */
export function int32Value(shape: readonly number[], data: Int32Array): Value {
  return hostValue("int32", shape, data);
}

/** As `float32Value`. */
export function int64Value(shape: readonly number[], data: BigInt64Array): Value {
  return hostValue("int64", shape, data);
}

/** As `float32Value`; one byte an element, 0 or 1. */
export function boolValue(shape: readonly number[], data: Uint8Array): Value {
  return hostValue("bool", shape, data);
}

/** The number of elements of a shape; 1 for a scalar's `[]`. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}

/** Holds a value for a run. Errors: engine-value for one that was not made here or was disposed of. */
export function pin(value: Value, library: Library): Pin {
  const body = bodies.get(value);
  if (body === undefined) throw misuse("a value must come from a session or from float32Value and its sisters");
  if (body.disposed) throw misuse("a value was used after it was disposed of");
  body.tensor ??= attach(body, value, library);
  const { tensor, data } = body;
  tensor.users += 1;
  return { handle: tensor.handle, source: data, unpin: () => drop(tensor) };
}

/** Takes over an `OrtValue *` that holds a tensor. Errors: engine-value for an element type that is not supported. */
export function nativeValue(handle: bigint, library: Library): Value {
  const tensor: NativeTensor = { handle, runtime: library, users: 1 };
  try {
    const { type, shape } = describe(handle, library);
    const value = createValue(type, shape, { tensor, data: undefined, disposed: false });
    forgotten.register(value, tensor, tensor);
    return value;
  } catch (cause) {
    drop(tensor);
    throw cause;
  }
}

/**
 * An `OrtValue *`, released when the last of its users (the value, runs, an array over its memory) is gone. It does not hold the array of ours that it may
 * lie over: the collector keeps it until it has taken the value, and would need a second round for the array.
 */
interface NativeTensor {
  readonly handle: bigint;
  readonly runtime: Library;
  users: number;
}

interface Body {
  /** Absent for a value over an array of ours until its first run. */
  tensor: NativeTensor | undefined;
  /** The array of ours, or one over native memory once somebody asked for it. */
  data: Elements | undefined;
  disposed: boolean;
}

const bodies = new WeakMap<Value, Body>();
/** Counts a user off when the collector takes it; the callbacks see the tensor only, so they keep nothing alive. */
const forgotten = new FinalizationRegistry<NativeTensor>((tensor) => drop(tensor));

function drop(tensor: NativeTensor): void {
  tensor.users -= 1;
  if (tensor.users === 0) tensor.runtime.release("value", tensor.handle);
}

function hostValue(type: ElementType, shape: readonly number[], data: Elements): Value {
  if (!shape.every((length) => Number.isSafeInteger(length) && length >= 0) || elementCount(shape) !== data.length) {
    throw misuse(`a ${type} tensor of shape [${shape.join(", ")}] cannot lie over ${data.length} elements`);
  }
  return createValue(type, [...shape], { tensor: undefined, data, disposed: false });
}

function createValue(type: ElementType, shape: readonly number[], body: Body): Value {
  const read = (as: ElementType) => {
    if (body.disposed) throw misuse("a value was read after it was disposed of");
    if (as !== type) throw misuse(`a ${type} value was read as ${as}`);
    body.data ??= arrayOver(body.tensor as NativeTensor, type, shape);
    return body.data;
  };
  const value: Value = {
    type,
    shape,
    float32: () => read("float32") as Float32Array,
    int32: () => read("int32") as Int32Array,
    int64: () => read("int64") as BigInt64Array,
    bool: () => read("bool") as Uint8Array,
    dispose: () => {
      if (body.disposed) return;
      body.disposed = true;
      body.data = undefined;
      if (body.tensor === undefined) return;
      forgotten.unregister(body.tensor);
      drop(body.tensor);
    },
  };
  bodies.set(value, body);
  return value;
}

/** Makes the `OrtValue` over an array of ours. */
function attach(body: Body, value: Value, library: Library): NativeTensor {
  const data = body.data as Elements;
  const shape = createSlots(value.shape.length);
  for (const [axis, length] of value.shape.entries()) shape[axis] = BigInt(length);
  const handle = library.produce(
    "createTensorWithData",
    library.memoryInfo,
    data,
    data.byteLength,
    shape,
    shape.length,
    elements[value.type].number,
  );
  const tensor = { handle, runtime: library, users: 1 };
  forgotten.register(value, tensor, tensor);
  return tensor;
}

function arrayOver(tensor: NativeTensor, type: ElementType, shape: readonly number[]): Elements {
  const { bytes, array } = elements[type];
  const count = elementCount(shape);
  if (count === 0) return new array(new ArrayBuffer(0), 0, 0);
  const memory = tensor.runtime.view(tensor.runtime.produce("tensorData", tensor.handle), count * bytes);
  tensor.users += 1;
  // Without an unregister token: disposing of the value must not take the array's share.
  forgotten.register(memory, tensor);
  return new array(memory, 0, count);
}

function describe(handle: bigint, library: Library): { type: ElementType; shape: number[] } {
  const information = library.produce("tensorTypeAndShape", handle);
  try {
    // The type is written as 4 bytes; the slot is zeroed, and every platform served is little-endian.
    const number = Number(library.produce("tensorElementType", information));
    const type = typesByNumber.get(number);
    if (type === undefined) throw misuse(`a tensor of ONNX element type ${number} cannot be read here`);
    const shape = createSlots(Number(library.produce("dimensionsCount", information)));
    library.call("dimensions", information, shape, shape.length);
    return { type, shape: Array.from(shape, Number) };
  } finally {
    library.release("tensorTypeAndShape", information);
  }
}

function misuse(message: string): ConnitoError {
  return new ConnitoError(message, {
    code: "engine-value",
    exit: "unexpected",
    hint: "this is a fault in the caller of the engine; please report it with the message above",
  });
}
