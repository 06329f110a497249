/** SCALE's bytes: an input and an output, and the numbers, bytes and texts that every type is made of. */

import type { Hex, Primitive } from "../metadata/scale.ts";

/** Bytes that are written one after the other, in a buffer that grows. */
export interface Output {
  bytes: Buffer;
  length: number;
}

export interface Input {
  readonly bytes: Buffer;
  offset: number;
}

/** How values of one type are written and read. */
export interface Part {
  write(output: Output, value: unknown): void;
  read(input: Input): unknown;
}

/** Makes room for `count` more bytes. @returns where they begin */
function grow(output: Output, count: number): number {
  const start = output.length;
  output.length += count;
  if (output.length > output.bytes.length) {
    const larger = Buffer.alloc(2 * output.length);
    output.bytes.copy(larger, 0, 0, start);
    output.bytes = larger;
  }
  return start;
}

/** Passes over `count` bytes. @returns where they begin */
export function take(input: Input, count: number): number {
  const start = input.offset;
  if (count > input.bytes.length - start) {
    throw new RangeError("the bytes end within the value");
  }
  input.offset += count;
  return start;
}

/** @param width bytes: 1, 2, 4, 8 or 16; up to 4 a value is a number, else a bigint */
function integer(width: number, signed: boolean): Part {
  if (width <= 4) {
    return {
      write(output, value) {
        const start = grow(output, width);
        output.bytes.writeUIntLE(value as number, start, width);
      },
      read: (input) => input.bytes.readUIntLE(take(input, width), width),
    };
  }
  const bits = width * 8;
  return {
    write(output, value) {
      const whole = BigInt(value as bigint);
      if (BigInt.asUintN(bits, whole) !== whole && BigInt.asIntN(bits, whole) !== whole) {
        throw new RangeError(`${whole} does not fit ${bits} bits`);
      }
      const start = grow(output, width);
      for (let at = 0; at < width; at += 8) {
        output.bytes.writeBigUInt64LE(BigInt.asUintN(64, whole >> BigInt(8 * at)), start + at);
      }
    },
    read(input) {
      const start = take(input, width);
      let whole = 0n;
      for (let at = width - 8; at >= 0; at -= 8) {
        whole = (whole << 64n) | input.bytes.readBigUInt64LE(start + at);
      }
      return signed ? BigInt.asIntN(bits, whole) : whole;
    },
  };
}

export function writeByte(output: Output, value: number): void {
  const start = grow(output, 1);
  output.bytes[start] = value;
}

export const readByte = (input: Input): number => input.bytes[take(input, 1)] as number;

export function writeCompact(output: Output, value: number | bigint): void {
  if (value < 2 ** 30) {
    const number = Number(value);
    const [width, mode] = number < 2 ** 6 ? [1, 0] : number < 2 ** 14 ? [2, 1] : [4, 2];
    const start = grow(output, width);
    output.bytes.writeUIntLE(number * 4 + mode, start, width);
    return;
  }
  const digits = BigInt(value).toString(16);
  const bytes = Buffer.from(digits.padStart(Math.max(8, digits.length + (digits.length % 2)), "0"), "hex").reverse();
  const start = grow(output, bytes.length + 1);
  output.bytes[start] = (bytes.length - 4) * 4 + 3;
  bytes.copy(output.bytes, start + 1);
}

export function readCompact(input: Input): number | bigint {
  const first = readByte(input);
  const mode = first % 4;
  if (mode < 3) {
    const rest = [0, 1, 3][mode] as number;
    const more = rest === 0 ? 0 : input.bytes.readUIntLE(take(input, rest), rest);
    return (first >> 2) + more * 64;
  }
  const width = (first >> 2) + 4;
  const start = take(input, width);
  const digits = Buffer.from(input.bytes.subarray(start, start + width)).reverse();
  const whole = BigInt(`0x${digits.toString("hex")}`);
  return width === 4 ? Number(whole) : whole;
}

/** @param counted whether their number goes before them */
export function writeBytes(output: Output, bytes: Uint8Array, counted = true): void {
  if (counted) {
    writeCompact(output, bytes.length);
  }
  const start = grow(output, bytes.length);
  output.bytes.set(bytes, start);
}

export function readBytes(input: Input, count: number): Buffer {
  const start = take(input, count);
  return input.bytes.subarray(start, start + count);
}

export const fromHex = (hex: string): Buffer => Buffer.from(hex.slice(2), "hex");
export const toHex = (bytes: Uint8Array): Hex => `0x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex")}`;

export const primitives: Readonly<Record<Primitive, Part>> = {
  bool: {
    write: (output, value) => writeByte(output, value === true ? 1 : 0),
    read: (input) => readByte(input) === 1,
  },
  str: {
    write: (output, value) => writeBytes(output, Buffer.from(value as string)),
    read: (input) => readBytes(input, Number(readCompact(input))).toString("utf8"),
  },
  u8: integer(1, false),
  u16: integer(2, false),
  u32: integer(4, false),
  u64: integer(8, false),
  u128: integer(16, false),
  i64: integer(8, true),
  i128: integer(16, true),
};
