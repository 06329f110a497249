/**
 * Running text as documents: passages. A passage ends behind an empty line, or, where no empty line comes for long, behind a sentence.
 * Nothing is taken away or added: the passages of a file, put together, are the file.
 */
import { sourceMalformed } from "./errors.ts";

/** Characters of the longest passage. */
const longestPassage = 4096;
const emptyLines = /\n(?:[ \t\r]*\n)+/g;

/** Cuts a text that arrives in parts; where it is cut does not depend on the parts. */
export async function* passages(parts: AsyncIterable<string>): AsyncGenerator<string[]> {
  let pending = "";
  for await (const part of parts) {
    pending += part;
    const found: string[] = [];
    let at = 0;
    for (let end = passageEnd(pending, at); end !== undefined; end = passageEnd(pending, at)) {
      found.push(pending.slice(at, end));
      at = end;
    }
    pending = pending.slice(at);
    if (found.length > 0) yield found;
  }
  if (pending !== "") yield [pending];
}

/** Where the passage that begins at `at` ends, or undefined while more text could change that. */
function passageEnd(text: string, at: number): number | undefined {
  const window = text.slice(at, at + longestPassage);
  for (const match of window.matchAll(emptyLines)) {
    const end = match.index + match[0].length;
    const hasText = /\S/.test(window.slice(0, match.index));
    // Only what follows shows that the empty lines are at their end.
    if (hasText && /\S/.test(window.slice(end))) return at + end;
  }
  return text.length - at > longestPassage ? at + lastSentence(window) : undefined;
}

/** The end of the last sentence of a window, else of its last word, else of the window, but never inside a character. */
function lastSentence(window: string): number {
  const sentence = [...window.matchAll(/[.!?]["'”’)\]]*\s+/gu)].at(-1);
  if (sentence !== undefined) return sentence.index + sentence[0].length;
  const space = window.search(/\s\S*$/);
  if (space > 0) return space;
  const split = window.charCodeAt(window.length - 1);
  return split >= 0xd800 && split <= 0xdbff ? window.length - 1 : window.length;
}

/** UTF-8 bytes as text, in parts that break no character. A byte-order mark is kept: it is part of the text. */
export async function* decodeUtf8(location: string, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let read = 0;
  const decode = (place: string, bytes?: Uint8Array) => {
    try {
      return bytes === undefined ? decoder.decode() : decoder.decode(bytes, { stream: true });
    } catch (cause) {
      throw sourceMalformed(location, place, "not UTF-8 text; convert it first, for example with `iconv -f latin1 -t utf-8`", cause);
    }
  };
  for await (const bytes of chunks) {
    const text = decode(`bytes ${read} to ${read + bytes.length}`, bytes);
    read += bytes.length;
    if (text !== "") yield text;
  }
  decode("its end");
}
