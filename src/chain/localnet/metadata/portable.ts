/** Turns shapes into the numbered types of a metadata's portable registry. */

import type { Field, Parameter, Shape, Variant } from "./scale.ts";

/** One entry of the registry, in the form polkadot.js encodes as PortableType. */
export interface PortableType {
  readonly id: number;
  readonly type: {
    readonly path: readonly string[];
    readonly params: readonly { readonly name: string; readonly type: number | null }[];
    readonly def: Readonly<Record<string, unknown>>;
    readonly docs: readonly string[];
  };
}

export interface PortableTypes {
  /** The number of a shape's type, which is added with all it needs when it is new. */
  idOf(shape: Shape): number;
  list(): readonly PortableType[];
}

const primitiveNames = {
  bool: "Bool",
  str: "Str",
  u8: "U8",
  u16: "U16",
  u32: "U32",
  u64: "U64",
  u128: "U128",
  i64: "I64",
  i128: "I128",
} as const;

/** @param runtimeShape gives the outer enums, which are asked for only when a shape mentions them */
export function createPortableTypes(runtimeShape: (name: "call" | "event") => Shape): PortableTypes {
  const types: PortableType[] = [];
  const numbers = new Map<string, number>();
  const seen = new Map<Shape, number>();

  const field = (item: Field) => ({ name: item.name ?? null, type: idOf(item.type), typeName: item.typeName ?? null, docs: [] });
  const variant = (item: Variant) => ({ name: item.name, fields: item.fields.map(field), index: item.index, docs: [] });
  const parameter = (item: Parameter) => ({ name: item.name, type: item.type === undefined ? null : idOf(item.type) });

  function definition(shape: Exclude<Shape, { kind: "runtime" }>): Readonly<Record<string, unknown>> {
    switch (shape.kind) {
      case "primitive":
        return { Primitive: primitiveNames[shape.name] };
      case "compact":
        return { Compact: { type: idOf(shape.of) } };
      case "sequence":
        return { Sequence: { type: idOf(shape.of) } };
      case "array":
        return { Array: { len: shape.length, type: idOf(shape.of) } };
      case "tuple":
        return { Tuple: shape.of.map(idOf) };
      case "composite":
        return { Composite: { fields: shape.fields.map(field) } };
      case "variant":
        return { Variant: { variants: shape.variants.map(variant) } };
    }
  }

  /** Equal shapes are one type. A named type is known by its path and parameters: that also ends the recursion of the outer call. */
  function key(shape: Exclude<Shape, { kind: "runtime" }>): string {
    switch (shape.kind) {
      case "primitive":
        return shape.name;
      case "compact":
      case "sequence":
        return `${shape.kind} ${idOf(shape.of)}`;
      case "array":
        return `array ${shape.length} ${idOf(shape.of)}`;
      case "tuple":
        return `tuple ${shape.of.map(idOf).join()}`;
      case "composite":
      case "variant":
        return shape.path === ""
          ? `${shape.kind} ${JSON.stringify(definition(shape))}`
          : `${shape.path} ${JSON.stringify((shape.parameters ?? []).map(parameter))}`;
    }
  }

  function idOf(asked: Shape): number {
    const shape = asked.kind === "runtime" ? runtimeShape(asked.name) : asked;
    if (shape.kind === "runtime") {
      throw new TypeError("an outer enum cannot be another outer enum");
    }
    const before = seen.get(shape);
    if (before !== undefined) {
      return before;
    }
    const name = key(shape);
    const known = numbers.get(name);
    if (known !== undefined) {
      seen.set(shape, known);
      return known;
    }
    const id = types.length;
    numbers.set(name, id);
    seen.set(shape, id);
    const path = "path" in shape && shape.path !== "" ? shape.path.split("::") : [];
    const params = "parameters" in shape ? (shape.parameters ?? []).map(parameter) : [];
    types.push({ id, type: { path, params, def: {}, docs: [] } });
    types[id] = { id, type: { path, params, def: definition(shape), docs: [] } };
    return id;
  }

  return { idOf, list: () => types };
}
