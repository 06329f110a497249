/**
 * A metadata that others made, for the runtime described here: mainnet's own, or one with other indices. Everything that the runtime has
 * must be in it, with types that hold the same values; where it puts things, in which order and under which numbers, is its own affair.
 */

import { Metadata, TypeRegistry } from "@polkadot/types";
import type { SiLookupTypeId, StorageEntryMetadataLatest } from "@polkadot/types/interfaces";
import type { PortableRegistry } from "@polkadot/types/metadata";
import { u8aToHex } from "@polkadot/util";
import { ConnitoError } from "../../../errors.ts";
import { createCodec } from "../runtime/codec.ts";
import { callDecoder } from "../runtime/plain.ts";
import type { BuiltMetadata, RuntimeDescription } from "./build.ts";
import type { StorageItem } from "./declarations.ts";
import { signedExtensions } from "./extensions.ts";
import { readIndices } from "./indices.ts";
import { callVariants, errorVariants, eventVariants, type PalletDefinition } from "./pallet.ts";
import { type Field, type Shape, snakeCase, type Variant } from "./scale.ts";

type Latest = Metadata["asLatest"];

const isNewtype = (fields: readonly Field[]): boolean => fields.length === 1 && fields[0]?.name === undefined;

/** Whether values of a shape can be held by a type: the same fields, widths and variants, under any variant's index. */
function createComparison(lookup: PortableRegistry): (shape: Shape, id: SiLookupTypeId) => boolean {
  const nameOf = (name: { isSome: boolean; unwrap(): { toString(): string } }) => (name.isSome ? name.unwrap().toString() : undefined);

  /** Newtypes are what they hold, on both sides. */
  function bare(id: SiLookupTypeId): SiLookupTypeId {
    const { def } = lookup.getSiType(id);
    const [first, ...others] = def.isComposite ? def.asComposite.fields : [];
    return first !== undefined && others.length === 0 && first.name.isNone ? bare(first.type) : id;
  }

  type TheirField = { readonly name: Parameters<typeof nameOf>[0]; readonly type: SiLookupTypeId };
  const sameFields = (ours: readonly Field[], theirs: readonly TheirField[]): boolean =>
    ours.length === theirs.length &&
    ours.every(
      ({ name, type }, index) => name === nameOf((theirs[index] as TheirField).name) && fits(type, (theirs[index] as TheirField).type),
    );

  function fits(given: Shape, id: SiLookupTypeId): boolean {
    if (given.kind === "runtime") {
      return true;
    }
    if (given.kind === "composite" && isNewtype(given.fields)) {
      return fits((given.fields[0] as Field).type, id);
    }
    const { def } = lookup.getSiType(bare(id));
    switch (given.kind) {
      case "primitive":
        return def.isPrimitive && def.asPrimitive.type.toLowerCase() === given.name;
      case "compact":
        return def.isCompact && fits(given.of, def.asCompact.type);
      case "sequence":
        return def.isSequence && fits(given.of, def.asSequence.type);
      case "array":
        return def.isArray && def.asArray.len.toNumber() === given.length && fits(given.of, def.asArray.type);
      case "tuple":
        return def.isTuple && def.asTuple.length === given.of.length && given.of.every((of, at) => fits(of, def.asTuple[at] as never));
      case "composite":
        return def.isComposite && sameFields(given.fields, def.asComposite.fields as unknown as TheirField[]);
      case "variant": {
        const theirs = new Map(def.isVariant ? def.asVariant.variants.map((variant) => [variant.name.toString(), variant]) : []);
        return given.variants.every(({ name, fields }) => {
          const found = theirs.get(name);
          return found !== undefined && sameFields(fields, found.fields as unknown as TheirField[]);
        });
      }
    }
  }
  return fits;
}

/** What the runtime has and the metadata has not, or with other types: names for people. */
function shortcomings({ pallets, apis }: RuntimeDescription, metadata: Metadata): string[] {
  const latest = metadata.asLatest;
  const { lookup } = latest;
  const fits = createComparison(lookup);
  const missing: string[] = [];
  const require = (holds: boolean | undefined, name: string): void => {
    if (holds !== true) {
      missing.push(name);
    }
  };

  function requireItem(pallet: string, item: StorageItem, found: StorageEntryMetadataLatest | undefined): void {
    const type = found?.type;
    const [first, ...others] = item.keys.map(([, scale]) => scale.shape);
    const keys: Shape | undefined = first === undefined || others.length === 0 ? first : { kind: "tuple", of: [first, ...others] };
    const hashers = item.keys.map(([hasher]) => hasher).join();
    require(keys === undefined
      ? type?.isPlain && fits(item.value.shape, type.asPlain)
      : type?.isMap &&
          type.asMap.hashers.map((hasher) => hasher.type).join() === hashers &&
          fits(keys, type.asMap.key) &&
          fits(item.value.shape, type.asMap.value), `storage ${pallet}.${item.name}`);
  }

  function requireVariants(pallet: Latest["pallets"][number], kind: "calls" | "events" | "errors", ours: readonly Variant[]): void {
    if (ours.length > 0) {
      const option = pallet[kind];
      const theirs = option.isSome ? lookup.getSiType(option.unwrap().type).def.asVariant.variants : [];
      for (const variant of ours) {
        const found = theirs.find(({ name }) => name.eq(variant.name));
        const types = found?.fields.map(({ type }) => type) ?? [];
        const same = types.length === variant.fields.length && variant.fields.every(({ type }, at) => fits(type, types[at] as never));
        require(found !== undefined && same, `${kind} ${pallet.name.toString()}.${variant.name}`);
      }
    }
  }

  function requirePallet(ours: PalletDefinition): void {
    const theirs = latest.pallets.find(({ name }) => name.eq(ours.name));
    if (theirs === undefined) {
      missing.push(`pallet ${ours.name}`);
      return;
    }
    const items = theirs.storage.isSome ? theirs.storage.unwrap().items : [];
    for (const item of Object.values(ours.storage ?? {}) as StorageItem[]) {
      requireItem(
        ours.name,
        item,
        items.find(({ name }) => name.eq(item.name)),
      );
    }
    requireVariants(theirs, "calls", callVariants(ours));
    requireVariants(theirs, "events", eventVariants(ours));
    requireVariants(theirs, "errors", errorVariants(ours));
  }

  for (const pallet of pallets) {
    requirePallet(pallet);
  }
  for (const [name, { methods }] of Object.entries(apis)) {
    const api = latest.apis.find((candidate) => candidate.name.eq(name));
    for (const [method, { fields, output }] of Object.entries(methods)) {
      const found = api?.methods.find((candidate) => candidate.name.eq(method));
      const inputs = Object.entries(fields);
      const same =
        inputs.length === found?.inputs.length && inputs.every(([, { shape }], at) => fits(shape, found.inputs[at]?.type as never));
      require(same && fits(output.shape, found.output), `runtime API ${name}.${snakeCase(method)}`);
    }
  }
  const extensions = latest.extrinsic.transactionExtensions.map(({ identifier }) => identifier.toString()).join();
  require(extensions === signedExtensions.map(({ identifier }) => identifier).join(), "the transaction extensions");
  return missing;
}

/** The numbers under which a metadata has the variants of its enums. */
function variantIndices(lookup: PortableRegistry): (path: string, name: string) => number | undefined {
  const known = new Map<string, number>();
  for (const { type } of lookup.types) {
    const path = type.path.map(String).join("::");
    for (const { name, index } of type.def.isVariant ? type.def.asVariant.variants : []) {
      const key = `${path} ${name.toString()}`;
      known.set(key, known.get(key) ?? index.toNumber());
    }
  }
  return (path, name) => known.get(`${path} ${name}`);
}

function unsuitable(missing: readonly string[], cause?: unknown): ConnitoError {
  const some = missing.slice(0, 5).join(", ");
  const more = missing.length > 5 ? ` and ${missing.length - 5} more` : "";
  return new ConnitoError(`The localnet cannot serve this metadata: it lacks ${some}${more}, or has it with other types`, {
    code: "metadata-unsuitable",
    exit: "invalidInput",
    hint: "Give the metadata of a Subtensor runtime near spec version 393, as state_getMetadata or metadata_at_version answers it.",
    cause,
  });
}

/** @throws ConnitoError metadata-unsuitable */
export function adoptMetadata(bytes: Uint8Array, description: RuntimeDescription): BuiltMetadata {
  const registry = new TypeRegistry();
  let metadata: Metadata;
  try {
    metadata = new Metadata(registry, bytes);
    registry.setMetadata(metadata, undefined, undefined, true);
  } catch (cause) {
    throw unsuitable(["the form of a metadata"], cause);
  }
  const missing = shortcomings(description, metadata);
  if (missing.length > 0) {
    throw unsuitable(missing);
  }
  const encoded = u8aToHex(bytes);
  return {
    versions: [metadata.version],
    encoded: (version) => (version === metadata.version ? encoded : undefined),
    legacy: encoded,
    registry,
    codec: createCodec({
      variantIndex: variantIndices(registry.lookup as unknown as PortableRegistry),
      decodeCall: callDecoder(registry),
    }),
    indices: readIndices(metadata),
  };
}
