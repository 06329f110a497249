/**
 * Tensors side by side in a few large arrays, seen in two ways without a copy: each under its name and shape, as the gradient graph
 * reads and writes it, and as chunks of one length, as the optimizer walks over it. Chunks are small enough for a core's cache and there are
 * far fewer of them than tensors in a model of many small experts.
 */
import { float32Value, type Value } from "./runtime/value.ts";

export interface FlatTensors {
  /** Each tensor by name. */
  readonly tensors: Readonly<Record<string, Value>>;
  /** All elements, and zeros between tensors, in order. */
  readonly chunks: readonly Value[];
}

/** Elements of a chunk: 512 KiB. Shorter ones cost more in handing them over than they save in a core's cache, longer ones leave it. */
export const chunkElements = 131_072;
/** Tensors begin at multiples of 64 bytes. */
const alignment = 16;
/** Arrays grow to about this length: 256 MiB. */
const arrayElements = 2 ** 26;

interface Place {
  readonly array: number;
  readonly offset: number;
}

/** Where each tensor lies, and how long each array is; the same for any set of tensors of these shapes. */
export interface FlatLayout {
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  readonly places: ReadonlyMap<string, Place>;
  readonly arrays: readonly number[];
  /** Lengths of the chunks. */
  readonly chunks: readonly number[];
}

export function flatLayout(shapes: ReadonlyMap<string, readonly number[]>, longestArray = arrayElements): FlatLayout {
  const places = new Map<string, Place>();
  const arrays: number[] = [];
  let used = Number.POSITIVE_INFINITY;
  for (const [name, shape] of shapes) {
    const elements = elementCount(shape);
    if (used + elements > longestArray) {
      arrays.push(0);
      used = 0;
    }
    places.set(name, { array: arrays.length - 1, offset: used });
    used += Math.ceil(elements / alignment) * alignment;
    arrays[arrays.length - 1] = used;
  }
  const chunks = arrays.flatMap((length) =>
    Array.from({ length: Math.ceil(length / chunkElements) }, (_, index) => Math.min(chunkElements, length - index * chunkElements)),
  );
  return { shapes, places, arrays, chunks };
}

/** Two sets of tensors as one: the arrays and chunks of the first, then those of the second. */
export function besides(first: FlatLayout, second: FlatLayout): FlatLayout {
  const moved = [...second.places].map(([name, { array, offset }]) => [name, { array: array + first.arrays.length, offset }] as const);
  return {
    shapes: new Map([...first.shapes, ...second.shapes]),
    places: new Map([...first.places, ...moved]),
    arrays: [...first.arrays, ...second.arrays],
    chunks: [...first.chunks, ...second.chunks],
  };
}

/** Tensors of zeros. */
export function flatTensors({ shapes, places, arrays }: FlatLayout): FlatTensors {
  const memory = arrays.map((length) => new Float32Array(length));
  const tensors: Record<string, Value> = {};
  for (const [name, shape] of shapes) {
    const { array, offset } = places.get(name) as Place;
    tensors[name] = float32Value(shape, (memory[array] as Float32Array).subarray(offset, offset + elementCount(shape)));
  }
  const chunks = memory.flatMap((data) =>
    Array.from({ length: Math.ceil(data.length / chunkElements) }, (_, index) => {
      const chunk = data.subarray(index * chunkElements, (index + 1) * chunkElements);
      return float32Value([chunk.length], chunk);
    }),
  );
  return { tensors, chunks };
}

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}
