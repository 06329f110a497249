/** Structs that a runtime API answers with, as a table: each field's type beside how it is read. */

import type { StorageItem } from "../../metadata/declarations.ts";
import { compact, type Scale, struct, u16, u64 } from "../../metadata/scale.ts";
import type { Ledger } from "../ledger.ts";

export interface Column<T = unknown> {
  readonly type: Scale<T>;
  read(ledger: Ledger, subnet: number): T;
}

export function column<T>(type: Scale<T>, read: (ledger: Ledger, subnet: number) => NoInfer<T>): Column<T> {
  return { type, read };
}

type OfSubnet<T> = StorageItem<readonly [number], T>;

/** A storage item as it is. */
export const plainOf = <T>(type: Scale<T>, item: OfSubnet<T>): Column<T> => column(type, (ledger, subnet) => ledger.get(item, subnet));

/** A storage item as Compact<u16>, as Compact<u64>. */
export const compact16 = (item: OfSubnet<number>): Column<number> => plainOf(compact(u16), item);
export const compact64 = (item: OfSubnet<bigint>): Column<bigint> => plainOf(compact(u64), item);

/** What stays zero here, since nothing is emitted; as Compact<u64>. */
export const zero64: Column<bigint> = column(compact(u64), () => 0n);

export interface Answer {
  readonly type: Scale<unknown>;
  read(ledger: Ledger, subnet: number): unknown;
}

export function answerOf(path: string, columns: Readonly<Record<string, Column<never>>> | Readonly<Record<string, Column>>): Answer {
  const entries = Object.entries(columns as Readonly<Record<string, Column>>);
  return {
    type: struct(path, Object.fromEntries(entries.map(([name, { type }]) => [name, type]))),
    read: (ledger, subnet) => Object.fromEntries(entries.map(([name, { read }]) => [name, read(ledger, subnet)])),
  };
}
