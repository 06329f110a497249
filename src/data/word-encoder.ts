/**
 * The fast way for tokenizers that cut a text in words before they do anything else, as byte-level BPE does and with it nearly all
 * checkpoints: what becomes of a word does not depend on the words around it, and texts say the same words again and again. Each is encoded
 * by the library once. A word that would be cut otherwise when it stands alone shows that this tokenizer is not of that kind after all:
 * the part of the text is then left to the library.
 */

/** What the library's tokenizers are, as far as it is needed here. */
export interface WordCutter {
  readonly normalizer: ((text: string) => string) | null;
  readonly pre_tokenizer: ((text: string) => string[]) | null;
}

/** Words that are remembered, and room for their tokens and how many each has; when either is used up, remembering begins anew. */
const mostWords = 1 << 16;
const mostTokens = 1 << 19;
/** Longer ones hardly come again. */
const longestWord = 64;

/** How GPT-2, and a byte-level tokenizer that names no other way, cuts a text in words. */
const usualWords = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

const cuttingOnly = new Set(["Split", "Digits", "Punctuation"]);

/**
 * A tokenizer.json that only cuts, for the words of `document`; undefined where words are not all that its tokens depend on. It has the
 * steps of the pre-tokenizer up to the last, which spells bytes as characters and leaves words whole.
 */
export function cuttingDocument(document: Record<string, unknown>): Record<string, unknown> | undefined {
  const {
    model,
    normalizer,
    pre_tokenizer: splitter,
  } = document as Record<"model" | "normalizer" | "pre_tokenizer", Step | null | undefined>;
  if (model?.type !== "BPE" || (model["dropout"] ?? 0) !== 0 || ((normalizer ?? null) !== null && normalizer?.type !== "NFC"))
    return undefined;
  const steps = splitter?.type === "Sequence" ? (splitter["pretokenizers"] as readonly Step[]) : splitter ? [splitter] : [];
  const last = steps.at(-1);
  if (last?.type !== "ByteLevel" || last["add_prefix_space"] === true) return undefined;
  const cutting = steps.slice(0, -1);
  if (!cutting.every(({ type }) => cuttingOnly.has(type as string))) return undefined;
  const usual = { type: "Split", pattern: { Regex: usualWords }, behavior: "Isolated", invert: false };
  return {
    ...document,
    model: { type: "BPE", vocab: {}, merges: [] },
    added_tokens: [],
    pre_tokenizer: { type: "Sequence", pretokenizers: last["use_regex"] === false ? cutting : [...cutting, usual] },
  };
}

type Step = { readonly type?: unknown } & Readonly<Record<string, unknown>>;

/**
 * Encodes texts that hold no special token. `encode` is the library's way, `cutter` the tokenizer of a `cuttingDocument`; `isPlain` says
 * whether a text, once it is normalised, still holds no special token.
 */
export function createWordEncoder(
  { normalizer, pre_tokenizer: cut }: WordCutter,
  encode: (text: string) => Int32Array,
  isPlain: (text: string) => boolean,
): (text: string) => Int32Array {
  /** Where in `remembered` the count of a word's tokens stands, and behind it the tokens: an array for each word would take ten times the room. */
  let known = new Map<string, number>();
  const remembered = new Int32Array(mostTokens);
  let used = 0;

  function remember(word: string, tokens: Int32Array): void {
    if (word.length > longestWord) return;
    if (known.size === mostWords || used + 1 + tokens.length > mostTokens) {
      known = new Map();
      used = 0;
    }
    known.set(copyOf(word), used);
    remembered[used] = tokens.length;
    remembered.set(tokens, used + 1);
    used += 1 + tokens.length;
  }

  function tokensOf(word: string): Int32Array | undefined {
    const place = known.get(word);
    if (place !== undefined) return remembered.subarray(place + 1, place + 1 + (remembered[place] as number));
    const alone = cut?.(word);
    if (alone?.length !== 1 || alone[0] !== word) return undefined;
    const tokens = encode(word);
    remember(word, tokens);
    return tokens;
  }

  return (text) => {
    const normal = normalizer === null ? text : normalizer(text);
    if (normal !== text && !isPlain(normal)) return encode(text);
    let all = new Int32Array(Math.ceil(normal.length / 2) + 16);
    let length = 0;
    for (const word of cut?.(normal) ?? [normal]) {
      const tokens = tokensOf(word);
      if (tokens === undefined) return encode(text);
      if (length + tokens.length > all.length) {
        const larger = new Int32Array(2 * (length + tokens.length));
        larger.set(all);
        all = larger;
      }
      all.set(tokens, length);
      length += tokens.length;
    }
    return all.slice(0, length);
  };
}

/** The same string, but not as a part of the text that it was cut from, all of which V8 would keep as long as the word. */
function copyOf(word: string): string {
  return Buffer.from(word, "utf16le").toString("utf16le");
}
