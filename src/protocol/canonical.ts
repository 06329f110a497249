/**
 * Documents are addressed by the hash of their canonical JSON (RFC 8785). The value must be plain JSON data to the last leaf: what
 * JSON would drop or turn into something else (undefined, NaN, typed arrays, a Map, a lone surrogate) is refused, because two
 * participants would then agree on a hash of something neither of them meant.
 */
import canonicalize from "canonicalize";
import { ConnitoError } from "../errors.ts";
import { type Hash, sha256, toHex, utf8 } from "./hash.ts";

const deepest = 64;
const loneSurrogate = /\p{Surrogate}/u;

function refuse(path: string, what: string): never {
  throw new ConnitoError(`${path === "" ? "The document" : path} is ${what}, which JSON cannot carry`, {
    code: "document-not-json",
    exit: "invalidInput",
    hint: "Use only null, booleans, finite numbers, well-formed text, arrays and plain objects.",
  });
}

function assertJson(value: unknown, path: string, depth: number): void {
  if (depth > deepest) refuse(path, `nested deeper than ${deepest} levels`);
  if (value === null || typeof value === "boolean") return;
  if (typeof value === "number") {
    if (!Number.isFinite(value)) refuse(path, String(value));
  } else if (typeof value === "string") {
    if (loneSurrogate.test(value)) refuse(path, "text with a lone surrogate");
  } else if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) assertJson(value[index], `${path}[${index}]`, depth + 1);
  } else if (typeof value === "object") {
    const prototype = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null) refuse(path, `a ${value.constructor?.name ?? "special object"}`);
    if (Object.hasOwn(value, "toJSON") && typeof (value as { toJSON: unknown }).toJSON === "function")
      refuse(path, "an object with toJSON");
    for (const [key, item] of Object.entries(value)) {
      if (loneSurrogate.test(key)) refuse(path, "an object with a lone surrogate in a name");
      assertJson(item, path === "" ? key : `${path}.${key}`, depth + 1);
    }
  } else {
    refuse(path, typeof value);
  }
}

/** RFC 8785 bytes of a JSON value. Throws `document-not-json` naming the path of the first value that is not JSON. */
export function canonicalJson(value: unknown): Uint8Array {
  assertJson(value, "", 0);
  return utf8(canonicalize(value) as string);
}

/** The address of a document: SHA-256 of its canonical JSON. */
export function documentHash(value: unknown): Hash {
  return toHex(sha256(canonicalJson(value)));
}
