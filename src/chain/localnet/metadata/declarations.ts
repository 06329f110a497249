/**
 * What a pallet declares of its storage, events and errors: the metadata lists it, and the ledger reads and writes by it. Names,
 * hashers and indices are Subtensor's own; a pallet declares the subset that it implements.
 */

import { type Fields, type FieldValues, fieldsOf, type Scale, type Value, type Variant } from "./scale.ts";

export type Hasher = "Identity" | "Twox64Concat" | "Blake2_128Concat";

export type HashedKey<T = unknown> = readonly [Hasher, Scale<T>];

/** A storage item. `Keys` are the plain keys it takes, `V` what reading it gives (with undefined for an optional one). */
export interface StorageItem<Keys extends readonly unknown[] = readonly unknown[], V = unknown> {
  readonly keys: readonly HashedKey[];
  readonly value: Scale<Exclude<V, undefined>>;
  /** What an absent item reads as; undefined makes the item optional. */
  readonly fallback: V;
  /** Pallet and item, set by `storage`. */
  readonly pallet: string;
  readonly name: string;
  readonly types?: Keys;
}

type KeysOf<K extends readonly HashedKey[]> = { readonly [I in keyof K]: K[I] extends HashedKey<infer T> ? T : never };

export function single<V>(value: Scale<V>, fallback: V): StorageItem<readonly [], V> {
  return { keys: [], value: value as never, fallback, pallet: "", name: "" };
}

export function optionalSingle<V>(value: Scale<V>): StorageItem<readonly [], V | undefined> {
  return { keys: [], value: value as never, fallback: undefined, pallet: "", name: "" };
}

export function map<const K extends readonly HashedKey[], V>(keys: K, value: Scale<V>, fallback: NoInfer<V>): StorageItem<KeysOf<K>, V> {
  return { keys, value: value as never, fallback, pallet: "", name: "" };
}

export function optionalMap<const K extends readonly HashedKey[], V>(keys: K, value: Scale<V>): StorageItem<KeysOf<K>, V | undefined> {
  return { keys, value: value as never, fallback: undefined, pallet: "", name: "" };
}

/** Names the items by their keys in the record. */
export function storage<S extends Readonly<Record<string, StorageItem<never, unknown> | StorageItem>>>(pallet: string, items: S): S {
  return Object.fromEntries(Object.entries(items).map(([name, item]) => [name, { ...item, pallet, name }])) as S;
}

export interface EventDefinition<V = unknown> {
  readonly pallet: string;
  readonly name: string;
  readonly index: number;
  readonly variant: Variant;
  readonly types: readonly Scale<unknown>[];
  /** Undefined for unnamed fields, which are deposited as a tuple. */
  readonly fieldNames: readonly string[] | undefined;
  readonly content?: V;
}

/** An event with named fields. */
export function event<F extends Fields>(index: number, fields: F): EventDefinition<FieldValues<F>> {
  const variant: Variant = { name: "", index, fields: fieldsOf(fields) };
  return { pallet: "", name: "", index, variant, types: Object.values(fields), fieldNames: Object.keys(fields) };
}

/** An event with unnamed fields, deposited as a tuple. */
export function tupleEvent<T extends readonly Scale<unknown>[]>(
  index: number,
  ...types: T
): EventDefinition<{ readonly [K in keyof T]: Value<T[K]> }> {
  const variant: Variant = { name: "", index, fields: types.map((type) => ({ type: type.shape })) };
  return { pallet: "", name: "", index, variant, types, fieldNames: undefined };
}

export function events<E extends Readonly<Record<string, EventDefinition<never> | EventDefinition>>>(pallet: string, definitions: E): E {
  return Object.fromEntries(
    Object.entries(definitions).map(([name, definition]) => [
      name,
      { ...definition, pallet, name, variant: { ...definition.variant, name } },
    ]),
  ) as E;
}

export interface ErrorDefinition {
  readonly pallet: string;
  readonly name: string;
  readonly index: number;
}

/** Module errors by name, with Subtensor's indices. */
export function errors<const E extends Readonly<Record<string, number>>>(
  pallet: string,
  indices: E,
): { readonly [K in keyof E]: ErrorDefinition } {
  return Object.fromEntries(Object.entries(indices).map(([name, index]) => [name, { pallet, name, index }])) as never;
}
