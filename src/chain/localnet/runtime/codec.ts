/** Plain values to and from SCALE bytes, by polkadot.js' own codecs over the metadata that the localnet serves. */

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
import type { AnyTuple, CodecClass, Codec as PolkadotCodec } from "@polkadot/types/types";
import { hexToU8a, stringCamelCase } from "@polkadot/util";
import type { NestedCall, Scale, Shape } from "../metadata/scale.ts";

export interface Codec {
  encode<T>(scale: Scale<T>, value: T): Uint8Array;
  /** @throws Error when the bytes do not hold such a value; bytes after it are ignored */
  decode<T>(scale: Scale<T>, bytes: Uint8Array | string): T;
  /** Bytes that the value takes when decoded from the start of `bytes`. */
  decodeWithLength<T>(scale: Scale<T>, bytes: Uint8Array | string): { value: T; length: number };
}

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

/** What a codec's constructor takes for a plain enum: `{type, value}` is ours, `{[type]: value}` theirs. */
function forPolkadot(shape: Shape, value: unknown): unknown {
  switch (shape.kind) {
    case "compact":
      return forPolkadot(shape.of, value);
    case "sequence":
    case "array":
      return Array.isArray(value) ? value.map((item) => forPolkadot(shape.of, item)) : value;
    case "tuple":
      return (value as readonly unknown[] | undefined)?.map((item, index) => forPolkadot(shape.of[index] as Shape, item));
    case "composite": {
      const [first, ...others] = shape.fields;
      if (first !== undefined && first.name === undefined && others.length === 0) {
        return forPolkadot(first.type, value);
      }
      const entries = value as Readonly<Record<string, unknown>>;
      return Object.fromEntries(
        shape.fields.map((field) => {
          const name = stringCamelCase(field.name ?? "");
          return [name, forPolkadot(field.type, entries[name])];
        }),
      );
    }
    case "variant": {
      if (shape.path === "Option") {
        const some = shape.variants[1]?.fields[0];
        return value === undefined || some === undefined ? null : forPolkadot(some.type, value);
      }
      const tagged = value as { type: string; value?: unknown };
      const variant = shape.variants.find(({ name }) => name === tagged.type);
      const fields = variant?.fields ?? [];
      if (fields.length === 0) {
        return { [tagged.type]: null };
      }
      if (fields.length === 1 && fields[0]?.name === undefined) {
        return { [tagged.type]: forPolkadot(fields[0]?.type as Shape, tagged.value) };
      }
      const content = { kind: fields[0]?.name === undefined ? "tuple" : "composite", path: "", fields, of: fields.map(({ type }) => type) };
      return { [tagged.type]: forPolkadot(content as unknown as Shape, tagged.value) };
    }
    default:
      return value;
  }
}

/** @param typeOf the name of a shape's type in the registry */
export function createCodec(registry: TypeRegistry, typeOf: (shape: Shape) => string): Codec {
  const classes = new Map<Shape, CodecClass>();
  const classOf = (shape: Shape): CodecClass => {
    const known = classes.get(shape);
    if (known !== undefined) {
      return known;
    }
    const created = registry.createClassUnsafe(typeOf(shape)) as CodecClass;
    classes.set(shape, created);
    return created;
  };
  const decodeWithLength = <T>(scale: Scale<T>, bytes: Uint8Array | string) => {
    // Never as hex: polkadot.js reads a hex string given for a number as a number, most significant byte first.
    const decoded = new (classOf(scale.shape))(registry, typeof bytes === "string" ? hexToU8a(bytes) : bytes);
    return { value: plain(decoded) as T, length: decoded.encodedLength };
  };
  return {
    encode: (scale, value) => new (classOf(scale.shape))(registry, forPolkadot(scale.shape, value)).toU8a(),
    decode: (scale, bytes) => decodeWithLength(scale, bytes).value,
    decodeWithLength,
  };
}
