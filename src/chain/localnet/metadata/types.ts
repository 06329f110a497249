/** The types that every pallet and the extrinsic format share, with the paths and variants of Substrate and Subtensor. */

import {
  byteArray,
  bytes,
  compact,
  cow,
  type Hex,
  newtype,
  runtimeEvent,
  type Scale,
  type Shape,
  struct,
  type Tagged,
  text,
  tuple,
  u8,
  u16,
  u32,
  u64,
  u128,
  unit,
  variants,
  vec,
} from "./scale.ts";

export const accountId = newtype("sp_core::crypto::AccountId32", byteArray(32));
export const hash = newtype("primitive_types::H256", byteArray(32));

/** An account as calls take it. Only `Id` is understood by the localnet, as on Subtensor. */
export const multiAddress: Scale<Tagged<"Id" | "Index" | "Raw" | "Address32" | "Address20", Hex>> = {
  shape: {
    ...(variants("sp_runtime::multiaddress::MultiAddress", {
      Id: accountId,
      Index: compact(unit),
      Raw: bytes,
      Address32: byteArray(32),
      Address20: byteArray(20),
    }).shape as Extract<Shape, { kind: "variant" }>),
    parameters: [
      { name: "AccountId", type: accountId.shape },
      { name: "AccountIndex", type: unit.shape },
    ],
  },
};

export const multiSignature = variants("sp_runtime::MultiSignature", {
  Ed25519: byteArray(64),
  Sr25519: byteArray(64),
  Ecdsa: byteArray(65),
});

export const era = variants("sp_runtime::generic::era::Era", {
  Immortal: undefined,
  ...Object.fromEntries(Array.from({ length: 255 }, (_, index) => [`Mortal${index + 1}`, u8])),
});

export const accountData = struct("pallet_balances::types::AccountData", {
  free: u64,
  reserved: u64,
  frozen: u64,
  flags: newtype("pallet_balances::types::ExtraFlags", u128),
});

export const accountInfo = struct("frame_system::AccountInfo", {
  nonce: u32,
  consumers: u32,
  providers: u32,
  sufficients: u32,
  data: accountData,
});

export const weight = struct("sp_weights::weight_v2::Weight", { refTime: compact(u64), proofSize: compact(u64) });

export const dispatchClass = variants("frame_support::dispatch::DispatchClass", {
  Normal: undefined,
  Operational: undefined,
  Mandatory: undefined,
});
export const pays = variants("frame_support::dispatch::Pays", { Yes: undefined, No: undefined });
export const dispatchEventInfo = struct("frame_system::DispatchEventInfo", { weight, class: dispatchClass, paysFee: pays });

export const moduleError = struct("sp_runtime::ModuleError", { index: u8, error: byteArray(4) });

const tokenError = variants("sp_runtime::TokenError", {
  FundsUnavailable: undefined,
  OnlyProvider: undefined,
  BelowMinimum: undefined,
  CannotCreate: undefined,
  UnknownAsset: undefined,
  Frozen: undefined,
  Unsupported: undefined,
  CannotCreateHold: undefined,
  NotExpendable: undefined,
  Blocked: undefined,
});
const arithmeticError = variants("sp_arithmetic::ArithmeticError", {
  Underflow: undefined,
  Overflow: undefined,
  DivisionByZero: undefined,
});
const transactionalError = variants("sp_runtime::TransactionalError", { LimitReached: undefined, NoLayer: undefined });
const trieError = variants("sp_runtime::proving_trie::TrieError", {
  InvalidStateRoot: undefined,
  IncompleteDatabase: undefined,
  ValueAtIncompleteKey: undefined,
  DecoderError: undefined,
  InvalidHash: undefined,
  DuplicateKey: undefined,
  ExtraneousNode: undefined,
  ExtraneousValue: undefined,
  ExtraneousHashReference: undefined,
  InvalidChildReference: undefined,
  ValueMismatch: undefined,
  IncompleteProof: undefined,
  RootMismatch: undefined,
  DecodeError: undefined,
});

export const dispatchError = variants("sp_runtime::DispatchError", {
  Other: undefined,
  CannotLookup: undefined,
  BadOrigin: undefined,
  Module: moduleError,
  ConsumerRemaining: undefined,
  NoProviders: undefined,
  TooManyConsumers: undefined,
  Token: tokenError,
  Arithmetic: arithmeticError,
  Transactional: transactionalError,
  Exhausted: undefined,
  Corruption: undefined,
  Unavailable: undefined,
  RootNotAllowed: undefined,
  Trie: trieError,
});

function digestItem(): Scale<Tagged> {
  const item = (name: string, index: number, ...types: Shape[]) => ({ name, index, fields: types.map((type) => ({ type })) });
  const engine = byteArray(4).shape;
  return {
    shape: {
      kind: "variant",
      path: "sp_runtime::generic::digest::DigestItem",
      variants: [
        item("PreRuntime", 6, engine, bytes.shape),
        item("Consensus", 4, engine, bytes.shape),
        item("Seal", 5, engine, bytes.shape),
        item("Other", 0, bytes.shape),
        item("RuntimeEnvironmentUpdated", 8),
      ],
    },
  };
}

export const digest = struct("sp_runtime::generic::digest::Digest", { logs: vec(digestItem()) });

export const phase = variants("frame_system::Phase", { ApplyExtrinsic: u32, Finalization: undefined, Initialization: undefined });

/** polkadot.js looks for the parameters E and T. */
export const eventRecord: Scale<unknown> = {
  shape: {
    kind: "composite",
    path: "frame_system::EventRecord",
    fields: [
      { name: "phase", type: phase.shape },
      { name: "event", type: runtimeEvent.shape },
      { name: "topics", type: vec(hash).shape },
    ],
    parameters: [
      { name: "E", type: runtimeEvent.shape },
      { name: "T", type: hash.shape },
    ],
  },
};

export const runtimeVersion = struct("sp_version::RuntimeVersion", {
  specName: cow(text),
  implName: cow(text),
  authoringVersion: u32,
  specVersion: u32,
  implVersion: u32,
  apis: cow(vec(tuple(byteArray(8), u32))),
  transactionVersion: u32,
  systemVersion: u8,
});

export const netuid: Scale<number> = u16;
export const axonInfo = struct("pallet_subtensor::pallet::AxonInfo", {
  block: u64,
  version: u32,
  ip: u128,
  port: u16,
  ipType: u8,
  protocol: u8,
  placeholder1: u8,
  placeholder2: u8,
});
export const prometheusInfo = struct("pallet_subtensor::pallet::PrometheusInfo", {
  block: u64,
  version: u32,
  ip: u128,
  port: u16,
  ipType: u8,
});
/** U64F64 and I96F32 of substrate-fixed: one field of raw bits. */
export const u64f64 = struct("substrate_fixed::FixedU128", { bits: u128 });
