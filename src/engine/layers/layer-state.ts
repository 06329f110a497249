/**
 * What a layer-wise training keeps of the tensors that it trains: each layer's weights, moments and gradient as one flat array each, in memory as far as
 * there is room, and otherwise in scratch files. An array holds what is updated value by value, then the matrices; both parts are as long in all
 * layers as in the one that needs most, filled up with zeros, so that one compiled update serves them all. The second moment has the first part only.
 */
import { placed, type Tensors } from "../../model/tensors.ts";
import { chunkElements, elementCount, type FlatTensors, flatLayout } from "../flat-tensors.ts";
import { float32Value, type Value } from "../runtime/value.ts";
import { checkState } from "../training.ts";
import { type OptimizerOptions, shareOut } from "../update.ts";
import { openActivations, type Scratch } from "./activations.ts";

/** The shapes of a layer's trained tensors, by name. */
export type TrainedLayer = ReadonlyMap<string, readonly number[]>;
export type Kept = "weight" | "m" | "v" | "gradient";
const kinds: readonly Kept[] = ["weight", "m", "v", "gradient"];

export interface LayerLayout {
  /** Lengths of the chunks of a layer's array, and how many of them are updated value by value. */
  readonly chunks: readonly number[];
  readonly elementwise: number;
  /** Bytes of a layer's array of each kind, and of all that is kept. */
  readonly bytes: Readonly<Record<Kept, number>>;
  readonly allBytes: number;
  /** A new array of zeros of a kind. */
  zeros(kind: Kept): Float32Array;
  /** The shapes of a layer's tensors of which there is such an array. */
  shapes(kind: Kept, layer: number): TrainedLayer;
  /** A layer's array of a kind as tensors and as chunks; not copied. */
  over(kind: Kept, layer: number, values: Float32Array): FlatTensors;
  /** Everything that is kept, weights from `load` and moments of zero. */
  open(scratch: Scratch, load: (names: readonly string[]) => Promise<ReadonlyMap<string, Float32Array>>): Promise<LayerState>;
}

export interface LayerState {
  /** What of `scratch.memoryBytes` this takes. */
  readonly memoryBytes: number;
  /** The array may be the one that is kept: what changes it has to write it. */
  read(kind: Kept, layer: number): Promise<Float32Array>;
  write(kind: Kept, layer: number, values: Float32Array): Promise<void>;
  /** A layer's trained weights as they are now, by name. */
  weights(layer: number): Promise<Map<string, Float32Array>>;
  /** For each trained tensor its value under its name, and its moments under `m.NAME` and `v.NAME`. */
  readonly tensors: Tensors;
  /** The values alone. */
  readonly trained: Tensors;
  /** Errors: trainer-state-mismatch. */
  restore(tensors: Tensors, step: number): Promise<void>;
  close(): Promise<void>;
}

export function layOutLayers(layers: ReadonlyMap<number, TrainedLayer>, optimizer: OptimizerOptions): LayerLayout {
  const parts = new Map(
    [...layers].map(([layer, shapes]) => {
      const { elementwise, matrices } = shareOut(shapes, optimizer);
      return [layer, [elementwise, matrices].map((part) => flatLayout(part, Number.MAX_SAFE_INTEGER))] as const;
    }),
  );
  const [first, second] = [0, 1].map((part) => Math.max(...[...parts.values()].map((both) => both[part]?.arrays[0] ?? 0))) as [
    number,
    number,
  ];
  const places = { elementwise: chunkPlaces(0, first), matrices: chunkPlaces(first, second) };
  const all = [...places.elementwise, ...places.matrices];
  const partsOf = (kind: Kept, layer: number) => (parts.get(layer) ?? []).slice(0, kind === "v" ? 1 : 2);
  const bytes = { weight: 4 * (first + second), m: 4 * (first + second), v: 4 * first, gradient: 4 * (first + second) };
  const layout: Omit<LayerLayout, "open"> = {
    chunks: all.map(({ length }) => length),
    elementwise: places.elementwise.length,
    bytes,
    allBytes: layers.size * kinds.reduce((sum, kind) => sum + bytes[kind], 0),
    zeros: (kind) => new Float32Array(bytes[kind] / 4),
    shapes: (kind, layer) => new Map(partsOf(kind, layer).flatMap((part) => [...part.shapes])),
    over(kind, layer, values) {
      const tensors = partsOf(kind, layer).flatMap(({ shapes, places }, part) =>
        [...shapes].map(([name, shape]) => {
          const start = part * first + (places.get(name)?.offset as number);
          return [name, float32Value(shape, values.subarray(start, start + elementCount(shape)))] as const;
        }),
      );
      const chunks = (kind === "v" ? places.elementwise : all).map(({ start, length }) =>
        float32Value([length], values.subarray(start, start + length)),
      );
      return { tensors: Object.fromEntries(tensors), chunks };
    },
  };
  return { ...layout, open: (scratch, load) => openState(layers, layout, scratch, load) };
}

function chunkPlaces(from: number, elements: number): { start: number; length: number }[] {
  return Array.from({ length: Math.ceil(elements / chunkElements) }, (_, index) => ({
    start: from + index * chunkElements,
    length: Math.min(chunkElements, elements - index * chunkElements),
  }));
}

async function openState(
  layers: ReadonlyMap<number, TrainedLayer>,
  { allBytes, bytes, zeros, shapes, over }: Omit<LayerLayout, "open">,
  scratch: Scratch,
  load: (names: readonly string[]) => Promise<ReadonlyMap<string, Float32Array>>,
): Promise<LayerState> {
  const order = [...layers.keys()];
  const room = { ...scratch, memoryBytes: allBytes <= scratch.memoryBytes ? allBytes : 0 };
  const whole: readonly Kept[] = ["weight", "m", "gradient"];
  const slots = await openActivations(whole.length, order.length, bytes.weight / 4, room);
  const second = await openActivations(1, order.length, bytes.v / 4, room).catch(async (cause) => {
    await slots.close();
    throw cause;
  });
  const close = async () => {
    await slots.close();
    await second.close();
  };
  const placeOf = (kind: Kept) => (kind === "v" ? ([second, 0] as const) : ([slots, whole.indexOf(kind)] as const));
  const read: LayerState["read"] = (kind, layer) => {
    const [kept, place] = placeOf(kind);
    return kept.read(place, order.indexOf(layer));
  };
  const write: LayerState["write"] = (kind, layer, values) => {
    const [kept, place] = placeOf(kind);
    return kept.write(place, order.indexOf(layer), values);
  };

  const put = async (kind: Kept, layer: number, valuesOf: (name: string) => Promise<Float32Array>) => {
    const flat = zeros(kind);
    for (const [name, value] of Object.entries(over(kind, layer, flat).tensors)) value.float32().set(await valuesOf(name));
    await write(kind, layer, flat);
  };
  try {
    for (const [layer, trained] of layers) {
      const base = await load([...trained.keys()]);
      await put("weight", layer, async (name) => base.get(name) as Float32Array);
      for (const kind of ["m", "v", "gradient"] as const) await write(kind, layer, zeros(kind));
    }
  } catch (cause) {
    await close();
    throw cause;
  }

  const valuesIn = async (kind: Kept, layer: number) => over(kind, layer, await read(kind, layer)).tensors;
  const readable = (prefixes: Partial<Record<Kept, string>>): Tensors => {
    const places = new Map<string, { readonly kind: Kept; readonly layer: number; readonly name: string; readonly size: number }>();
    for (const [kind, prefix] of Object.entries(prefixes) as [Kept, string][])
      for (const layer of order)
        for (const [name, shape] of shapes(kind, layer)) places.set(prefix + name, { kind, layer, name, size: elementCount(shape) });
    return {
      sizes: new Map([...places].map(([name, { size }]) => [name, size])),
      async read(wanted, into) {
        const { kind, layer, name } = places.get(wanted) as { kind: Kept; layer: number; name: string };
        return placed(((await valuesIn(kind, layer))[name] as Value).float32(), into);
      },
    };
  };
  const tensors = readable({ weight: "", m: "m.", v: "v." });
  return {
    memoryBytes: allBytes <= scratch.memoryBytes ? allBytes : 0,
    read,
    write,
    weights: async (layer) => new Map(Object.entries(await valuesIn("weight", layer)).map(([name, value]) => [name, value.float32()])),
    tensors,
    trained: readable({ weight: "" }),
    async restore(saved, step) {
      checkState(step, saved.sizes, tensors.sizes);
      for (const layer of order) {
        await put("weight", layer, (name) => saved.read(name));
        await put("m", layer, (name) => saved.read(`m.${name}`));
        await put("v", layer, (name) => saved.read(`v.${name}`));
      }
    },
    close,
  };
}
