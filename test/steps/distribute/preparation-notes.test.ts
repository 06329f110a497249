import assert from "node:assert/strict";
import { appendFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { nothingPrepared } from "../../../src/data/prepare.ts";
import { openPreparationNotes, type PreparationNotes } from "../../../src/steps/distribute/preparation-notes.ts";
import { inTemporaryDirectory } from "../../workspace/support.ts";

const shard = (number: number) => ({
  number,
  hash: `hash ${number}`,
  sequences: 7,
  passed: 10 * number,
  tokens: 1,
  documents: 2,
  textBytes: 3,
});
const known = (...numbers: number[]) => {
  const { number: last, hash: _, sequences, ...after } = shard(numbers.at(-1) as number);
  return { ...after, shards: numbers.map((number) => ({ hash: `hash ${number}`, sequences })) };
};

describe("steps/distribute/preparation-notes", () => {
  const withNotes = (work: (path: string, open: <T>(use: (notes: PreparationNotes) => Promise<T> | T) => Promise<T>) => Promise<void>) =>
    inTemporaryDirectory((directory) => {
      const path = join(directory, "preparations", "notes.jsonl");
      return work(path, async (use) => {
        const notes = await openPreparationNotes(path);
        try {
          return await use(notes);
        } finally {
          await notes.close();
        }
      });
    });

  it("know each side's shards again, adding a line for each", () =>
    withNotes(async (path, open) => {
      assert.deepEqual(await open((notes) => notes.find("a")), { begun: nothingPrepared });
      await open(async (notes) => {
        for (const number of [0, 1, 2]) await notes.shard("a", shard(number));
        await notes.shard("b", shard(0));
      });
      assert.equal((await readFile(path, "utf8")).trim().split("\n").length, 4);
      const find = (side: string) => open((notes) => notes.find(side));
      assert.deepEqual([await find("a"), await find("b")], [{ begun: known(0, 1, 2) }, { begun: known(0) }]);
      // Begun anew, since a shard was gone.
      await open((notes) => notes.shard("a", shard(0)));
      assert.deepEqual(await find("a"), { begun: known(0) });
    }));

  it("believe nothing behind a line that cannot be read, until it is written again", () =>
    withNotes(async (path, open) => {
      await open(async (notes) => {
        for (const number of [0, 1, 2]) await notes.shard("a", shard(number));
      });
      const lines = (await readFile(path, "utf8")).split("\n");
      await writeFile(path, lines.map((line) => (line.includes('"number":1') ? line.slice(0, 30) : line)).join("\n"));
      assert.deepEqual(await open((notes) => notes.find("a")), { begun: known(0) });
      await open((notes) => notes.shard("a", shard(1)));
      assert.deepEqual(await open((notes) => notes.find("a")), { begun: known(0, 1) });
    }));

  it("pass over what is JSON and no note", () =>
    withNotes(async (path, open) => {
      await open((notes) => notes.shard("a", shard(0)));
      await appendFile(path, ["", "5", "null", "[]", '{"side":"a"}', '{"side":"a","done":null}', '{"shard":{}}'].join("\n"));
      assert.deepEqual(await open((notes) => notes.find("a")), { begun: known(0) });
    }));

  it("give what they know at the time, whatever comes after", () =>
    withNotes(async (_, open) => {
      await open(async (notes) => {
        await notes.shard("a", shard(0));
        const found = notes.find("a");
        await notes.shard("a", shard(1));
        assert.deepEqual(found, { begun: known(0) });
      });
    }));
});
