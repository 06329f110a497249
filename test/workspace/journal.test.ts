import assert from "node:assert/strict";
import { appendFile, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import fc from "fast-check";
import { openJournal } from "../../src/workspace/journal.ts";
import { failsWith, inTemporaryDirectory, onFullDisk, runScript, traceDisk } from "./support.ts";

async function written(path: string, count: number): Promise<Buffer> {
  const journal = await openJournal(path, { create: true });
  for (let number = 0; number < count; number++) await journal.intent(`step:${number}`, { number, text: "é\u0000\n" });
  await journal.close();
  return readFile(path);
}

async function keysAfterOpening(path: string): Promise<string[]> {
  const journal = await openJournal(path);
  await journal.close();
  return journal.entries().map((entry) => entry.key);
}

describe("journal", () => {
  it("finds the last word on a key, also after being opened again", () =>
    inTemporaryDirectory(async (directory) => {
      const path = join(directory, "journal.jsonl");
      const journal = await openJournal(path, { create: true });
      assert.deepEqual(journal.find("commit:1"), {});
      await journal.intent("commit:1", { root: "a" });
      await journal.failed("commit:1", "pool full");
      await journal.intent("reveal:1", null);
      assert.equal(journal.find("commit:1").failed?.data, "pool full");
      await journal.intent("commit:1", { root: "b" });
      assert.equal(journal.find("commit:1").failed, undefined);
      await journal.effect("commit:1", { block: 7 });
      await journal.close();
      const again = await openJournal(path);
      assert.deepEqual(again.find("commit:1").intent?.data, { root: "b" });
      assert.deepEqual(again.find("commit:1").effect?.data, { block: 7 });
      assert.deepEqual(again.find("reveal:1").effect, undefined);
      assert.deepEqual(again.entries(), journal.entries());
      await again.close();
    }));

  it("is on the disk before it says so", () =>
    inTemporaryDirectory(async (directory) => {
      const trace = await traceDisk(async () => {
        const journal = await openJournal(join(directory, "journal.jsonl"), { create: true });
        await journal.intent("a", 1);
        await journal.close();
      });
      assert.deepEqual(trace.slice(-3), [`sync ${basename(directory)}`, "write journal.jsonl", "sync journal.jsonl"]);
    }));

  it("keeps the order of calls made at once", () =>
    inTemporaryDirectory(async (directory) => {
      const path = join(directory, "journal.jsonl");
      const journal = await openJournal(path, { create: true });
      await Promise.all(Array.from({ length: 50 }, (_, number) => journal.intent(`k${number}`, number)));
      await journal.close();
      assert.deepEqual(
        await keysAfterOpening(path),
        Array.from({ length: 50 }, (_, number) => `k${number}`),
      );
    }));

  it("cut off anywhere, opens with what was whole, and goes on from there", () =>
    inTemporaryDirectory(async (directory) => {
      const path = join(directory, "journal.jsonl");
      const bytes = await written(path, 3);
      for (let length = 0; length <= bytes.length; length += length % 7 === 0 ? 1 : 3) {
        await writeFile(path, bytes.subarray(0, length));
        const whole =
          bytes
            .subarray(0, length + 1)
            .toString("latin1")
            .split("\n").length - 1;
        const journal = await openJournal(path);
        assert.equal(journal.entries().length, whole);
        await journal.effect("next", length);
        await journal.close();
        assert.equal((await keysAfterOpening(path)).length, whole + 1);
      }
    }));

  it("takes zeros in the last line for a block that never reached the disk", () =>
    inTemporaryDirectory(async (directory) => {
      const path = join(directory, "journal.jsonl");
      const bytes = await written(path, 2);
      for (const torn of [Buffer.alloc(4096), Buffer.from('\0\0\0\0,"checksum":"00"}\n')]) {
        await writeFile(path, Buffer.concat([bytes, torn]));
        assert.deepEqual(await keysAfterOpening(path), ["step:0", "step:1"]);
        assert.ok((await readFile(path)).equals(bytes));
      }
    }));

  it("refuses any change to what was confirmed, and leaves the file as it is", () =>
    inTemporaryDirectory(async (directory) => {
      const path = join(directory, "journal.jsonl");
      const bytes = await written(path, 4);
      const lastNewline = bytes.length - 1;
      await fc.assert(
        fc.asyncProperty(fc.integer({ min: 0, max: lastNewline - 1 }), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
          const changed = Buffer.from(bytes);
          changed[at] = (changed[at] as number) ^ flip;
          // A zero byte in the very last line is how a torn write looks.
          if (changed[at] === 0 && at > bytes.lastIndexOf(10, lastNewline - 1)) return;
          await writeFile(path, changed);
          const error = await failsWith("journal-corrupt", openJournal(path));
          assert.equal(error.exit, 50);
          assert.ok((await readFile(path)).equals(changed));
        }),
        { numRuns: 60 },
      );
      const lines = bytes.toString().trimEnd().split("\n");
      const [first, second, third, fourth] = lines;
      for (const order of [
        [second, third, fourth],
        [first, third, fourth],
        [first, third, second, fourth],
        [first, first, second],
        [first, "", second],
      ]) {
        await writeFile(path, `${order.join("\n")}\n`);
        await failsWith("journal-corrupt", openJournal(path));
      }
      await rm(path);
      await failsWith("journal-corrupt", openJournal(path));
    }));

  it("drops the half-written line when the disk is full, and takes the same entry once there is space", () =>
    inTemporaryDirectory(async (directory) => {
      const path = join(directory, "journal.jsonl");
      const journal = await openJournal(path, { create: true });
      await journal.intent("a", 1);
      const before = await readFile(path);
      for (const room of [0, 20]) {
        await failsWith(
          "disk-full",
          onFullDisk(room, () => journal.intent("b", 2)),
        );
        assert.deepEqual(journal.find("b"), {});
        assert.ok((await readFile(path)).equals(before));
      }
      await journal.intent("b", 2);
      await journal.close();
      assert.deepEqual(await keysAfterOpening(path), ["a", "b"]);
    }));

  it("opened for reading beside its writer, changes nothing and cannot append", () =>
    inTemporaryDirectory(async (directory) => {
      const path = join(directory, "journal.jsonl");
      const bytes = await written(path, 1);
      await appendFile(path, '{"kind":"int');
      const reader = await openJournal(path, { readOnly: true });
      assert.equal(reader.entries().length, 1);
      await failsWith("state-read-only", reader.intent("a", 1));
      await reader.close();
      assert.equal((await readFile(path)).length, bytes.length + 12);
    }));

  it("loses nothing that was confirmed when its writer is killed again and again", () =>
    inTemporaryDirectory(async (directory) => {
      const path = join(directory, "journal.jsonl");
      let confirmed = -1;
      for (let round = 0; round < 4; round++) {
        const writer = runScript("append-journal.ts", path);
        for (let lines = 0; lines < 5 + 40 * Math.random(); lines++) confirmed = Number(await writer.line());
        await writer.kill();
        for (const line of await writer.rest()) confirmed = Number(line);
        const keys = await keysAfterOpening(path);
        assert.ok(keys.length > confirmed, `${keys.length} entries, but ${confirmed} was confirmed`);
        assert.deepEqual(
          keys,
          Array.from(keys, (_, number) => `step:${number}`),
        );
      }
    }));
});
