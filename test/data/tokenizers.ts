/**
 * Tokenizers of the three common makes, trained here on a few words so that no vocabulary has to be stored: byte-level with GPT-2's
 * splitting, byte-level with the splitting of newer models (lines' ends join the punctuation before them), and SentencePiece's.
 */
import { byteTokenizer } from "../../src/model/byte-tokenizer.ts";

type Document = Record<string, unknown> & { model: Record<string, unknown> & { vocab: Record<string, number> } };

const gpt2 = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;
const newer =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

export const json = (document: unknown): Uint8Array => Buffer.from(JSON.stringify(document), "utf8");

export function bytePairs(text: string, merges: number): Document {
  const document = byteTokenizer() as Document;
  const characters = Object.keys(document.model.vocab).slice(0, 256);
  const words = (text.match(gpt2) ?? []).map((word) => Array.from(Buffer.from(word, "utf8"), (byte) => characters[byte] as string));
  return withMerges(document, learn(words, merges));
}

export function newerBytePairs(text: string, merges: number): Document {
  return {
    ...bytePairs(text, merges),
    normalizer: { type: "NFC" },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: newer }, behavior: "Isolated", invert: false },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false },
      ],
    },
  };
}

/** Space is a character of the words, one stands before every text, and nothing splits the text before it is merged. */
export function sentencePiece(text: string, merges: number): Document {
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
  const words = text.split(" ").map((word) => ["▁", ...word]);
  const vocab: Record<string, number> = Object.fromEntries(["<unk>", ...bytes].map((token, id) => [token, id]));
  for (const character of new Set(words.flat())) vocab[character] ??= Object.keys(vocab).length;
  const document = {
    ...byteTokenizer(),
    added_tokens: [],
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "▁" },
        { type: "Replace", pattern: { String: " " }, content: "▁" },
      ],
    },
    pre_tokenizer: null,
    model: { type: "BPE", unk_token: "<unk>", fuse_unk: true, byte_fallback: true, vocab, merges: [] as string[] },
  };
  return withMerges(document as Document, learn(words, merges));
}

function withMerges(document: Document, pairs: readonly (readonly [string, string])[]): Document {
  const vocab = { ...document.model.vocab };
  for (const [left, right] of pairs) vocab[left + right] ??= Object.keys(vocab).length;
  return { ...document, model: { ...document.model, vocab, merges: pairs.map((pair) => pair.join(" ")) } };
}

/** Byte-pair encoding as it was published: join the most frequent pair, again and again. */
function learn(words: readonly string[][], merges: number): [string, string][] {
  const counts = new Map<string, { word: string[]; count: number }>();
  for (const word of words) {
    const key = word.join("\0");
    const entry = counts.get(key) ?? { word, count: 0 };
    counts.set(key, { word, count: entry.count + 1 });
  }
  const vocabulary = [...counts.values()];
  const learned: [string, string][] = [];
  while (learned.length < merges) {
    const pairs = new Map<string, number>();
    for (const { word, count } of vocabulary) {
      for (let at = 0; at + 1 < word.length; at++) {
        const pair = `${word[at]}\0${word[at + 1]}`;
        pairs.set(pair, (pairs.get(pair) ?? 0) + count);
      }
    }
    const best = [...pairs].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))[0];
    if (best === undefined) break;
    const [left, right] = best[0].split("\0") as [string, string];
    learned.push([left, right]);
    for (const entry of vocabulary) {
      const joined: string[] = [];
      for (const part of entry.word) {
        if (part === right && joined.at(-1) === left) joined[joined.length - 1] = left + right;
        else joined.push(part);
      }
      entry.word = joined;
    }
  }
  return learned;
}
