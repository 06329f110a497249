/**
 * What a layer-wise training keeps of the tensors that it trains: each layer's weights, moments and gradient as one flat array each, in memory as far as
 * there is room, and otherwise in one scratch file. All layers' arrays are as long as the longest needs, filled up with zeros, so that one
 * compiled update serves them all.
 */
import { ConnitoError } from "../../errors.ts";
import { placed, type Tensors } from "../../model/tensors.ts";
import { chunkElements, elementCount, flatLayout } from "../flat-tensors.ts";
import { float32Value, type Value } from "../runtime/value.ts";
import { openActivations, type Scratch } from "./activations.ts";

/** The shapes of a layer's trained tensors, by name. */
export type TrainedLayer = ReadonlyMap<string, readonly number[]>;
export type Kept = "weight" | "m" | "v" | "gradient";
const kinds: readonly Kept[] = ["weight", "m", "v", "gradient"];

export interface LayerLayout {
  /** Lengths of the chunks of a layer's array. */
  readonly chunks: readonly number[];
  /** Bytes of all that is kept. */
  readonly bytes: number;
  /** A new array of zeros for a layer, and its tensors' places in it. */
  flat(layer: number): { readonly values: Float32Array; readonly tensors: Readonly<Record<string, Value>> };
  /** An array as the optimizer walks over it. */
  chunkValues(values: Float32Array): Value[];
  /** The tensors of a layer's array, by name; not copied. */
  views(layer: number, values: Float32Array): Map<string, Float32Array>;
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

export function layOutLayers(layers: ReadonlyMap<number, TrainedLayer>): LayerLayout {
  const layouts = new Map([...layers].map(([layer, shapes]) => [layer, flatLayout(shapes, Number.MAX_SAFE_INTEGER)]));
  const elements = Math.max(...[...layouts.values()].map(({ arrays }) => arrays[0] ?? 0));
  const chunks = Array.from({ length: Math.ceil(elements / chunkElements) }, (_, index) =>
    Math.min(chunkElements, elements - index * chunkElements),
  );
  const views = (layer: number, values: Float32Array) => {
    const { shapes, places } = layouts.get(layer) as ReturnType<typeof flatLayout>;
    return new Map(
      [...shapes].map(([name, shape]) => {
        const offset = places.get(name)?.offset as number;
        return [name, values.subarray(offset, offset + elementCount(shape))] as const;
      }),
    );
  };
  const layout: Omit<LayerLayout, "open"> = {
    chunks,
    bytes: kinds.length * layers.size * elements * 4,
    flat(layer) {
      const values = new Float32Array(elements);
      const shapes = layers.get(layer) as TrainedLayer;
      const tensors = [...views(layer, values)].map(([name, view]) => [name, float32Value(shapes.get(name) as readonly number[], view)]);
      return { values, tensors: Object.fromEntries(tensors) };
    },
    chunkValues: (values) =>
      chunks.map((length, index) => {
        const start = index * chunkElements;
        return float32Value([length], values.subarray(start, start + length));
      }),
    views,
  };
  return { ...layout, open: (scratch, load) => openState(layers, layout, { elements, scratch, load }) };
}

async function openState(
  layers: ReadonlyMap<number, TrainedLayer>,
  { bytes, views }: Pick<LayerLayout, "bytes" | "views">,
  input: {
    readonly elements: number;
    readonly scratch: Scratch;
    readonly load: (names: readonly string[]) => Promise<ReadonlyMap<string, Float32Array>>;
  },
): Promise<LayerState> {
  const { elements, scratch, load } = input;
  const order = [...layers.keys()];
  const slots = await openActivations(kinds.length, order.length, elements, scratch);
  const read: LayerState["read"] = (kind, layer) => slots.read(kinds.indexOf(kind), order.indexOf(layer));
  const write: LayerState["write"] = (kind, layer, values) => slots.write(kinds.indexOf(kind), order.indexOf(layer), values);

  const put = async (kind: Kept, layer: number, valuesOf: (name: string) => Promise<Float32Array>) => {
    const flat = new Float32Array(elements);
    for (const [name, view] of views(layer, flat)) view.set(await valuesOf(name));
    await write(kind, layer, flat);
  };
  try {
    for (const [layer, shapes] of layers) {
      const base = await load([...shapes.keys()]);
      await put("weight", layer, async (name) => base.get(name) as Float32Array);
      for (const kind of ["m", "v", "gradient"] as const) await write(kind, layer, new Float32Array(elements));
    }
  } catch (cause) {
    await slots.close();
    throw cause;
  }

  const trained = readable(layers, [["weight", ""]], read, views);
  const tensors = readable(
    layers,
    [
      ["weight", ""],
      ["m", "m."],
      ["v", "v."],
    ],
    read,
    views,
  );
  return {
    memoryBytes: bytes <= scratch.memoryBytes ? bytes : 0,
    read,
    write,
    weights: async (layer) => views(layer, await read("weight", layer)),
    tensors,
    trained,
    async restore(saved, step) {
      const differs = [...tensors.sizes].find(([name, size]) => saved.sizes.get(name) !== size)?.[0];
      const extra = [...saved.sizes.keys()].find((name) => !tensors.sizes.has(name));
      if (differs !== undefined || extra !== undefined || !Number.isSafeInteger(step) || step < 0)
        throw stateMismatch(differs ?? extra ?? `step ${step}`);
      for (const layer of order) {
        await put("weight", layer, (name) => saved.read(name));
        await put("m", layer, (name) => saved.read(`m.${name}`));
        await put("v", layer, (name) => saved.read(`v.${name}`));
      }
    },
    close: () => slots.close(),
  };
}

/** Some kinds of what is kept as tensors by name, each kind's names with a prefix. */
function readable(
  layers: ReadonlyMap<number, TrainedLayer>,
  prefixes: readonly (readonly [Kept, string])[],
  read: LayerState["read"],
  views: LayerLayout["views"],
): Tensors {
  const places = new Map<string, { kind: Kept; layer: number; name: string }>();
  const sizes = new Map<string, number>();
  for (const [kind, prefix] of prefixes) {
    for (const [layer, shapes] of layers) {
      for (const [name, shape] of shapes) {
        places.set(prefix + name, { kind, layer, name });
        sizes.set(prefix + name, elementCount(shape));
      }
    }
  }
  return {
    sizes,
    async read(wanted, into) {
      const { kind, layer, name } = places.get(wanted) as { kind: Kept; layer: number; name: string };
      return placed(views(layer, await read(kind, layer)).get(name) as Float32Array, into);
    },
  };
}

export function stateMismatch(what: string): ConnitoError {
  return new ConnitoError(`the saved training state does not fit what is trained: ${what}`, {
    code: "trainer-state-mismatch",
    exit: "invalidInput",
    hint: "It belongs to another selection of experts or another model: remove it and train this cycle from its start.",
  });
}
