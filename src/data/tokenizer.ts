/**
 * Text to tokens, by the `tokenizer.json` of a checkpoint (the format of Hugging Face's tokenizers). Special tokens are
 * recognised where they stand in the text and never added. Text of any length is encoded in time linear in its length: it is cut where
 * cutting changes no token (cuts.ts), so what comes out does not depend on how the text came in.
 */
import { ConnitoError } from "../errors.ts";
import { findCut, surroundings } from "./cuts.ts";
import { createWordEncoder, cuttingDocument, type WordCutter } from "./word-encoder.ts";

export interface Tokenizer {
  /** One more than the largest token that can come out. */
  readonly vocabularySize: number;
  /** The tokens of a whole text. */
  encode(text: string): Int32Array;
  /** Encodes a text that arrives in parts. */
  stream(): TokenStream;
}

export interface TokenStream {
  /** Takes the next part of the text, and gives the tokens that are certain by now. */
  push(text: string): Int32Array;
  /** The tokens of what is left. */
  end(): Int32Array;
}

/** The largest known (a vocabulary of 262,144) takes 33 MB. */
const maximumBytes = 128 * 1024 * 1024;

/** A part is encoded when it has this many characters, or as soon after as it can be cut. */
const partCharacters = 32 * 1024;

interface AddedToken {
  readonly id: number;
  readonly content: string;
}

/** Reads a tokenizer.json. Errors: tokenizer-invalid. */
export async function loadTokenizer(bytes: Uint8Array): Promise<Tokenizer> {
  if (bytes.byteLength > maximumBytes) throw invalid(`it has ${bytes.byteLength} bytes, more than ${maximumBytes}`);
  let document: unknown;
  try {
    document = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw invalid("it is not JSON", cause);
  }
  const { addedTokens, vocabularySize } = describe(document);
  const contents = addedTokens.map(({ content }) => content);
  const isPlain = (text: string) => !contents.some((content) => text.includes(content));
  const { general, words } = await libraryEncoders(document as Record<string, unknown>, vocabularySize, isPlain);
  const table = byteTable(document);
  const fast = table === undefined ? words : (text: string) => encodeBytes(table, text);
  const encodePart = (text: string) => (isPlain(text) ? fast(text) : general(text));
  return {
    vocabularySize,
    encode: (text) => {
      const stream = createStream(encodePart);
      // A part at a time, so that no part is searched for a cut twice.
      const parts: Int32Array[] = [];
      for (let at = 0; at < text.length; at += partCharacters) parts.push(stream.push(text.slice(at, at + partCharacters)));
      return concatenate([...parts, stream.end()]);
    },
    stream: () => createStream(encodePart),
  };
}

/** Encodes a text part by part with `encodePart`, cutting where that changes nothing. */
export function createStream(encodePart: (text: string) => Int32Array): TokenStream {
  /** Text in which no cut was found; not joined before it is needed, so that a text without any cut costs no more than another. */
  let held: string[] = [];
  let tail = "";
  /** Up to here `tail` was searched. */
  let searched = 0;
  const nothing = new Int32Array(0);
  return {
    push: (text) => {
      tail += text;
      if (tail.length < partCharacters) return nothing;
      const cut = findCut(tail, searched, encodePart);
      if (cut === undefined) {
        held.push(tail.slice(0, -2 * surroundings));
        tail = tail.slice(-2 * surroundings);
        searched = surroundings;
        return nothing;
      }
      const tokens = encodePart(held.join("") + tail.slice(0, cut.end));
      held = [];
      tail = tail.slice(cut.next);
      searched = 0;
      return tokens;
    },
    end: () => {
      const tokens = encodePart(held.join("") + tail);
      held = [];
      tail = "";
      searched = 0;
      return tokens;
    },
  };
}

/** What is needed of the document besides what the library reads. */
function describe(document: unknown): { addedTokens: AddedToken[]; vocabularySize: number } {
  if (!isObject(document) || !isObject(document.model)) throw invalid("it has no model");
  const { type } = document.model;
  // The library takes a type that it does not know for a plain list of words.
  if (typeof type !== "string" || !["BPE", "Unigram", "WordPiece"].includes(type)) throw invalid("its model is of an unknown type");
  const addedTokens = document.added_tokens ?? [];
  if (!Array.isArray(addedTokens) || !addedTokens.every(isAddedToken)) throw invalid("its added_tokens are malformed");
  // BPE and WordPiece keep {token: id}; Unigram a list of [token, score], where the place is the id.
  const { vocab } = document.model;
  const ids = Array.isArray(vocab) ? [...vocab.keys()] : isObject(vocab) ? Object.values(vocab) : undefined;
  if (ids === undefined) throw invalid("its model has no vocab");
  let largest = -1;
  for (const id of [...ids, ...addedTokens.map((token) => token.id)]) {
    if (!Number.isInteger(id) || (id as number) < 0 || (id as number) >= 2 ** 31) throw invalid("a token's id is no whole number");
    if ((id as number) > largest) largest = id as number;
  }
  return { addedTokens, vocabularySize: largest + 1 };
}

interface LibraryEncoders {
  /** The library's own encoding of one part. It decides what a token is; the rest of this file only feeds it. */
  readonly general: (text: string) => Int32Array;
  /** The same for a text without special tokens, word by word where the tokenizer allows it. */
  readonly words: (text: string) => Int32Array;
}

async function libraryEncoders(
  document: Record<string, unknown>,
  vocabularySize: number,
  isPlain: (text: string) => boolean,
): Promise<LibraryEncoders> {
  const { Tokenizer: Library } = await import("@huggingface/tokenizers");
  const open = (content: object) => {
    try {
      return new Library(content, {});
    } catch (cause) {
      throw invalid(cause instanceof Error ? cause.message : "it cannot be read", cause);
    }
  };
  const library = open(document);
  const general = (text: string) => {
    const { ids } = library.encode(text, { add_special_tokens: false });
    // A token that the vocabulary does not have would come out as undefined, and as 0 in an integer array.
    if (!ids.every((id: unknown) => Number.isInteger(id) && (id as number) < vocabularySize))
      throw invalid("it has no token for a part of the text");
    return Int32Array.from(ids);
  };
  const cutting = cuttingDocument(document);
  return { general, words: cutting === undefined ? general : createWordEncoder(open(cutting) as unknown as WordCutter, general, isPlain) };
}

/**
 * For a tokenizer whose tokens are the 256 bytes and nothing else (byte-level BPE without merges): the token of each byte. Such a one
 * needs no regular expressions and no merging, which is what takes the time in the general way: one table look-up a byte gives the same.
 */
function byteTable(document: unknown): Int32Array | undefined {
  if (!isObject(document) || !isObject(document.model) || !isObject(document.pre_tokenizer)) return undefined;
  const { model, pre_tokenizer: splitter, normalizer } = document;
  if (model.type !== "BPE" || !Array.isArray(model.merges) || model.merges.length > 0 || !isObject(model.vocab)) return undefined;
  if (splitter.type !== "ByteLevel" || splitter.add_prefix_space === true || (normalizer ?? null) !== null) return undefined;
  if (model.end_of_word_suffix || model.continuing_subword_prefix || model.continuing_subword_suffix) return undefined;
  const table = new Int32Array(256);
  for (const [byte, character] of byteCharacters().entries()) {
    const id = Object.hasOwn(model.vocab, character) ? model.vocab[character] : undefined;
    if (typeof id !== "number") return undefined;
    table[byte] = id;
  }
  return table;
}

/**
 * The character that stands for each byte in a byte-level vocabulary, as GPT-2 has it: printable bytes of Latin-1
 * stand for themselves, the others, in order, for the characters from U+0100 on.
 */
function byteCharacters(): string[] {
  let others = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCharCode(printable ? byte : others++);
  });
}

function encodeBytes(table: Int32Array, text: string): Int32Array {
  const bytes = Buffer.from(text, "utf8");
  const tokens = new Int32Array(bytes.length);
  for (let index = 0; index < bytes.length; index++) tokens[index] = table[bytes[index] as number] as number;
  return tokens;
}

function concatenate(parts: readonly Int32Array[]): Int32Array {
  const whole = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isAddedToken(value: unknown): value is AddedToken {
  return isObject(value) && typeof value.content === "string" && value.content !== "" && typeof value.id === "number";
}

function invalid(reason: string, cause?: unknown): ConnitoError {
  return new ConnitoError(`The checkpoint's tokenizer.json cannot be used: ${reason}`, {
    code: "tokenizer-invalid",
    exit: "invalidInput",
    hint: "It must be in the format of Hugging Face's tokenizers and cover the text: fetch or make the checkpoint again.",
    cause,
  });
}
