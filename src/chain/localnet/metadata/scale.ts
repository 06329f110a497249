/**
 * A small language for SCALE types. A `Scale<T>` says how a value looks on the wire (its shape, from which the metadata's
 * portable types are made) and which TypeScript type a pallet sees. Integers up to 32 bits are numbers, larger ones bigint;
 * fixed and variable bytes, hashes and accounts are 0x-hex; an absent option is undefined; an enum is {type, value}.
 * Field names are written in camelCase here and stand in snake_case in the metadata, as in Rust.
 */

export interface Field {
  readonly name?: string;
  readonly type: Shape;
  readonly typeName?: string;
}

export interface Variant {
  readonly name: string;
  readonly index: number;
  readonly fields: readonly Field[];
}

export interface Parameter {
  readonly name: string;
  readonly type?: Shape;
}

export type Primitive = "bool" | "str" | "u8" | "u16" | "u32" | "u64" | "u128" | "i64" | "i128";

export type Shape =
  | { readonly kind: "primitive"; readonly name: Primitive }
  | { readonly kind: "compact" | "sequence"; readonly of: Shape }
  | { readonly kind: "array"; readonly of: Shape; readonly length: number }
  | { readonly kind: "tuple"; readonly of: readonly Shape[] }
  | { readonly kind: "composite"; readonly path: string; readonly fields: readonly Field[]; readonly parameters?: readonly Parameter[] }
  | { readonly kind: "variant"; readonly path: string; readonly variants: readonly Variant[]; readonly parameters?: readonly Parameter[] }
  /** The outer enums, known only once every pallet is. */
  | { readonly kind: "runtime"; readonly name: "call" | "event" };

export interface Scale<T> {
  readonly shape: Shape;
  /** Never set: it carries the TypeScript type. */
  readonly value?: T;
}

/** Plain value of a Scale. */
export type Value<S> = S extends Scale<infer T> ? T : never;

export type Hex = `0x${string}`;

export interface Tagged<Name extends string = string, T = unknown> {
  readonly type: Name;
  readonly value?: T;
}

/** A call inside a call (Sudo), decoded as far as its pallet and call index. */
export interface NestedCall {
  readonly pallet: number;
  readonly call: number;
  readonly args: readonly unknown[];
}

const primitive = <T>(name: Primitive): Scale<T> => ({ shape: { kind: "primitive", name } });

export const bool = primitive<boolean>("bool");
export const text = primitive<string>("str");
export const u8 = primitive<number>("u8");
export const u16 = primitive<number>("u16");
export const u32 = primitive<number>("u32");
export const u64 = primitive<bigint>("u64");
export const u128 = primitive<bigint>("u128");
export const i64 = primitive<bigint>("i64");
export const i128 = primitive<bigint>("i128");

export const compact = <T>(of: Scale<T>): Scale<T> => ({ shape: { kind: "compact", of: of.shape } });
export const vec = <T>(of: Scale<T>): Scale<readonly T[]> => ({ shape: { kind: "sequence", of: of.shape } });
export const bytes: Scale<Hex> = { shape: { kind: "sequence", of: u8.shape } };
export const byteArray = (length: number): Scale<Hex> => ({ shape: { kind: "array", of: u8.shape, length } });

export const tuple = <T extends readonly Scale<unknown>[]>(...of: T): Scale<{ readonly [K in keyof T]: Value<T[K]> }> => ({
  shape: { kind: "tuple", of: of.map((item) => item.shape) },
});

export const unit: Scale<undefined> = { shape: { kind: "tuple", of: [] } };

export type Fields = Readonly<Record<string, Scale<unknown>>>;
export type FieldValues<F extends Fields> = { readonly [K in keyof F]: Value<F[K]> };

/** `versionKey` to `version_key`. */
export function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

export function fieldsOf(fields: Fields): Field[] {
  return Object.entries(fields).map(([name, type]) => ({ name: snakeCase(name), type: type.shape }));
}

/** A struct. The path is the Rust path without spaces, "" for none. */
export function struct<F extends Fields>(path: string, fields: F): Scale<FieldValues<F>> {
  return { shape: { kind: "composite", path, fields: fieldsOf(fields) } };
}

/** A struct with one unnamed field, seen as that field. One path may be had with several parameters. */
export function newtype<T>(path: string, inner: Scale<T>, parameters: readonly Parameter[] = []): Scale<T> {
  return { shape: { kind: "composite", path, fields: [{ type: inner.shape }], parameters } };
}

/** A list that the chain bounds; the bound is not in the metadata. Some clients write it differently from a plain list. */
export const boundedVec = <T>(of: Scale<T>): Scale<readonly T[]> => bounded(vec(of), of);
export const boundedBytes = (): Scale<Hex> => bounded(bytes, u8);
const bounded = <T>(inner: Scale<T>, of: Scale<unknown>): Scale<T> =>
  newtype("bounded_collections::bounded_vec::BoundedVec", inner, [{ name: "T", type: of.shape }, { name: "S" }]);

/** Rust's copy-on-write wrapper. */
export const cow = <T>(inner: Scale<T>): Scale<T> => newtype("Cow", inner, [{ name: "T", type: inner.shape }]);

/** An enum of which each variant holds nothing, one unnamed value, or a struct's fields. Indices are given or counted up. */
export function variants(
  path: string,
  cases: Readonly<Record<string, Scale<unknown> | Fields | undefined>>,
  indices?: Readonly<Record<string, number>>,
): Scale<Tagged> {
  const list = Object.entries(cases).map(([name, content], position): Variant => {
    const index = indices?.[name] ?? position;
    if (content === undefined) {
      return { name, index, fields: [] };
    }
    return { name, index, fields: "shape" in content ? [{ type: (content as Scale<unknown>).shape }] : fieldsOf(content as Fields) };
  });
  return { shape: { kind: "variant", path, variants: list } };
}

export function option<T>(of: Scale<T>): Scale<T | undefined> {
  return {
    shape: {
      kind: "variant",
      path: "Option",
      variants: [
        { name: "None", index: 0, fields: [] },
        { name: "Some", index: 1, fields: [{ type: of.shape }] },
      ],
      parameters: [{ name: "T", type: of.shape }],
    },
  };
}

export function result<T, E>(ok: Scale<T>, err: Scale<E>): Scale<Tagged<"Ok", T> | Tagged<"Err", E>> {
  return {
    shape: {
      kind: "variant",
      path: "Result",
      variants: [
        { name: "Ok", index: 0, fields: [{ type: ok.shape }] },
        { name: "Err", index: 1, fields: [{ type: err.shape }] },
      ],
      parameters: [
        { name: "T", type: ok.shape },
        { name: "E", type: err.shape },
      ],
    },
  };
}

export const runtimeCall: Scale<NestedCall> = { shape: { kind: "runtime", name: "call" } };
export const runtimeEvent: Scale<unknown> = { shape: { kind: "runtime", name: "event" } };
