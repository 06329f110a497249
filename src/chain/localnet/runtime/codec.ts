/**
 * Plain values to and from SCALE bytes, by the shapes of scale.ts. Each shape is turned into a reader and a writer once. Where a metadata
 * numbers an enum's variants otherwise than the shape does, the metadata's numbers hold.
 */

import { stringCamelCase } from "@polkadot/util";
import type { Field, Hex, NestedCall, Scale, Shape, Variant } from "../metadata/scale.ts";
import {
  fromHex,
  type Input,
  type Output,
  type Part,
  primitives,
  readByte,
  readBytes,
  readCompact,
  take,
  toHex,
  writeByte,
  writeBytes,
  writeCompact,
} from "./scale-bytes.ts";

export interface Codec {
  encode<T>(scale: Scale<T>, value: T): Uint8Array;
  /** @throws Error when the bytes do not hold such a value; bytes after it are ignored */
  decode<T>(scale: Scale<T>, bytes: Uint8Array | string): T;
  /** Bytes that the value takes when decoded from the start of `bytes`. */
  decodeWithLength<T>(scale: Scale<T>, bytes: Uint8Array | string): { value: T; length: number };
}

/** What a metadata knows besides the shapes. */
export interface CodecOptions {
  /** The number of a variant of the enum with this path, where it may differ from the shape's. */
  readonly variantIndex?: (path: string, name: string) => number | undefined;
  /** Decodes a call of any pallet from the start of the bytes. */
  readonly decodeCall?: (bytes: Uint8Array) => { readonly value: NestedCall; readonly length: number };
}

const isByte = (shape: Shape): boolean => shape.kind === "primitive" && shape.name === "u8";

/** Without a length the number of items goes before them. */
function list(of: Part, length?: number): Part {
  return {
    write(output, value) {
      const items = value as readonly unknown[];
      if (length === undefined) {
        writeCompact(output, items.length);
      } else if (items.length !== length) {
        throw new RangeError(`${items.length} items, not ${length}`);
      }
      for (const item of items) {
        of.write(output, item);
      }
    },
    read(input) {
      const items: unknown[] = [];
      for (let left = length ?? Number(readCompact(input)); left > 0; left--) {
        items.push(of.read(input));
      }
      return items;
    },
  };
}

function byteList(length?: number): Part {
  return {
    write(output, value) {
      const bytes = fromHex(value as Hex);
      if (length !== undefined && bytes.length !== length) {
        throw new RangeError(`${bytes.length} bytes, not ${length}`);
      }
      writeBytes(output, bytes, length === undefined);
    },
    read: (input) => toHex(readBytes(input, length ?? Number(readCompact(input)))),
  };
}

function sequence(parts: readonly Part[]): Part {
  return {
    write: (output, value) => {
      for (const [index, part] of parts.entries()) {
        part.write(output, (value as readonly unknown[])[index]);
      }
    },
    read: (input) => (parts.length === 0 ? undefined : parts.map((part) => part.read(input))),
  };
}

function record(members: readonly { readonly name: string; readonly part: Part }[]): Part {
  return {
    write(output, value) {
      for (const { name, part } of members) {
        part.write(output, (value as Readonly<Record<string, unknown>>)[name]);
      }
    },
    read: (input) => Object.fromEntries(members.map(({ name, part }) => [name, part.read(input)])),
  };
}

function optional(some: Part): Part {
  return {
    write(output, value) {
      writeByte(output, value === undefined ? 0 : 1);
      if (value !== undefined) {
        some.write(output, value);
      }
    },
    read: (input) => (readByte(input) === 0 ? undefined : some.read(input)),
  };
}

const nothing: Part = sequence([]);

export function createCodec({ variantIndex, decodeCall }: CodecOptions = {}): Codec {
  const parts = new Map<Shape, Part>();

  function partOf(shape: Shape): Part {
    const known = parts.get(shape);
    if (known !== undefined) {
      return known;
    }
    const made = make(shape);
    parts.set(shape, made);
    return made;
  }

  /** One unnamed field is seen as what it holds, several as a tuple, named ones as a record. */
  function fieldsPart(fields: readonly Field[]): Part {
    const [first] = fields;
    if (first === undefined || first.name !== undefined) {
      return first === undefined
        ? nothing
        : record(fields.map(({ name = "", type }) => ({ name: stringCamelCase(name), part: partOf(type) })));
    }
    return fields.length === 1 ? partOf(first.type) : sequence(fields.map(({ type }) => partOf(type)));
  }

  function enumPart(path: string, variants: readonly Variant[]): Part {
    const cases = variants.map(({ name, index, fields }) => ({
      name,
      index: variantIndex?.(path, name) ?? index,
      isEmpty: fields.length === 0,
      part: fieldsPart(fields),
    }));
    const byName = new Map(cases.map((one) => [one.name, one]));
    const byIndex = new Map(cases.map((one) => [one.index, one]));
    return {
      write(output, value) {
        const tagged = value as { readonly type: string; readonly value?: unknown };
        const found = byName.get(tagged.type);
        if (found === undefined) {
          throw new TypeError(`${path} has no ${tagged.type}`);
        }
        writeByte(output, found.index);
        found.part.write(output, tagged.value);
      },
      read(input) {
        const index = readByte(input);
        const found = byIndex.get(index);
        if (found === undefined) {
          throw new RangeError(`${path} has no variant ${index}`);
        }
        return found.isEmpty ? { type: found.name } : { type: found.name, value: found.part.read(input) };
      },
    };
  }

  function callPart(): Part {
    return {
      write() {
        throw new TypeError("calls are not written");
      },
      read(input) {
        const decoded = decodeCall?.(input.bytes.subarray(input.offset));
        take(input, decoded?.length ?? Number.POSITIVE_INFINITY);
        return decoded?.value;
      },
    };
  }

  function make(shape: Shape): Part {
    switch (shape.kind) {
      case "primitive":
        return primitives[shape.name];
      case "compact":
        return compactPart(shape.of);
      case "sequence":
        return isByte(shape.of) ? byteList() : list(partOf(shape.of));
      case "array":
        return isByte(shape.of) ? byteList(shape.length) : list(partOf(shape.of), shape.length);
      case "tuple":
        return sequence(shape.of.map(partOf));
      case "composite":
        return fieldsPart(shape.fields);
      case "variant":
        return shape.path === "Option" ? optional(fieldsPart((shape.variants[1] as Variant).fields)) : enumPart(shape.path, shape.variants);
      case "runtime":
        return callPart();
    }
  }

  function compactPart(of: Shape): Part {
    if (of.kind === "composite") {
      return compactPart((of.fields[0] as Field).type);
    }
    if (of.kind === "tuple") {
      return nothing;
    }
    const isLarge = of.kind === "primitive" && (of.name === "u64" || of.name === "u128");
    return {
      write: (output, value) => writeCompact(output, value as number | bigint),
      read: (input) => (isLarge ? BigInt(readCompact(input)) : Number(readCompact(input))),
    };
  }

  function decodeWithLength<T>(scale: Scale<T>, bytes: Uint8Array | string): { value: T; length: number } {
    const given = typeof bytes === "string" ? fromHex(bytes) : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const input: Input = { bytes: given, offset: 0 };
    const value = partOf(scale.shape).read(input) as T;
    return { value, length: input.offset };
  }

  return {
    encode(scale, value) {
      const output: Output = { bytes: Buffer.alloc(64), length: 0 };
      partOf(scale.shape).write(output, value);
      return new Uint8Array(output.bytes.subarray(0, output.length));
    },
    decode: (scale, bytes) => decodeWithLength(scale, bytes).value,
    decodeWithLength,
  };
}
