/** Metadata made from another one: cut down to some pallets, or with other indices under the same names. */

import { TypeRegistry } from "@polkadot/types";
import { u8aConcat } from "@polkadot/util";
import { createSampler } from "./sampler.ts";

interface Variant {
  readonly name: string;
  fields: { type: number; docs: unknown[] }[];
  index: number;
  docs: unknown[];
}

interface TypeEntry {
  id: number;
  readonly type: {
    readonly path: string[];
    params: { name: string; type: number | null }[];
    def: {
      composite?: { fields: Variant["fields"] };
      variant?: { variants: Variant[] };
      sequence?: { type: number };
      array?: { type: number };
      compact?: { type: number };
      tuple?: number[];
    };
    docs: unknown[];
  };
}

interface Pallet {
  readonly name: string;
  index: number;
  calls: { type: number } | null;
  events: { type: number } | null;
  errors: { type: number } | null;
}

interface Plain {
  lookup: { types: TypeEntry[] };
  pallets: Pallet[];
  apis: { name: string }[];
  readonly outerEnums: Readonly<Record<string, number>>;
}

const magicBytes = 4;

/** Reads a metadata of version 15 or 16 as plain values, lets them be changed, and encodes them again. */
function changed(bytes: Uint8Array, change: (plain: Plain) => void): Uint8Array {
  const registry = new TypeRegistry();
  const all = registry.createType("MetadataAll", bytes.subarray(magicBytes)) as unknown as { type: string; inner: { toJSON(): unknown } };
  const plain = all.inner.toJSON() as Plain;
  change(plain);
  return u8aConcat(bytes.subarray(0, magicBytes), registry.createType("MetadataAll", { [all.type]: plain }).toU8a());
}

const variantsIn = (plain: Plain, id: number | undefined): Variant[] => plain.lookup.types[id ?? -1]?.type.def.variant?.variants ?? [];

/** The same names under other indices: of pallets, and of calls, events and errors within each. */
export function shuffleIndices(bytes: Uint8Array, seed: number): Uint8Array {
  const { shuffled } = createSampler(seed);
  return changed(bytes, (plain) => {
    const permute = (list: { index: number }[]): void => {
      const indices = shuffled(list.map(({ index }) => index));
      for (const [at, item] of list.entries()) item.index = indices[at] as number;
    };
    permute(plain.pallets);
    const indexOf = new Map(plain.pallets.map(({ name, index }) => [name, index]));
    // The enums over all pallets go by the pallets' indices.
    for (const id of Object.values(plain.outerEnums)) {
      for (const variant of variantsIn(plain, id)) variant.index = indexOf.get(variant.name) as number;
    }
    for (const { calls, events, errors } of plain.pallets) {
      for (const option of [calls, events, errors]) permute(variantsIn(plain, option?.type));
    }
  });
}

/** Every number of a type within a value, seen and replaced. */
function eachTypeId(value: unknown, replace: (id: number) => number): void {
  if (Array.isArray(value)) {
    for (const item of value) eachTypeId(item, replace);
    return;
  }
  if (typeof value !== "object" || value === null) return;
  const fields = value as Record<string, unknown>;
  for (const [key, inner] of Object.entries(fields)) {
    const isId =
      typeof inner === "number" && /^(type|ty|key|value|output|plain|implicit|additionalSigned|\w+(Type|EnumTy|EnumType))$/.test(key);
    if (isId) fields[key] = replace(inner);
    else if (key === "tuple" && Array.isArray(inner)) fields[key] = inner.map((id) => replace(id as number));
    else eachTypeId(inner, replace);
  }
}

/** Only these pallets and runtime APIs, the types that they need, and no documentation. */
export function trim(bytes: Uint8Array, pallets: readonly string[], apis: readonly string[]): Uint8Array {
  return changed(bytes, (plain) => {
    plain.pallets = plain.pallets.filter(({ name }) => pallets.includes(name));
    plain.apis = plain.apis.filter(({ name }) => apis.includes(name));
    for (const id of Object.values(plain.outerEnums)) {
      const outer = plain.lookup.types[id]?.type.def.variant;
      if (outer !== undefined) outer.variants = outer.variants.filter(({ name }) => pallets.includes(name));
    }
    const withoutDocs = JSON.parse(
      JSON.stringify(plain, (key, value) => (["docs", "associatedTypes", "viewFunctions"].includes(key) ? [] : value)),
    ) as Plain;
    Object.assign(plain, withoutDocs);
    const types = plain.lookup.types;
    const numbers = new Map<number, number>();
    const kept: TypeEntry[] = [];
    const keep = (id: number): number => {
      const known = numbers.get(id);
      if (known !== undefined) return known;
      const number = kept.length;
      numbers.set(id, number);
      const entry = types[id] as TypeEntry;
      kept.push(entry);
      eachTypeId([entry.type.params, entry.type.def], keep);
      entry.id = number;
      return number;
    };
    const { lookup: _, outerEnums, ...rest } = plain;
    eachTypeId(rest, keep);
    for (const [name, id] of Object.entries(outerEnums)) (outerEnums as Record<string, number>)[name] = keep(id);
    plain.lookup = { types: kept };
  });
}
