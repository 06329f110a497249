/**
 * A tokenizer.json that any reader of the format takes: byte-level BPE without merges, one token a byte and one that ends a text. It
 * encodes every text, and needs no training.
 */

/** The tokens' names in the byte-level scheme: printable Latin-1 bytes name themselves, the others take the code points from 256. */
function byteNames(): string[] {
  const printable = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : next++));
}

export const endOfText = "<|endoftext|>";
/** Token ids 0 to 255 are bytes, this one is `endOfText`. */
export const endOfTextId = 256;
export const byteVocabularySize = 257;

export function byteTokenizer(): Record<string, unknown> {
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: true };
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [
      { id: endOfTextId, content: endOfText, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
    ],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries([...byteNames(), endOfText].map((name, id) => [name, id])),
      merges: [],
    },
  };
}

/** The tokenizer_config.json beside it: decoding gives back the very text. */
export function byteTokenizerConfig(): Record<string, unknown> {
  return {
    tokenizer_class: "PreTrainedTokenizerFast",
    clean_up_tokenization_spaces: false,
    bos_token: endOfText,
    eos_token: endOfText,
    pad_token: endOfText,
  };
}
