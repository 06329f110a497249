/**
 * The metadata of a runtime: SCALE bytes in versions 14 and 15 from the descriptions of its pallets and runtime APIs, and a
 * polkadot.js registry that has read exactly those bytes, so that the node decodes what a client encodes by the same text.
 */

import { Metadata, TypeRegistry } from "@polkadot/types";
import { u8aToHex } from "@polkadot/util";
import { type Codec, createCodec } from "../runtime/codec.ts";
import type { StorageItem } from "./declarations.ts";
import { callVariants, enumShape, errorVariants, eventVariants, type PalletDefinition, type RuntimeApis } from "./pallet.ts";
import { createPortableTypes, type PortableTypes } from "./portable.ts";
import {
  byteArray,
  bytes,
  compact,
  type Hex,
  newtype,
  option,
  type Shape,
  snakeCase,
  tuple,
  u32,
  u64,
  unit,
  type Variant,
  variants,
} from "./scale.ts";
import { era, eventRecord, hash, multiAddress, multiSignature } from "./types.ts";

export interface RuntimeDescription {
  readonly pallets: readonly PalletDefinition[];
  readonly apis: RuntimeApis;
}

export interface BuiltMetadata {
  readonly v14: Hex;
  readonly v15: Hex;
  readonly registry: TypeRegistry;
  readonly codec: Codec;
}

/** The signed extensions of Subtensor, in order: name, what is sent, what is signed besides. */
function signedExtensions(): { identifier: string; extra: Shape; additional: Shape }[] {
  const empty = (identifier: string, path: string, additional: Shape = unit.shape) => ({
    identifier,
    extra: { kind: "composite", path: `${path}::${identifier}`, fields: [] } as Shape,
    additional,
  });
  const holding = (identifier: string, path: string, inner: Shape, additional: Shape = unit.shape, name?: string) => ({
    identifier,
    extra: {
      kind: "composite",
      path: `${path}::${identifier}`,
      fields: [{ ...(name === undefined ? {} : { name }), type: inner }],
    } as Shape,
    additional,
  });
  return [
    empty("CheckNonZeroSender", "frame_system::extensions::check_non_zero_sender"),
    empty("CheckSpecVersion", "frame_system::extensions::check_spec_version", u32.shape),
    empty("CheckTxVersion", "frame_system::extensions::check_tx_version", u32.shape),
    empty("CheckGenesis", "frame_system::extensions::check_genesis", hash.shape),
    holding("CheckMortality", "frame_system::extensions::check_mortality", era.shape, hash.shape),
    holding("CheckNonce", "frame_system::extensions::check_nonce", compact(u32).shape),
    empty("CheckWeight", "frame_system::extensions::check_weight"),
    holding("ChargeTransactionPayment", "pallet_transaction_payment", compact(u64).shape),
    empty("SudoTransactionExtension", "node_subtensor_runtime::sudo_wrapper"),
    empty("CheckShieldedTxValidity", "pallet_shield::extension"),
    empty("SubtensorTransactionExtension", "pallet_subtensor::extensions::subtensor"),
    empty("DrandPriority", "pallet_drand::drand_priority"),
    holding(
      "CheckMetadataHash",
      "frame_metadata_hash_extension",
      variants("frame_metadata_hash_extension::Mode", { Disabled: undefined, Enabled: undefined }).shape,
      option(byteArray(32)).shape,
      "mode",
    ),
  ];
}

/** An enum over pallets: the outer call, event or error. */
function outer(path: string, description: RuntimeDescription, inner: (pallet: PalletDefinition) => Shape | undefined): Shape {
  const list = description.pallets.flatMap((pallet): Variant[] => {
    const type = inner(pallet);
    return type === undefined ? [] : [{ name: pallet.name, index: pallet.index, fields: [{ type }] }];
  });
  return enumShape(path, list);
}

const palletPath = (pallet: PalletDefinition, leaf: string): string =>
  `pallet_${snakeCase(pallet.name).replace(/^_/, "")}::pallet::${leaf}`;

/** One shape object an enum, so that the registry finds it again quickly. */
function palletShapes(description: RuntimeDescription) {
  const shapes = (leaf: string, list: (pallet: PalletDefinition) => Variant[]) =>
    new Map(
      description.pallets.map((pallet) => [
        pallet,
        list(pallet).length === 0 ? undefined : enumShape(palletPath(pallet, leaf), list(pallet)),
      ]),
    );
  return { calls: shapes("Call", callVariants), events: shapes("Event", eventVariants), errors: shapes("Error", errorVariants) };
}

function storageType(types: PortableTypes, item: StorageItem): Readonly<Record<string, unknown>> {
  const value = types.idOf(item.value.shape);
  if (item.keys.length === 0) {
    return { Plain: value };
  }
  const keys = item.keys.map(([, scale]) => scale);
  const key = keys.length === 1 ? types.idOf((keys[0] as (typeof keys)[0]).shape) : types.idOf(tuple(...keys).shape);
  return { Map: { hashers: item.keys.map(([hasher]) => hasher), key, value } };
}

export function buildMetadata(description: RuntimeDescription): BuiltMetadata {
  const shapes = palletShapes(description);
  const outerCall = outer("node_subtensor_runtime::RuntimeCall", description, (pallet) => shapes.calls.get(pallet));
  const outerEvent = outer("node_subtensor_runtime::RuntimeEvent", description, (pallet) => shapes.events.get(pallet));
  const outerError = outer("node_subtensor_runtime::RuntimeError", description, (pallet) => shapes.errors.get(pallet));
  const types = createPortableTypes((name) => (name === "call" ? outerCall : outerEvent));

  const extensions = signedExtensions();
  const extra = newtype("", tuple(...extensions.map(({ extra: shape }) => ({ shape }))));
  const extraId = types.idOf({ kind: "tuple", of: extensions.map((extension) => extension.extra) });
  const ids = {
    address: types.idOf(multiAddress.shape),
    call: types.idOf(outerCall),
    event: types.idOf(outerEvent),
    error: types.idOf(outerError),
    signature: types.idOf(multiSignature.shape),
    extra: extraId,
    runtime: types.idOf({ kind: "composite", path: "node_subtensor_runtime::Runtime", fields: [] }),
    extrinsic: types.idOf({
      kind: "composite",
      path: "sp_runtime::generic::unchecked_extrinsic::UncheckedExtrinsic",
      fields: [{ type: bytes.shape }],
      parameters: [
        { name: "Address", type: multiAddress.shape },
        { name: "Call", type: outerCall },
        { name: "Signature", type: multiSignature.shape },
        { name: "Extra", type: extra.shape.kind === "composite" ? (extra.shape.fields[0]?.type ?? unit.shape) : unit.shape },
      ],
    }),
  };
  types.idOf(eventRecord.shape);

  // A first registry reads the types alone: with it the fallbacks and constants are encoded that the metadata itself holds.
  const forEncoding = new TypeRegistry();
  const apiIds = Object.entries(description.apis).map(([name, api]) => ({
    name,
    version: api.version,
    methods: Object.entries(api.methods).map(([methodName, definition]) => ({
      name: methodName,
      inputs: Object.entries(definition.fields).map(([field, scale]) => ({ name: snakeCase(field), type: types.idOf(scale.shape) })),
      output: types.idOf(definition.output.shape),
      docs: [],
    })),
  }));
  for (const pallet of description.pallets) {
    for (const item of Object.values(pallet.storage ?? {})) {
      storageType(types, item as StorageItem);
    }
    for (const constant of Object.values(pallet.constants ?? {})) {
      types.idOf(constant.type.shape);
    }
  }
  const pallets = (encode: Codec["encode"]) =>
    description.pallets.map((pallet) => ({
      name: pallet.name,
      storage:
        pallet.storage === undefined
          ? null
          : {
              prefix: pallet.name,
              items: Object.entries(pallet.storage).map(([name, item]) => ({
                name,
                modifier: item.fallback === undefined ? "Optional" : "Default",
                type: storageType(types, item as StorageItem),
                fallback: item.fallback === undefined ? "0x00" : u8aToHex(encode(item.value as never, item.fallback as never)),
                docs: [],
              })),
            },
      calls: shapes.calls.get(pallet) === undefined ? null : { type: types.idOf(shapes.calls.get(pallet) as Shape) },
      events: shapes.events.get(pallet) === undefined ? null : { type: types.idOf(shapes.events.get(pallet) as Shape) },
      constants: Object.entries(pallet.constants ?? {}).map(([name, constant]) => ({
        name,
        type: types.idOf(constant.type.shape),
        value: u8aToHex(encode(constant.type, constant.value)),
        docs: [],
      })),
      errors: shapes.errors.get(pallet) === undefined ? null : { type: types.idOf(shapes.errors.get(pallet) as Shape) },
      index: pallet.index,
      docs: [],
    }));
  const signed = extensions.map((extension) => ({
    identifier: extension.identifier,
    type: types.idOf(extension.extra),
    additionalSigned: types.idOf(extension.additional),
  }));

  const v15 = (encode: Codec["encode"]) =>
    forEncoding.createType("MetadataAll", {
      V15: {
        lookup: { types: types.list() },
        pallets: pallets(encode),
        extrinsic: {
          version: 4,
          addressType: ids.address,
          callType: ids.call,
          signatureType: ids.signature,
          extraType: ids.extra,
          signedExtensions: signed,
        },
        type: ids.runtime,
        apis: apiIds.map(({ version: _, ...api }) => ({ ...api, docs: [] })),
        outerEnums: { callType: ids.call, eventType: ids.event, errorType: ids.error },
        custom: { map: new Map() },
      },
    });
  const v14 = (encode: Codec["encode"]) =>
    forEncoding.createType("MetadataAll", {
      V14: {
        lookup: { types: types.list() },
        pallets: pallets(encode),
        extrinsic: { type: ids.extrinsic, version: 4, signedExtensions: signed },
        type: ids.runtime,
      },
    });
  const withMagic = (body: { toHex(): string }): Hex => `0x6d657461${body.toHex().slice(2)}`;

  const read = (hex: Hex): TypeRegistry => {
    const registry = new TypeRegistry();
    registry.setMetadata(new Metadata(registry, hex), undefined, undefined, true);
    return registry;
  };
  const typesOnly = read(withMagic(v15(() => new Uint8Array([0]))));
  const { encode } = createCodec(typesOnly, types);
  const bytesV15 = withMagic(v15(encode));
  const registry = read(bytesV15);
  return { v14: withMagic(v14(encode)), v15: bytesV15, registry, codec: createCodec(registry, types) };
}
