import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { documents } from "../../../src/data/sources/documents.ts";
import { passages } from "../../../src/data/sources/text.ts";

const fixture = (name: string) => new URL(`../fixtures/${name}.parquet`, import.meta.url).pathname;

describe("data/sources/documents", () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-documents-"));
  });
  after(() => rm(directory, { recursive: true }));

  async function read(path: string, format: "text" | "jsonl" | "parquet", template = "{text}"): Promise<string[]> {
    const found: string[] = [];
    for await (const texts of documents({ location: path, path, format, template, endOfText: true })) found.push(...texts);
    return found;
  }
  async function store(name: string, content: string | Uint8Array): Promise<string> {
    await writeFile(join(directory, name), content);
    return join(directory, name);
  }
  const malformed = (message: RegExp) => ({ code: "data-malformed", exit: 13, message });

  describe("Parquet that Arrow wrote", () => {
    const texts = Array.from({ length: 40 }, (_, i) =>
      i % 5 === 0 ? undefined : `Text ${i}: the whale → 鯨 🐋 ${"swims ".repeat(i % 4)}`,
    );
    const expected = texts.filter((text) => text !== undefined);

    for (const name of ["snappy-groups", "zstd-dictionary", "gzip-plain", "brotli", "lz4", "none-small-pages", "large-string"]) {
      it(`gives every row but the empty ones: ${name}`, async () => {
        assert.deepEqual(await read(fixture(name), "parquet"), expected);
      });
    }

    it("puts several columns into a template, nothing in place of a null", async () => {
      const rows = await read(fixture("snappy-groups"), "parquet", "# {title}\n{text}");
      const row = (i: number) => `# ${i % 7 === 0 ? "" : `Title ${i % 3}`}\n${texts[i] ?? ""}`;
      assert.deepEqual(
        rows,
        Array.from({ length: 40 }, (_, i) => i)
          .filter((i) => i % 35 !== 0)
          .map(row),
      );
    });

    it("refuses columns that are not there or hold no strings, bytes that are not UTF-8, and damage", async () => {
      await assert.rejects(read(fixture("brotli"), "parquet", "{body}"), malformed(/no column body; it has id, title, text/));
      await assert.rejects(read(fixture("brotli"), "parquet", "{id}"), malformed(/column id holds no strings/));
      await assert.rejects(read(fixture("not-utf8"), "parquet"), malformed(/rows 0 to 2/));
      const { readFile } = await import("node:fs/promises");
      const whole = await readFile(fixture("snappy-groups"));
      for (const broken of [whole.subarray(0, 1000), whole.subarray(10), Buffer.from("PAR1 nonsense PAR1"), Buffer.alloc(0)]) {
        await assert.rejects(read(await store("broken.parquet", broken), "parquet"), { code: "data-malformed" });
      }
    });
  });

  describe("JSON lines", () => {
    it("gives each line's text, over the seams of what is read at once", async () => {
      const lines = Array.from({ length: 3000 }, (_, i) => ({ id: i, text: `line ${i} → ${"word ".repeat(i % 200)}` }));
      const content = lines.map((line) => JSON.stringify(line)).join("\n");
      const expected = lines.map(({ text }) => text);
      assert.deepEqual(await read(await store("a.jsonl", content), "jsonl"), expected);
      assert.deepEqual(await read(await store("b.jsonl", `\uFEFF${content.replaceAll("\n", "\r\n\r\n")}\n\n`), "jsonl"), expected);
      assert.deepEqual(await read(await store("c.jsonl.gz", gzipSync(content)), "jsonl"), expected);
    });

    it("passes over lines without a text", async () => {
      const file = await store("empty.jsonl", '{"text":""}\n{"text":" \\n"}\n{"text":null}\n{"text":"one"}\n');
      assert.deepEqual(await read(file, "jsonl"), ["one"]);
    });

    it("names the line that is wrong", async () => {
      const wrong: [string | Uint8Array, RegExp][] = [
        ["{", /line 3: not JSON/],
        ["[1]", /line 3: not an object/],
        ['{"body":"x"}', /line 3: no field text; it has body/],
        ['{"text":7}', /line 3: its text is no string/],
        ['{"text":"\\ud800"}', /line 3: its text holds half of a surrogate pair/],
        [Uint8Array.of(0x22, 0xff), /line 3: not UTF-8/],
      ];
      for (const [line, message] of wrong) {
        const content = Buffer.concat([Buffer.from('{"text":"a"}\n\n'), Buffer.from(line as string), Buffer.from('\n{"text":"b"}\n')]);
        await assert.rejects(read(await store("wrong.jsonl", content), "jsonl"), malformed(message));
      }
    });

    it("says that a compressed file is damaged or cut short", async () => {
      const whole = gzipSync(Array.from({ length: 5000 }, (_, i) => `{"text":"${Math.sin(i)}"}\n`).join(""));
      for (const broken of [whole.subarray(0, whole.length / 2), Buffer.from("not gzip at all")])
        await assert.rejects(read(await store("broken.jsonl.gz", broken), "jsonl"), malformed(/compression/));
    });
  });

  describe("text", () => {
    async function cut(parts: readonly string[]): Promise<string[]> {
      const found: string[] = [];
      const arriving = async function* () {
        yield* parts;
      };
      for await (const texts of passages(arriving())) found.push(...texts);
      return found;
    }
    const word = fc.constantFrom("a", "bc. ", "\n", "\n\n", " ", "\t", "\r\n", "🐋", "word ".repeat(300), "x".repeat(5000), "end.\n \n");

    it("is put together again by its passages, wherever it was cut on the way", async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(word, { maxLength: 30 }),
          fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 9 }),
          async (words, lengths) => {
            const text = words.join("");
            const whole = await cut([text]);
            assert.equal(whole.join(""), text);
            assert.ok(whole.every((passage) => passage.length <= 4096 + 1));
            const parts: string[] = [];
            for (let at = 0, turn = 0; at < text.length; turn++) {
              const length = lengths[turn % lengths.length] as number;
              parts.push(text.slice(at, at + length));
              at += length;
            }
            assert.deepEqual(await cut(parts), whole);
          },
        ),
      );
    });

    it("has its passages end behind empty lines, and long ones behind a sentence", async () => {
      assert.deepEqual(await cut(["one\ntwo\n\n  three\n \t\r\n\nfour"]), ["one\ntwo\n\n", "  three\n \t\r\n\n", "four"]);
      const [long] = await cut(["A sentence stands here. ".repeat(400)]);
      assert.ok(long !== undefined && long.length > 3900 && long.length <= 4096 && long.endsWith("here. "));
      assert.ok((await cut(["🐋".repeat(9000)])).every((passage) => !/^[\udc00-\udfff]/.test(passage)));
    });

    it("that is not UTF-8 is refused with the place", async () => {
      const file = await store("latin.txt", Buffer.concat([Buffer.alloc(300_000, "a "), Buffer.from([0xe9, 0x20])]));
      await assert.rejects(read(file, "text"), malformed(/bytes 0 to 300002: not UTF-8/));
      await assert.rejects(read(await store("half.txt", Buffer.from([0x61, 0xe2, 0x86])), "text"), malformed(/its end: not UTF-8/));
    });
  });

  it("says what cannot be opened", async () => {
    await assert.rejects(read(join(directory, "nowhere.txt"), "text"), { code: "data-unreadable", exit: 50 });
  });
});
