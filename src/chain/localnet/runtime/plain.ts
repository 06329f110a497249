/** What polkadot.js decodes, as plain values in the forms of scale.ts: extrinsics and calls come in through its registry. */

import type { TypeRegistry } from "@polkadot/types";
import {
  Bool,
  BTreeMap,
  Compact,
  Enum,
  GenericCall,
  Int,
  Null,
  Option,
  Raw,
  Struct,
  Text,
  Tuple,
  UInt,
  Vec,
  VecFixed,
} from "@polkadot/types";
import type { AnyTuple, Codec as PolkadotCodec } from "@polkadot/types/types";
import type { NestedCall } from "../metadata/scale.ts";

const largestNumberBits = 32;

/** Any polkadot.js value as a plain one; see scale.ts for the forms. */
export function plain(value: PolkadotCodec): unknown {
  if (value instanceof UInt || value instanceof Int) {
    return value.bitLength() <= largestNumberBits ? value.toNumber() : value.toBigInt();
  }
  if (value instanceof Compact) {
    return plain(value.unwrap());
  }
  if (value instanceof Bool) {
    return value.isTrue;
  }
  if (value instanceof Text) {
    return value.toString();
  }
  if (value instanceof Raw) {
    return value.toHex();
  }
  if (value instanceof Option) {
    return value.isSome ? plain(value.unwrap()) : undefined;
  }
  if (value instanceof GenericCall) {
    return nestedCall(value);
  }
  if (value instanceof Enum) {
    return value.inner instanceof Null ? { type: value.type } : { type: value.type, value: plain(value.inner) };
  }
  if (value instanceof Struct) {
    return Object.fromEntries([...value.entries()].map(([name, item]) => [name, plain(item as PolkadotCodec)]));
  }
  if (value instanceof Tuple || value instanceof Vec || value instanceof VecFixed) {
    return [...value].map(plain);
  }
  if (value instanceof BTreeMap) {
    return [...value.entries()].map(([key, item]) => [plain(key), plain(item)]);
  }
  return value instanceof Null ? undefined : value.toPrimitive();
}

/** A call as its pallet, index and plain arguments. */
export function nestedCall(call: GenericCall<AnyTuple>): NestedCall {
  const [pallet, index] = call.callIndex;
  return { pallet: pallet as number, call: index as number, args: call.args.map((argument) => plain(argument)) };
}

/** Decodes a call from the start of bytes, by what the registry knows of all pallets. */
export function callDecoder(registry: TypeRegistry): (bytes: Uint8Array) => { value: NestedCall; length: number } {
  return (bytes) => {
    const call = registry.createType("Call", bytes) as unknown as GenericCall<AnyTuple>;
    return { value: nestedCall(call), length: call.encodedLength };
  };
}
