/**
 * Reading JSON of which one member has a hundred thousand items, one item at a time: as a whole, the text and the values would take several times the
 * memory of what is kept of them. Nothing here knows what an item is; whoever reads checks each as it comes.
 */
import { randomBytes } from "node:crypto";

const quote = 0x22;
const backslash = 0x5c;
const [openBrace, closeBrace, openBracket, closeBracket] = [0x7b, 0x7d, 0x5b, 0x5d];
const [comma, colon] = [0x2c, 0x3a];

/** What is no JSON in UTF-8; whoever reads says of which file, and what to do. */
export class NotJson extends Error {
  constructor() {
    super("not JSON in UTF-8");
  }
}

export interface LargeMember {
  /** Of the outermost object. */
  readonly name: string;
  readonly kind: "list" | "object";
  /** Called with each item in turn, and with its key in an object or its number in a list. */
  readonly take: (value: unknown, key: string | number) => void;
}

export interface ReadDocument {
  /** The document; where the member was there, of its kind, an empty one of that kind stands in its place. */
  readonly document: unknown;
  /** Whether the items of the member were given to `take`. */
  readonly taken: boolean;
}

/** Reads the document, giving the items of one member to `take`. Throws NotJson, and what `take` throws. */
export function readLargeJson(bytes: Uint8Array, { name, kind, take }: LargeMember): ReadDocument {
  // A byte order mark is no JSON, and would be passed over before each item.
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const decode = (from: number, to: number): string => {
    try {
      return decoder.decode(bytes.subarray(from, to));
    } catch {
      throw new NotJson();
    }
  };
  const isOfKind = (value: unknown) => (kind === "list") === Array.isArray(value) && typeof value === "object" && value !== null;

  const first = findMember(bytes, name, kind);
  if (first === undefined) {
    const document = parse(decode(0, bytes.length)) as Record<string, unknown> | null;
    // One whose name is spelled with escapes would go unread.
    if (isOfKind(document?.[name])) throw new NotJson();
    return { document, taken: false };
  }
  const close = kind === "list" ? closeBracket : closeBrace;
  let count = 0;
  let at = first;
  for (;;) {
    at = skipSpace(bytes, at);
    if (bytes[at] === close && count === 0) break;
    let key: string | number = count;
    if (kind === "object") {
      if (bytes[at] !== quote) throw new NotJson();
      const end = endOfString(bytes, at);
      key = parse(decode(at, end)) as string;
      at = skipSpace(bytes, end);
      if (bytes[at] !== colon) throw new NotJson();
      at = skipSpace(bytes, at + 1);
    }
    const end = endOfValue(bytes, at);
    take(parse(decode(at, end)), key);
    count += 1;
    at = skipSpace(bytes, end);
    if (bytes[at] === close) break;
    if (bytes[at] !== comma) throw new NotJson();
    at++;
  }
  // What was taken is what counts: no other member of that name stands behind it, whatever is in it.
  const mark = randomBytes(16).toString("hex");
  const marked = kind === "list" ? `"${mark}"` : `"${mark}":0`;
  const document = parse(`${decode(0, first)}${marked}${decode(at, bytes.length)}`) as Record<string, unknown>;
  const left = document[name];
  if (!isOfKind(left)) throw new NotJson();
  const [found, ...others] = kind === "list" ? (left as unknown[]) : Object.keys(left as object);
  if (found !== mark || others.length > 0) throw new NotJson();
  document[name] = kind === "list" ? [] : {};
  return { document, taken: true };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new NotJson();
  }
}

/** Where the first item of a member of the outermost object begins; undefined where there is none of that kind whose name is spelled plainly. */
function findMember(bytes: Uint8Array, name: string, kind: LargeMember["kind"]): number | undefined {
  const wanted = new TextEncoder().encode(name);
  const open = kind === "list" ? openBracket : openBrace;
  let depth = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === openBrace || byte === openBracket) depth++;
    else if (byte === closeBrace || byte === closeBracket) depth--;
    else if (byte === quote) {
      const end = endOfString(bytes, at);
      const isKey = depth === 1 && end - at - 2 === wanted.length && wanted.every((each, index) => bytes[at + 1 + index] === each);
      at = end - 1;
      if (!isKey) continue;
      const after = skipSpace(bytes, end);
      const value = skipSpace(bytes, after + 1);
      if (bytes[after] === colon && bytes[value] === open) return value + 1;
    }
  }
  return undefined;
}

/** The end of the string that begins at `at`. */
function endOfString(bytes: Uint8Array, at: number): number {
  for (let index = at + 1; index < bytes.length; index++) {
    if (bytes[index] === backslash) index++;
    else if (bytes[index] === quote) return index + 1;
  }
  throw new NotJson();
}

/** The end of the object, list or plain value that begins at `at`. Whether it is well-formed inside is for the parser to say. */
function endOfValue(bytes: Uint8Array, at: number): number {
  let depth = 0;
  for (let index = at; index < bytes.length; index++) {
    const byte = bytes[index];
    if (byte === quote) index = endOfString(bytes, index) - 1;
    else if (byte === openBrace || byte === openBracket) depth++;
    else if (byte === closeBrace || byte === closeBracket) {
      if (depth === 0) return index;
      if (--depth === 0) return index + 1;
    } else if (byte === comma && depth === 0) return index;
  }
  throw new NotJson();
}

function skipSpace(bytes: Uint8Array, at: number): number {
  let index = at;
  while (bytes[index] === 0x20 || bytes[index] === 0x0a || bytes[index] === 0x0d || bytes[index] === 0x09) index++;
  return index;
}
