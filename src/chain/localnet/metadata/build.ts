/**
 * The metadata of a runtime: SCALE bytes in versions 14 and 15 from the descriptions of its pallets and runtime APIs, and a
 * polkadot.js registry that has read exactly those bytes, so that the node decodes what a client encodes by the same text.
 */

import { Metadata, type PortableRegistry, TypeRegistry } from "@polkadot/types";
import { u8aToHex } from "@polkadot/util";
import { type Codec, createCodec } from "../runtime/codec.ts";
import { callDecoder } from "../runtime/plain.ts";
import type { StorageItem } from "./declarations.ts";
import { signedExtensions, uncheckedExtrinsic } from "./extensions.ts";
import { type Indices, readIndices } from "./indices.ts";
import { callVariants, enumShape, errorVariants, eventVariants, type PalletDefinition, type RuntimeApis } from "./pallet.ts";
import { createPortableTypes, type PortableTypes } from "./portable.ts";
import { type Hex, type Shape, snakeCase, tuple, type Variant } from "./scale.ts";
import { eventRecord, multiAddress, multiSignature } from "./types.ts";

export interface RuntimeDescription {
  readonly pallets: readonly PalletDefinition[];
  readonly apis: RuntimeApis;
}

export interface BuiltMetadata {
  /** Versions that can be had. */
  readonly versions: readonly number[];
  encoded(version: number): Hex | undefined;
  /** What is given to those who do not name a version. */
  readonly legacy: Hex;
  readonly registry: TypeRegistry;
  readonly codec: Codec;
  readonly indices: Indices;
}

/** Crates that are not named after their pallet. */
const crates: Readonly<Record<string, string>> = { System: "frame_system", SubtensorModule: "pallet_subtensor" };

const palletPath = ({ name }: PalletDefinition, leaf: string): string =>
  `${crates[name] ?? `pallet_${snakeCase(name).replace(/^_/, "")}`}::pallet::${leaf}`;

/** The enum of a pallet's calls, events or errors; none where it has none. */
type PalletEnums = ReadonlyMap<PalletDefinition, Shape>;

function palletEnums(pallets: readonly PalletDefinition[], leaf: string, list: (pallet: PalletDefinition) => Variant[]): PalletEnums {
  return new Map(
    pallets.flatMap((pallet): [PalletDefinition, Shape][] => {
      const variants = list(pallet);
      return variants.length === 0 ? [] : [[pallet, enumShape(palletPath(pallet, leaf), variants)]];
    }),
  );
}

/** The enum over all pallets' enums. */
function outerEnum(name: string, inner: PalletEnums): Shape {
  return enumShape(
    `node_subtensor_runtime::${name}`,
    [...inner].map(([pallet, type]) => ({ name: pallet.name, index: pallet.index, fields: [{ type }] })),
  );
}

function storageType(types: PortableTypes, item: StorageItem): Readonly<Record<string, unknown>> {
  const value = types.idOf(item.value.shape);
  const [first, ...others] = item.keys.map(([, scale]) => scale);
  if (first === undefined) {
    return { Plain: value };
  }
  const key = types.idOf(others.length === 0 ? first.shape : tuple(first, ...others).shape);
  return { Map: { hashers: item.keys.map(([hasher]) => hasher), key, value } };
}

interface TypedRuntime {
  readonly types: PortableTypes;
  readonly enums: { readonly calls: PalletEnums; readonly events: PalletEnums; readonly errors: PalletEnums };
  /** Type numbers of the extrinsic's parts and the outer enums. */
  readonly ids: Readonly<
    Record<"address" | "callType" | "eventType" | "errorType" | "signature" | "extra" | "runtime" | "extrinsic", number>
  >;
}

/** Numbers every type that the runtime mentions. */
function numberTypes({ pallets, apis }: RuntimeDescription): TypedRuntime {
  const enums = {
    calls: palletEnums(pallets, "Call", callVariants),
    events: palletEnums(pallets, "Event", eventVariants),
    errors: palletEnums(pallets, "Error", errorVariants),
  };
  const outer = { call: outerEnum("RuntimeCall", enums.calls), event: outerEnum("RuntimeEvent", enums.events) };
  const types = createPortableTypes((name) => outer[name]);
  const extra: Shape = { kind: "tuple", of: signedExtensions.map((extension) => extension.extra) };
  const ids = {
    address: types.idOf(multiAddress.shape),
    callType: types.idOf(outer.call),
    eventType: types.idOf(outer.event),
    errorType: types.idOf(outerEnum("RuntimeError", enums.errors)),
    signature: types.idOf(multiSignature.shape),
    extra: types.idOf(extra),
    runtime: types.idOf({ kind: "composite", path: "node_subtensor_runtime::Runtime", fields: [] }),
    extrinsic: types.idOf(uncheckedExtrinsic.shape),
  };
  const others = [
    eventRecord.shape,
    ...signedExtensions.map(({ additional }) => additional),
    ...pallets.flatMap((pallet) => Object.values(pallet.constants ?? {}).map(({ type }) => type.shape)),
    ...Object.values(apis)
      .flatMap(({ methods }) => Object.values(methods))
      .flatMap(({ fields, output }) => [...Object.values(fields), output].map(({ shape }) => shape)),
  ];
  for (const shape of others) {
    types.idOf(shape);
  }
  for (const item of pallets.flatMap((pallet) => Object.values(pallet.storage ?? {}))) {
    storageType(types, item as StorageItem);
  }
  return { types, enums, ids };
}

function describePallet(pallet: PalletDefinition, { types, enums }: TypedRuntime, encode: Codec["encode"]) {
  const enumOf = (which: PalletEnums) => {
    const shape = which.get(pallet);
    return shape === undefined ? null : { type: types.idOf(shape) };
  };
  const items = Object.entries(pallet.storage ?? {}).map(([name, item]) => ({
    name,
    modifier: item.fallback === undefined ? "Optional" : "Default",
    type: storageType(types, item as StorageItem),
    fallback: item.fallback === undefined ? "0x00" : u8aToHex(encode(item.value as never, item.fallback as never)),
    docs: [],
  }));
  return {
    name: pallet.name,
    storage: pallet.storage === undefined ? null : { prefix: pallet.name, items },
    calls: enumOf(enums.calls),
    events: enumOf(enums.events),
    constants: Object.entries(pallet.constants ?? {}).map(([name, { type, value }]) => ({
      name,
      type: types.idOf(type.shape),
      value: u8aToHex(encode(type, value)),
      docs: [],
    })),
    errors: enumOf(enums.errors),
    index: pallet.index,
    docs: [],
  };
}

function describeApis(apis: RuntimeApis, types: PortableTypes) {
  return Object.entries(apis).map(([name, api]) => ({
    name,
    methods: Object.entries(api.methods).map(([method, { fields, output }]) => ({
      name: method,
      inputs: Object.entries(fields).map(([field, scale]) => ({ name: snakeCase(field), type: types.idOf(scale.shape) })),
      output: types.idOf(output.shape),
      docs: [],
    })),
    docs: [],
  }));
}

/** "meta", which every metadata begins with. */
const magic = "6d657461";

export function buildMetadata(description: RuntimeDescription): BuiltMetadata {
  const typed = numberTypes(description);
  const { types, ids } = typed;
  // The metadata holds values (fallbacks, constants) of its own types: a first registry knows the types alone.
  const first = new TypeRegistry();
  const lookup = first.createType<PortableRegistry>("PortableRegistry", { types: types.list() });
  first.setLookup(lookup);
  const { encode } = createCodec();
  const pallets = description.pallets.map((pallet) => describePallet(pallet, typed, encode));
  const signed = signedExtensions.map(({ identifier, extra, additional }) => ({
    identifier,
    type: types.idOf(extra),
    additionalSigned: types.idOf(additional),
  }));
  const withMagic = (body: { toHex(): string }): Hex => `0x${magic}${body.toHex().slice(2)}`;

  const extrinsicVersion = 4;
  const v15 = withMagic(
    first.createType("MetadataAll", {
      V15: {
        lookup,
        pallets,
        extrinsic: {
          version: extrinsicVersion,
          addressType: ids.address,
          callType: ids.callType,
          signatureType: ids.signature,
          extraType: ids.extra,
          signedExtensions: signed,
        },
        type: ids.runtime,
        apis: describeApis(description.apis, types),
        outerEnums: ids,
        custom: { map: new Map() },
      },
    }),
  );
  let v14: Hex | undefined;
  const registry = new TypeRegistry();
  const metadata = new Metadata(registry, v15);
  registry.setMetadata(metadata, undefined, undefined, true);
  const legacy = (): Hex => {
    const extrinsic = { type: ids.extrinsic, version: extrinsicVersion, signedExtensions: signed };
    v14 ??= withMagic(first.createType("MetadataAll", { V14: { lookup, pallets, extrinsic, type: ids.runtime } }));
    return v14;
  };
  return {
    versions: [14, 15],
    encoded: (version) => (version === 14 ? legacy() : version === 15 ? v15 : undefined),
    get legacy() {
      return legacy();
    },
    registry,
    codec: createCodec({ decodeCall: callDecoder(registry) }),
    indices: readIndices(metadata),
  };
}
