/**
 * The header of a safetensors file, parsed under suspicion. The JSON is read by a parser of exactly the shape that the format
 * allows, because a general one hides duplicate keys, rounds large integers and builds whatever it is sent. Each rule that a header
 * breaks has a name; the error carries it and the file's.
 */
import { ConnitoError } from "../errors.ts";
import { bytesOf, type Dtype, isDtype } from "./dtype.ts";
import { sharedShape } from "./shared-shape.ts";

/** The format's own limit on the header's length. */
export const maximumHeaderBytes = 100_000_000;
/** More tensors, or more metadata strings, than this in one file are refused: the largest published checkpoints have some 140,000. */
export const maximumTensors = 500_000;
/** More dimensions than this are refused: no library goes beyond 64. */
export const maximumRank = 64;

export type SafetensorsRule =
  | "file-shorter-than-length"
  | "header-over-limit"
  | "header-beyond-file"
  | "header-start"
  | "header-utf8"
  | "header-json"
  | "header-padding"
  | "duplicate-key"
  | "metadata-strings"
  | "entry-fields"
  | "dtype-unknown"
  | "shape-integers"
  | "shape-rank"
  | "offsets-integers"
  | "offsets-order"
  | "offsets-beyond-data"
  | "size-mismatch"
  | "size-overflow"
  | "overlap"
  | "hole"
  | "data-uncovered"
  | "too-many-tensors"
  | "too-many-strings";

/** `safetensors-invalid`, with the file and the rule that it breaks. */
export class SafetensorsError extends ConnitoError {
  readonly file: string;
  readonly rule: SafetensorsRule;

  constructor(file: string, rule: SafetensorsRule, detail: string) {
    super(`${file} is not a valid safetensors file: ${rule}: ${detail}`, {
      code: "safetensors-invalid",
      exit: "invalidInput",
      hint: "Fetch or write the file again, and check it with the program that made it.",
    });
    this.file = file;
    this.rule = rule;
  }
}

export interface TensorEntry {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** From the start of the file. */
  readonly offset: number;
  readonly bytes: number;
}

export interface SafetensorsHeader {
  /** In the order of the header. */
  readonly tensors: Map<string, TensorEntry>;
  readonly metadata: Map<string, string>;
}

const loneSurrogate = /\p{Surrogate}/u;

/**
 * Checks the header (the JSON after the eight bytes of length) of a file of `fileBytes` and every rule about its data section.
 * Throws SafetensorsError.
 */
export function parseHeader(json: Uint8Array, fileBytes: number, file = "the file"): SafetensorsHeader {
  const fail = (rule: SafetensorsRule, detail: string): never => {
    throw new SafetensorsError(file, rule, detail);
  };
  if (json[0] !== 0x7b) fail("header-start", "the header does not begin with {");
  let text = "";
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json);
  } catch {
    fail("header-utf8", "the header is not UTF-8");
  }

  let at = 0;
  const unexpected = (wanted: string): never => fail("header-json", `expected ${wanted} at character ${at}`);
  const skip = () => {
    for (;;) {
      const code = text.charCodeAt(at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      at++;
    }
  };
  const accept = (character: string): boolean => {
    skip();
    if (text[at] !== character) return false;
    at++;
    return true;
  };
  const expect = (character: string) => {
    if (!accept(character)) unexpected(character);
  };
  const string = (): string => {
    expect('"');
    const start = at;
    let plain = true;
    for (; ; at++) {
      const code = text.charCodeAt(at);
      if (code === 0x22) break;
      if (Number.isNaN(code) || code < 0x20) unexpected("the end of a string");
      if (code === 0x5c) {
        plain = false;
        at++;
      }
    }
    at++;
    if (plain) return text.slice(start, at - 1);
    let value = "";
    try {
      value = JSON.parse(text.slice(start - 1, at)) as string;
    } catch {
      fail("header-json", `a malformed escape in the string at character ${start}`);
    }
    if (loneSurrogate.test(value)) fail("header-json", `a lone surrogate in the string at character ${start}`);
    return value;
  };
  /** A JSON integer without sign, fraction or exponent that a double holds exactly; undefined for anything else. */
  const integer = (): number | undefined => {
    skip();
    const start = at;
    let value = 0;
    for (;;) {
      const digit = text.charCodeAt(at) - 0x30;
      if (!(digit >= 0 && digit <= 9)) break;
      if (at > start && value === 0) return undefined;
      value = value * 10 + digit;
      if (value > Number.MAX_SAFE_INTEGER) return undefined;
      at++;
    }
    if (at === start || ".eE".includes(text.charAt(at) || "-")) return undefined;
    return value;
  };
  const duplicate = (key: string, what: string): never => fail("duplicate-key", `${JSON.stringify(shorten(key))} twice in ${what}`);
  /** The members of an object, each value read by `read`, which knows what must stand there and whether the key was there before. */
  const object = (read: (key: string) => void) => {
    expect("{");
    if (accept("}")) return;
    do {
      skip();
      const key = string();
      expect(":");
      skip();
      read(key);
    } while (accept(","));
    expect("}");
  };
  const integers = (rule: "shape-integers" | "offsets-integers", most: number, tensor: string): number[] => {
    const values: number[] = [];
    const name = rule === "shape-integers" ? "shape" : "data_offsets";
    if (!accept("[")) fail(rule, `${name} of ${shorten(tensor)} is no list`);
    if (accept("]")) return values;
    do {
      const value = integer();
      if (value === undefined) return fail(rule, `${name} of ${shorten(tensor)} holds something else than a whole number below 2^53`);
      if (values.length === most)
        fail(rule === "shape-integers" ? "shape-rank" : rule, `${name} of ${shorten(tensor)} has more than ${most} numbers`);
      values.push(value);
    } while (accept(","));
    if (!accept("]")) fail(rule, `${name} of ${shorten(tensor)} holds something else than whole numbers`);
    return values;
  };

  const dataStart = 8 + json.length;
  const dataBytes = fileBytes - dataStart;
  const tensors = new Map<string, TensorEntry>();
  const metadata = new Map<string, string>();

  const entry = (name: string) => {
    let dtype: Dtype | undefined;
    let shape: number[] | undefined;
    let offsets: number[] | undefined;
    if (tensors.has(name)) duplicate(name, "the header");
    if (text[at] !== "{") fail("entry-fields", `${shorten(name)} is no object`);
    object((key) => {
      if (key === "dtype") {
        if (dtype !== undefined) duplicate(key, shorten(name));
        const value = text[at] === '"' ? string() : fail("dtype-unknown", `the dtype of ${shorten(name)} is no string`);
        dtype = isDtype(value) ? value : fail("dtype-unknown", `${shorten(name)} has dtype ${JSON.stringify(shorten(value))}`);
      } else if (key === "shape") {
        if (shape !== undefined) duplicate(key, shorten(name));
        shape = integers("shape-integers", maximumRank, name);
      } else if (key === "data_offsets") {
        if (offsets !== undefined) duplicate(key, shorten(name));
        offsets = integers("offsets-integers", 2, name);
      } else fail("entry-fields", `${shorten(name)} has a field ${JSON.stringify(shorten(key))}`);
    });
    if (dtype === undefined || shape === undefined || offsets === undefined) {
      return fail("entry-fields", `${shorten(name)} lacks dtype, shape or data_offsets`);
    }
    const [begin, end] = offsets;
    if (begin === undefined || end === undefined) return fail("offsets-integers", `data_offsets of ${shorten(name)} are not two numbers`);
    if (begin > end) fail("offsets-order", `${shorten(name)} ends at ${end}, before its begin ${begin}`);
    if (end > dataBytes) fail("offsets-beyond-data", `${shorten(name)} ends at ${end}, the data at ${dataBytes}`);
    const bytes = bytesOf(dtype, shape);
    if (bytes === undefined) return fail("size-overflow", `${shorten(name)} of ${dtype} [${shape}] has no exact number of bytes`);
    if (bytes !== end - begin) {
      fail("size-mismatch", `${shorten(name)} of ${dtype} [${shape}] has ${bytes} bytes, its offsets span ${end - begin}`);
    }
    if (tensors.size === maximumTensors) fail("too-many-tensors", `more than ${maximumTensors} tensors`);
    tensors.set(name, { dtype, shape: sharedShape(shape), offset: dataStart + begin, bytes });
  };

  let hasMetadata = false;
  object((key) => {
    if (key !== "__metadata__") return entry(key);
    if (hasMetadata) duplicate(key, "the header");
    hasMetadata = true;
    if (text[at] !== "{") fail("metadata-strings", "__metadata__ is no object");
    object((name) => {
      if (metadata.has(name)) duplicate(name, key);
      if (text[at] !== '"') fail("metadata-strings", `__metadata__ ${JSON.stringify(shorten(name))} is no string`);
      if (metadata.size === maximumTensors) fail("too-many-strings", `more than ${maximumTensors} strings in __metadata__`);
      metadata.set(name, string());
    });
  });
  for (; at < text.length; at++) {
    if (text.charCodeAt(at) !== 0x20) fail("header-padding", `something else than spaces after the header's end, at character ${at}`);
  }

  let covered = dataStart;
  for (const [name, tensor] of [...tensors].sort(([, a], [, b]) => a.offset - b.offset || a.bytes - b.bytes)) {
    if (tensor.offset < covered) fail("overlap", `${shorten(name)} begins inside the tensor before it`);
    if (tensor.offset > covered) fail("hole", `${tensor.offset - covered} bytes before ${shorten(name)} belong to no tensor`);
    covered = tensor.offset + tensor.bytes;
  }
  if (covered !== fileBytes) fail("data-uncovered", `${fileBytes - covered} bytes at the file's end belong to no tensor`);
  return { tensors, metadata };
}

function shorten(text: string): string {
  return text.length <= 120 ? text : `${text.slice(0, 117)}...`;
}
