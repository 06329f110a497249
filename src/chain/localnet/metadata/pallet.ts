/**
 * How a pallet is described: storage, calls, events, errors and constants beside each other, from which both the metadata
 * and the runtime's typed access are made. Indices are Subtensor's own; a pallet declares the subset that it implements.
 */

import type { Ledger } from "../runtime/ledger.ts";
import { type Fields, type FieldValues, fieldsOf, type Hex, type Scale, type Shape, type Value, type Variant } from "./scale.ts";

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

/** Who sends a call: an account, or the root origin (sudo, genesis), or nobody (inherents). */
export type Origin = { readonly kind: "signed"; readonly account: Hex } | { readonly kind: "root" } | { readonly kind: "none" };

export interface CallDefinition {
  readonly index: number;
  readonly fields: Fields;
  /** Throws a DispatchError to refuse; what it wrote is then undone. */
  dispatch(ledger: Ledger, origin: Origin, args: never): void;
  /** A refusal before the pool: the number of Subtensor's custom transaction error. Nothing may be written. */
  validate?(ledger: Ledger, origin: Origin, args: never): number | undefined;
  readonly paysFee: boolean;
  readonly operational: boolean;
}

export interface CallOptions<F extends Fields> {
  readonly validate?: (ledger: Ledger, origin: Origin, args: FieldValues<F>) => number | undefined;
  /** Whether the sender pays; most of Subtensor's calls for neurons are free. */
  readonly paysFee?: boolean;
  readonly operational?: boolean;
}

export function call<F extends Fields>(
  index: number,
  fields: F,
  dispatch: (ledger: Ledger, origin: Origin, args: FieldValues<F>) => void,
  options: CallOptions<F> = {},
): CallDefinition {
  return {
    index,
    fields,
    dispatch: dispatch as never,
    ...(options.validate === undefined ? {} : { validate: options.validate as never }),
    paysFee: options.paysFee ?? false,
    operational: options.operational ?? false,
  };
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

export interface ConstantDefinition {
  readonly type: Scale<unknown>;
  readonly value: unknown;
}

export interface PalletDefinition {
  readonly name: string;
  readonly index: number;
  readonly storage?: Readonly<Record<string, StorageItem<never, unknown> | StorageItem>>;
  readonly calls?: Readonly<Record<string, CallDefinition>>;
  readonly events?: Readonly<Record<string, EventDefinition<never> | EventDefinition>>;
  readonly errors?: Readonly<Record<string, ErrorDefinition>>;
  readonly constants?: Readonly<Record<string, ConstantDefinition>>;
}

/** A runtime API method: its answer is computed on the state that the ledger reads. */
export interface RuntimeApiMethod {
  readonly fields: Fields;
  readonly output: Scale<unknown>;
  answer(ledger: Ledger, args: never): unknown;
}

export function method<F extends Fields, V>(
  fields: F,
  output: Scale<V>,
  answer: (ledger: Ledger, args: FieldValues<F>) => NoInfer<V>,
): RuntimeApiMethod {
  return { fields, output, answer: answer as never };
}

export interface RuntimeApi {
  readonly version: number;
  readonly methods: Readonly<Record<string, RuntimeApiMethod>>;
}

export type RuntimeApis = Readonly<Record<string, RuntimeApi>>;

/** The variants of one pallet's calls, events or errors, as the metadata lists them. */
export function callVariants(pallet: PalletDefinition): Variant[] {
  return Object.entries(pallet.calls ?? {}).map(([name, definition]) => ({
    name,
    index: definition.index,
    fields: fieldsOf(definition.fields),
  }));
}

export function eventVariants(pallet: PalletDefinition): Variant[] {
  return Object.values(pallet.events ?? {}).map((definition) => definition.variant);
}

export function errorVariants(pallet: PalletDefinition): Variant[] {
  return Object.values(pallet.errors ?? {}).map(({ name, index }) => ({ name, index, fields: [] }));
}

export const enumShape = (path: string, list: readonly Variant[]): Shape => ({ kind: "variant", path, variants: list });
