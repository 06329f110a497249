import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { symlinkSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { hashRange, openFile, readInto, readRange, readWhole, streamLocation } from "../../src/files/reading.ts";
import { failure, inDirectory, writeFile } from "../model/support.ts";

describe("files/reading", () => {
  it("opens regular files and links to them, nothing else", async () => {
    await inDirectory(async (directory) => {
      writeFile(directory, "file", "abc");
      symlinkSync(join(directory, "file"), join(directory, "link"));
      assert.equal(new TextDecoder().decode(await readWhole(join(directory, "link"), 3)), "abc");
      execFileSync("mkfifo", [join(directory, "pipe")]);
      await assert.rejects(openFile(join(directory, "pipe")), failure("file-irregular"));
      await assert.rejects(openFile(directory), failure("file-irregular"));
      await assert.rejects(openFile(join(directory, "none")), failure("file-missing"));
      await assert.rejects(openFile(join(directory, "file", "below")), failure("file-missing"));
    });
  });

  it("bounds a file before it is read", async () => {
    await inDirectory(async (directory) => {
      const path = writeFile(directory, "file", "abc");
      truncateSync(path, 2 ** 40);
      await assert.rejects(readWhole(path, 1000), failure("file-oversize"));
    });
  });

  it("says when a file ends before the range does", async () => {
    await inDirectory(async (directory) => {
      const path = writeFile(directory, "file", "0123456789");
      const file = await openFile(path);
      await assert.rejects(readInto(file, 5, new Uint8Array(6)), failure("file-truncated"));
      await file.handle.close();
      await assert.rejects(async () => {
        for await (const chunk of streamLocation({ file: path, offset: 8, bytes: 3 })) assert.fail(`${chunk}`);
      }, failure("file-truncated"));
    });
  });

  it("streams a range in order, each chunk its own", async () => {
    await inDirectory(async (directory) => {
      const bytes = new Uint8Array(3_000_000).map((_, at) => (at * 31) >> 3);
      const path = writeFile(directory, "file", bytes);
      const chunks: Uint8Array[] = [];
      for await (const chunk of streamLocation({ file: path, offset: 17, bytes: 2_900_000 })) chunks.push(chunk);
      assert.deepEqual(Buffer.concat(chunks), Buffer.from(bytes.subarray(17, 2_900_017)));
    });
  });

  it("reads and hashes ranges across its buffer, and ends where the file does", async () => {
    await inDirectory(async (directory) => {
      const bytes = Buffer.alloc((2 << 20) + 17, 1).map((_, index) => index % 251);
      const path = writeFile(directory, "file", bytes);
      const parts: Buffer[] = [];
      for await (const part of readRange(path, 5, (1 << 20) + 9)) parts.push(Buffer.from(part));
      assert.ok(Buffer.concat(parts).equals(bytes.subarray(5, 5 + (1 << 20) + 9)));
      assert.equal((await hashRange(path, bytes.length - 3, 100)).bytes, 3);
      assert.equal((await hashRange(path, 0, 0)).hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    });
  });
});
