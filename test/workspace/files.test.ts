import assert from "node:assert/strict";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { moveDurably, readBounded, readJson, writeAtomic } from "../../src/workspace/files.ts";
import { afterMiss, failsWith, inTemporaryDirectory, onFullDisk, traceDisk } from "./support.ts";

describe("files", () => {
  it("replaces a file whole, for its owner only, and leaves nothing else", () =>
    inTemporaryDirectory(async (directory) => {
      const path = join(directory, "deep", "er", "file");
      await writeAtomic(path, "old");
      await writeAtomic(path, "new");
      assert.equal(await readFile(path, "utf8"), "new");
      assert.equal((await stat(path)).mode & 0o777, 0o600);
      assert.equal((await stat(join(directory, "deep"))).mode & 0o777, 0o700);
      assert.deepEqual(await readdir(join(directory, "deep", "er")), ["file"]);
    }));

  it("syncs content before the name changes, and the name before it returns", () =>
    inTemporaryDirectory(async (directory) => {
      await mkdir(join(directory, "shelf"));
      const written = await traceDisk(() => writeAtomic(join(directory, "shelf", "file"), "bytes"));
      assert.deepEqual(written, ["write .file.*.tmp", "sync .file.*.tmp", "rename file", "sync shelf"]);
      await writeFile(join(directory, "ready"), "bytes");
      const moved = await traceDisk(() => moveDurably(join(directory, "ready"), join(directory, "shelf", "other")));
      assert.deepEqual(moved, ["sync ready", "rename other", "sync shelf"]);
    }));

  it("keeps the old file and removes the partial one when the disk is full, and can be called again", () =>
    inTemporaryDirectory(async (directory) => {
      const path = join(directory, "file");
      await writeAtomic(path, "old");
      for (const room of [0, 1, 4]) {
        const error = await failsWith(
          "disk-full",
          onFullDisk(room, () => writeAtomic(path, "newer")),
        );
        assert.equal(error.exit, 50);
        assert.equal(error.retryable, true);
        assert.deepEqual(await readdir(directory), ["file"]);
        assert.equal(await readFile(path, "utf8"), "old");
      }
      await writeAtomic(path, "newer");
      assert.equal(await readFile(path, "utf8"), "newer");
    }));

  it("names what the operating system refused", () =>
    inTemporaryDirectory(async (directory) => {
      await writeFile(join(directory, "file"), "");
      const error = await failsWith("storage-failed", writeAtomic(join(directory, "file", "below"), "x"));
      assert.match(error.message, /below/);
    }));

  it("reads no more than allowed, and tells missing from damaged", () =>
    inTemporaryDirectory(async (directory) => {
      const path = join(directory, "file.json");
      assert.equal(await readBounded(path, 10), undefined);
      assert.equal(await readJson(path), undefined);
      await writeFile(path, '{"a":');
      await failsWith("document-corrupt", readJson(path));
      await failsWith("file-oversize", readBounded(path, 4));
      await writeFile(path, '{"a":1}');
      assert.deepEqual(await readJson(path), { a: 1 });
    }));

  it("reads nothing where a file appears just after it was looked for, and the file the next time", () =>
    inTemporaryDirectory(async (directory) => {
      const path = join(directory, "file");
      const write = () => writeFile(path, "here");
      assert.equal(await afterMiss(path, write, () => readBounded(path, 10)), undefined);
      assert.equal(String(await readBounded(path, 10)), "here");
    }));
});
