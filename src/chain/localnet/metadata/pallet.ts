/** A pallet as a whole: its declarations, its calls with what they do, its constants; and the runtime APIs. */

import type { Ledger } from "../runtime/ledger.ts";
import type { ErrorDefinition, EventDefinition, StorageItem } from "./declarations.ts";
import { type Fields, type FieldValues, fieldsOf, type Hex, type Scale, type Shape, type Variant } from "./scale.ts";

/** Who sends a call: an account, or the root origin (sudo, genesis), or nobody (inherents). */
export type Origin = { readonly kind: "signed"; readonly account: Hex } | { readonly kind: "root" } | { readonly kind: "none" };

export interface CallDefinition {
  readonly index: number;
  readonly fields: Fields;
  /** Throws a DispatchError to refuse; what it wrote is then undone. */
  dispatch(ledger: Ledger, origin: Origin, args: never): void;
  /** A refusal before the pool: the number of Subtensor's custom transaction error. Nothing may be written. */
  validate?(ledger: Ledger, origin: Origin, args: never): number | undefined;
  /** Whether the chain's bounded types could not even hold the arguments: its runtime then traps instead of answering. */
  traps?(args: never): boolean;
  readonly paysFee: boolean;
  readonly operational: boolean;
}

export interface CallOptions<F extends Fields> {
  readonly validate?: (ledger: Ledger, origin: Origin, args: FieldValues<F>) => number | undefined;
  readonly traps?: (args: FieldValues<F>) => boolean;
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
    ...(options.traps === undefined ? {} : { traps: options.traps as never }),
    paysFee: options.paysFee ?? false,
    operational: options.operational ?? false,
  };
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
