import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { readSequences, readText } from "../../src/data/text.ts";
import { byteTokenizer } from "../../src/model/byte-tokenizer.ts";
import { json } from "./tokenizers.ts";

const tokenizer = json(byteTokenizer());

describe("data/text", () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-text-"));
  });
  after(() => rm(directory, { recursive: true }));

  async function store(content: string | Uint8Array): Promise<string> {
    const file = join(directory, "text.txt");
    await writeFile(file, content);
    return file;
  }

  it("cuts a text in runs of one token more than the sequence length, and drops the last, short one", async () => {
    const file = await store("abcdefghijk");
    const { sequences } = await readSequences({ file, tokenizer, sequenceLength: 3 });
    assert.deepEqual(
      sequences.map((sequence) => Buffer.from(sequence).toString()),
      ["abcd", "efgh"],
    );
  });

  it("keeps every token in order, whatever the lengths", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: "binary", minLength: 1, maxLength: 300 }),
        fc.integer({ min: 1, max: 40 }),
        async (text, sequenceLength) => {
          const bytes = Buffer.from(text, "utf8");
          const run = sequenceLength + 1;
          fc.pre(bytes.length >= run);
          const { sequences } = await readSequences({ file: await store(text), tokenizer, sequenceLength });
          assert.ok(sequences.every((sequence) => sequence.length === run));
          assert.deepEqual(
            sequences.flatMap((sequence) => [...sequence]),
            [...bytes.subarray(0, Math.floor(bytes.length / run) * run)],
          );
        },
      ),
      { numRuns: 50 },
    );
  });

  it("reads a text that is longer than what is read at once, with characters across the seams", async () => {
    // Three bytes each: 65,536 is no multiple of three.
    const text = `${"a".repeat(70_001)}${"→".repeat(60_000)} and so on`;
    const file = await store(text);
    let read = "";
    let parts = 0;
    for await (const part of readText(file)) {
      read += part;
      parts += 1;
    }
    assert.equal(read, text);
    assert.ok(parts > 2);
    const { sequences } = await readSequences({ file, tokenizer, sequenceLength: 1023 });
    assert.equal(sequences.length, Math.floor(Buffer.byteLength(text) / 1024));
  });

  it("stops after as many sequences as asked for", async () => {
    const file = await store(`${"word ".repeat(50_000)}\n`);
    const all = await readSequences({ file, tokenizer, sequenceLength: 99 });
    const some = await readSequences({ file, tokenizer, sequenceLength: 99, maximumSequences: 7 });
    assert.equal(all.sequences.length, 2500);
    assert.deepEqual(some.sequences, all.sequences.slice(0, 7));
  });

  it("keeps a byte-order mark and odd spaces: they are text", async () => {
    const { sequences } = await readSequences({ file: await store("\uFEFFa\r\n\u2028b"), tokenizer, sequenceLength: 9 });
    assert.deepEqual(sequences, [Int32Array.from(Buffer.from("\uFEFFa\r\n\u2028b", "utf8"))]);
  });

  describe("refuses", () => {
    it("what is not UTF-8, and says where", async () => {
      const good = Buffer.alloc(100_000, "a");
      const cases: Record<string, Buffer> = {
        "bytes 0 to 3": Buffer.from([0x61, 0xff, 0x61]),
        "bytes 65536 to": Buffer.concat([good, Buffer.from([0xc0, 0x80]), good]),
        "bytes 65536 to 100003": Buffer.concat([good, Buffer.from([0xed, 0xa0, 0x80])]),
        "ends inside a character": Buffer.concat([good, Buffer.from([0xe2, 0x86])]),
      };
      for (const [place, bytes] of Object.entries(cases)) {
        const reading = readSequences({ file: await store(bytes), tokenizer, sequenceLength: 1 });
        await assert.rejects(reading, (error: { code: string; message: string; exit: number }) => {
          assert.deepEqual([error.code, error.exit], ["text-not-utf8", 13]);
          assert.ok(error.message.includes(place), error.message);
          return true;
        });
      }
    });

    it("too short a text", async () => {
      const short = { code: "text-too-short", exit: 13 };
      await assert.rejects(readSequences({ file: await store("abc"), tokenizer, sequenceLength: 3 }), {
        ...short,
        message: /has 3 tokens, fewer than one sequence of 4/,
      });
      await assert.rejects(readSequences({ file: await store(""), tokenizer, sequenceLength: 1 }), short);
    });

    it("a text that is not there, and a directory", async () => {
      const missing = join(directory, "missing.txt");
      await assert.rejects(readSequences({ file: missing, tokenizer, sequenceLength: 3 }), { code: "text-missing", exit: 13 });
      await assert.rejects(readSequences({ file: directory, tokenizer, sequenceLength: 3 }), { code: "text-unreadable", exit: 50 });
    });

    it("to go on once its signal fired", async () => {
      const abort = new AbortController();
      abort.abort(new Error("enough"));
      const file = await store("abcdef");
      await assert.rejects(readSequences({ file, tokenizer, sequenceLength: 1, signal: abort.signal }), { message: "enough" });
    });
  });
});
