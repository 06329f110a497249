/**
 * Reading the JSON of a manifest one piece at a time: as a whole, the text and the values of a hundred thousand pieces would take several
 * times the memory of what is kept of them. Nothing here knows what a piece is; whoever reads checks each as it comes.
 */
import { ConnitoError } from "../errors.ts";

const quote = 0x22;
const backslash = 0x5c;
const [openBrace, closeBrace, openBracket, closeBracket] = [0x7b, 0x7d, 0x5b, 0x5d];
const [comma, colon] = [0x2c, 0x3a];
const piecesKey = new TextEncoder().encode("pieces");

/**
 * The document as a value, its member `pieces`, where that is a list, having gone through `readPiece` item by item.
 * Throws `manifest-invalid` for what is no JSON in UTF-8, and what `readPiece` throws.
 */
export function readDocument<Piece>(bytes: Uint8Array, readPiece: (value: unknown, index: number) => Piece): unknown {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const parse = (text: string): unknown => {
    try {
      return JSON.parse(text);
    } catch {
      throw notJson();
    }
  };
  const decode = (from: number, to: number): string => {
    try {
      return decoder.decode(bytes.subarray(from, to));
    } catch {
      throw notJson();
    }
  };

  const first = findList(bytes);
  if (first === undefined) {
    const document = parse(decode(0, bytes.length)) as { pieces?: unknown } | null;
    // A list under a name that is spelled with escapes would go unread.
    if (Array.isArray(document?.pieces)) throw notJson();
    return document;
  }
  const pieces: Piece[] = [];
  let at = first;
  for (;;) {
    at = skipSpace(bytes, at);
    if (bytes[at] === closeBracket && pieces.length === 0) break;
    const end = endOfValue(bytes, at);
    pieces.push(readPiece(parse(decode(at, end)), pieces.length));
    at = skipSpace(bytes, end);
    if (bytes[at] === closeBracket) break;
    if (bytes[at] !== comma) throw notJson();
    at++;
  }
  const document = parse(`${decode(0, first)}"read"${decode(at, bytes.length)}`) as { pieces?: unknown };
  // The list that was read is the one that counts: no other of that name stands after it.
  if (!Array.isArray(document.pieces) || document.pieces[0] !== "read") throw notJson();
  document.pieces = pieces;
  return document;
}

/** Where the first item of the member `pieces` of the outermost object begins; undefined where there is none that is spelled plainly. */
function findList(bytes: Uint8Array): number | undefined {
  let depth = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === openBrace || byte === openBracket) depth++;
    else if (byte === closeBrace || byte === closeBracket) depth--;
    else if (byte === quote) {
      const end = endOfString(bytes, at);
      const isKey = depth === 1 && end - at - 2 === piecesKey.length && piecesKey.every((each, index) => bytes[at + 1 + index] === each);
      at = end - 1;
      if (!isKey) continue;
      const after = skipSpace(bytes, end);
      const value = skipSpace(bytes, after + 1);
      if (bytes[after] === colon && bytes[value] === openBracket) return value + 1;
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
  throw notJson();
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
  throw notJson();
}

function skipSpace(bytes: Uint8Array, at: number): number {
  let index = at;
  while (bytes[index] === 0x20 || bytes[index] === 0x0a || bytes[index] === 0x0d || bytes[index] === 0x09) index++;
  return index;
}

function notJson(): ConnitoError {
  return new ConnitoError("not a manifest: not JSON in UTF-8", {
    code: "manifest-invalid",
    exit: "verification",
    hint: "Fetch the manifest from another source.",
  });
}
