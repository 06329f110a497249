/** Mainnet's metadata, where it is at hand, and types written out so that two metadata can be compared. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { Metadata, TypeRegistry } from "@polkadot/types";
import type { PortableRegistry } from "@polkadot/types/metadata";

const folder = process.env["CONNITO_REFERENCE"] ?? join(import.meta.dirname, "../../../../shared");

/** The file stands in the reference folder itself, or where CONNITO_REFERENCE names the folder above it. */
export const referencePath = [folder, join(folder, "reference")]
  .map((place) => join(place, "subtensor-metadata-393.scale.gz"))
  .find((path) => existsSync(path));

export interface ReadMetadata {
  readonly registry: TypeRegistry;
  readonly metadata: Metadata;
}

export function readMetadata(bytes: Uint8Array | string): ReadMetadata {
  const registry = new TypeRegistry();
  const metadata = new Metadata(registry, typeof bytes === "string" ? (bytes as `0x${string}`) : new Uint8Array(bytes));
  registry.setMetadata(metadata, undefined, undefined, true);
  return { registry, metadata };
}

export const readReference = (path: string): ReadMetadata => readMetadata(gunzipSync(readFileSync(path)));

const recursion = 20;

/** A type as text that says everything about its bytes, and all that clients go by: paths, names, indices, order, widths. */
export function describeType(lookup: PortableRegistry, id: unknown, depth = 0): string {
  if (depth > recursion) {
    return "...";
  }
  const describe = (inner: unknown): string => describeType(lookup, inner, depth + 1);
  const { def, path } = lookup.getSiType(id as never);
  const leaf = path.at(-1)?.toString() ?? "";
  if (leaf === "RuntimeCall" || leaf === "RuntimeEvent") {
    return leaf;
  }
  const name = path.map(String).join("::");
  if (def.isPrimitive) {
    return def.asPrimitive.type;
  }
  if (def.isCompact) {
    return `Compact<${describe(def.asCompact.type)}>`;
  }
  if (def.isSequence) {
    return `Vec<${describe(def.asSequence.type)}>`;
  }
  if (def.isArray) {
    return `[${describe(def.asArray.type)};${def.asArray.len.toNumber()}]`;
  }
  if (def.isTuple) {
    return `(${def.asTuple.map(describe).join()})`;
  }
  const fieldText = (field: { name: { isSome: boolean; unwrap(): unknown }; type: unknown }): string =>
    `${field.name.isSome ? `${String(field.name.unwrap())}:` : ""}${describe(field.type)}`;
  if (def.isComposite) {
    return `${name}{${def.asComposite.fields.map(fieldText).join()}}`;
  }
  if (def.isVariant) {
    const variants = [...def.asVariant.variants].sort((a, b) => a.index.toNumber() - b.index.toNumber());
    return `${name} enum{${variants.map((variant) => `${variant.index.toNumber()}=${variant.name.toString()}(${variant.fields.map(fieldText).join()})`).join()}}`;
  }
  throw new Error(`a type of another kind: ${def.type}`);
}
