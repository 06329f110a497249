/**
 * Tensors as the runtime sees them. A value lies either over a typed array of ours, which it keeps referenced and does
 * not copy, or over memory of ONNX Runtime, as every output does; both can be fed to any session, so that an output
 * becomes the next run's input with no byte moved.
 *
 * Lifetime: the arrays that `float32()` and its sisters give are the tensor's own memory, not a copy. Of an output they
 * are valid until `dispose()`, which empties them (their length becomes 0): copy what is to be kept longer. A value that is disposed of while a
 * run reads it is released when that run ends. An output that is forgotten is released by the garbage collector, late;
 * dispose of it, since the collector does not see how large it is.
 */
import { ConnitoError } from "../../errors.ts";
import { createSlots, type Library } from "./library.ts";

export type ElementType = "float32" | "int32" | "int64" | "bool";

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

/** What a session needs of a value besides what everyone sees. */
export interface Pin {
  /** The `OrtValue *`, valid until `unpin`. */
  readonly handle: bigint;
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

/** Pins a value for a run. Errors: engine-value for one that was not made here or was disposed of. */
export function pin(value: Value, library: Library): Pin {
  const cell = cells.get(value);
  if (cell === undefined) throw misuse("a value must come from a session or from float32Value and its sisters");
  if (cell.disposed) throw misuse("a value was used after it was disposed of");
  if (cell.handle === 0n) attach(cell, value, library);
  cell.pins += 1;
  return {
    handle: cell.handle,
    unpin: () => {
      cell.pins -= 1;
      if (cell.disposed && cell.pins === 0) free(cell);
    },
  };
}

/** Takes over an `OrtValue *` that holds a tensor. Errors: engine-value for an element type that is not supported. */
export function nativeValue(handle: bigint, library: Library): Value {
  let type: ElementType;
  let shape: number[];
  try {
    ({ type, shape } = describe(handle, library));
  } catch (cause) {
    library.release("value", handle);
    throw cause;
  }
  const cell: Cell = { handle, library, data: undefined, memory: undefined, pins: 0, disposed: false };
  const value = createValue(type, shape, cell);
  forgotten.register(value, { handle, library }, cell);
  return value;
}

/** The state of a value, apart from it, so that the collector can tell when the value itself is forgotten. */
interface Cell {
  /** 0n for a value over a typed array that no run has seen yet, and after release. */
  handle: bigint;
  library: Library | undefined;
  /** The typed array of ours, or a view of native memory once somebody asked for it. */
  data: Elements | undefined;
  /** The ArrayBuffer over native memory, emptied at release. */
  memory: ArrayBuffer | undefined;
  pins: number;
  disposed: boolean;
}

const cells = new WeakMap<Value, Cell>();
/** A view keeps its value, and so the memory under it, for as long as anyone holds the view. */
const owners = new WeakMap<ArrayBuffer, Value>();
const forgotten = new FinalizationRegistry<{ handle: bigint; library: Library }>(({ handle, library }) => library.release("value", handle));

function hostValue(type: ElementType, shape: readonly number[], data: Elements): Value {
  if (!shape.every((length) => Number.isSafeInteger(length) && length >= 0) || elementCount(shape) !== data.length) {
    throw misuse(`a ${type} tensor of shape [${shape.join(", ")}] cannot lie over ${data.length} elements`);
  }
  return createValue(type, [...shape], { handle: 0n, library: undefined, data, memory: undefined, pins: 0, disposed: false });
}

function createValue(type: ElementType, shape: readonly number[], cell: Cell): Value {
  const read = (as: ElementType) => {
    if (cell.disposed) throw misuse("a value was read after it was disposed of");
    if (as !== type) throw misuse(`a ${type} value was read as ${as}`);
    cell.data ??= viewOf(value, cell);
    return cell.data;
  };
  const value: Value = {
    type,
    shape,
    float32: () => read("float32") as Float32Array,
    int32: () => read("int32") as Int32Array,
    int64: () => read("int64") as BigInt64Array,
    bool: () => read("bool") as Uint8Array,
    dispose: () => {
      if (cell.disposed) return;
      cell.disposed = true;
      if (cell.pins === 0) free(cell);
    },
  };
  cells.set(value, cell);
  return value;
}

/** Makes the `OrtValue` over a typed array of ours. */
function attach(cell: Cell, value: Value, library: Library): void {
  const data = cell.data as Elements;
  const shape = createSlots(value.shape.length);
  for (const [axis, length] of value.shape.entries()) shape[axis] = BigInt(length);
  cell.handle = library.produce(
    "createTensorWithData",
    library.memoryInfo,
    library.addressOf(data),
    data.byteLength,
    library.addressOf(shape),
    shape.length,
    elements[value.type].number,
  );
  cell.library = library;
  forgotten.register(value, { handle: cell.handle, library }, cell);
}

function viewOf(value: Value, cell: Cell): Elements {
  const { bytes, array } = elements[value.type];
  const count = elementCount(value.shape);
  if (count === 0 || cell.library === undefined) return new array(new ArrayBuffer(0), 0, 0);
  cell.memory = cell.library.view(cell.library.produce("tensorData", cell.handle), count * bytes);
  owners.set(cell.memory, value);
  return new array(cell.memory, 0, count);
}

function free(cell: Cell): void {
  // Emptying the view first turns a read after release into a visible mistake, where it would be a read of memory that is no longer ours.
  if (cell.memory !== undefined) structuredClone(cell.memory, { transfer: [cell.memory] });
  cell.memory = undefined;
  cell.data = undefined;
  if (cell.handle !== 0n && cell.library !== undefined) {
    forgotten.unregister(cell);
    cell.library.release("value", cell.handle);
  }
  cell.handle = 0n;
}

function describe(handle: bigint, library: Library): { type: ElementType; shape: number[] } {
  const information = library.produce("tensorTypeAndShape", handle);
  try {
    // OrtStatus-returning getters write 4 bytes for the type; the slot is zeroed, and every platform served is little-endian.
    const number = Number(library.produce("tensorElementType", information));
    const type = typesByNumber.get(number);
    if (type === undefined) throw misuse(`a tensor of ONNX element type ${number} cannot be read here`);
    const shape = createSlots(Number(library.produce("dimensionsCount", information)));
    library.call("dimensions", information, library.addressOf(shape), shape.length);
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
