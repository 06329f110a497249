/**
 * Where a text may be cut in two so that the tokens of the parts, put together, are those of the whole.
 *
 * Tokenizers look at words: no token of the usual ones reaches from one word across a single space into the next. But they treat the
 * space differently (most byte-level ones keep it as the start of the next word; SentencePiece's put one before every text, so that it
 * must be left out), and some do join what looks separate. So each place is tried before it is used: the surroundings encoded whole must equal their two halves encoded apart.
 */

export interface Cut {
  /** The first part ends before this character. */
  readonly end: number;
  /** The second begins with this one: `end`, or one later where the space between is left out. */
  readonly next: number;
}

/** Characters on either side of a place that are encoded to try it: several words. */
export const surroundings = 64;
/** Places tried in one search: a tokenizer that joins words at one of them does so nearly everywhere. */
const attempts = 8;

const letter = /\p{L}/u;

/**
 * The last usable cut of a text at or after `from` that leaves a few words behind it, or undefined when there is none.
 * Time is linear in the length searched.
 */
export function findCut(text: string, from: number, encode: (text: string) => Int32Array): Cut | undefined {
  let tried = 0;
  for (let at = text.length - surroundings; at > Math.max(from, 0) && tried < attempts; at--) {
    const candidates = candidatesAt(text, at);
    if (candidates.length > 0) tried += 1;
    for (const candidate of candidates) if (changesNothing(text, candidate, encode)) return candidate;
  }
  return undefined;
}

/** Before or after a space between two letters; after a line's end before a letter. Single ones only: a tokenizer may count a run of space. */
function candidatesAt(text: string, at: number): Cut[] {
  const between = text[at];
  if (between !== " " && between !== "\n") return [];
  const before = text[at - 1] ?? "";
  if (!letter.test(text[at + 1] ?? "")) return [];
  if (between === "\n") return /\S/.test(before) ? [{ end: at + 1, next: at + 1 }] : [];
  if (!letter.test(before)) return [];
  return [
    { end: at, next: at },
    { end: at, next: at + 1 },
  ];
}

function changesNothing(text: string, cut: Cut, encode: (text: string) => Int32Array): boolean {
  const start = wholeCharacter(text, Math.max(0, cut.end - surroundings));
  const stop = wholeCharacter(text, Math.min(text.length, cut.next + surroundings));
  const whole = encode(text.slice(start, stop));
  const left = encode(text.slice(start, cut.end));
  const right = encode(text.slice(cut.next, stop));
  if (whole.length !== left.length + right.length) return false;
  return left.every((token, index) => token === whole[index]) && right.every((token, index) => token === whole[left.length + index]);
}

/** The position itself, or the next where it lies between the halves of a surrogate pair. */
function wholeCharacter(text: string, at: number): number {
  const code = text.charCodeAt(at);
  return code >= 0xdc00 && code <= 0xdfff ? at + 1 : at;
}
