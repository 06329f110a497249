import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { linkSync, mkdirSync, readdirSync, readFileSync, symlinkSync, truncateSync, utimesSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { ConnitoError } from "../src/errors.ts";
import {
  fileError,
  hashRange,
  openFile,
  readInto,
  readRange,
  readWhole,
  replaceFile,
  resumeFile,
  streamLocation,
  writeAll,
  writeWhole,
} from "../src/files.ts";
import { failure, inDirectory, writeFile } from "./model/support.ts";

describe("files", () => {
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

  it("writes a file whole or not at all", async () => {
    await inDirectory(async (directory) => {
      const path = join(directory, "file");
      const parts = [10, 2_000_000, 3, 1_048_570, 5, 6, 7].map((length, index) => new Uint8Array(length).fill(index + 1));
      await replaceFile(path, async (handle) => {
        for (const part of parts) await writeAll(handle, part);
        assert.ok(!readdirSync(directory).includes("file"), "no name before all is written");
      });
      assert.deepEqual(readFileSync(path), Buffer.concat(parts));
      const given = replaceFile(path, async (handle) => {
        await writeAll(handle, new Uint8Array(5));
        throw new Error("given up");
      });
      await assert.rejects(given, { message: "given up" });
      assert.deepEqual(readdirSync(directory), ["file"]);
      assert.deepEqual(readFileSync(path), Buffer.concat(parts));
      await writeWhole(path, Uint8Array.of(1));
      assert.equal(readFileSync(path).length, 1);
      mkdirSync(join(directory, "sub"));
      await assert.rejects(writeWhole(join(directory, "sub"), Uint8Array.of(1)), failure("file-irregular"));
    });
  });

  it("goes on with what an attempt left, and gives the name when all is there", async () => {
    await inDirectory(async (directory) => {
      const path = join(directory, "a");
      const given = resumeFile(path, "one", async (handle) => {
        await writeAll(handle, Buffer.from("half"));
        throw new Error("given up");
      });
      await assert.rejects(given, { message: "given up" });
      assert.deepEqual(readdirSync(directory), [".a.one.tmp"]);
      await resumeFile(path, "one", async (handle) => {
        assert.equal(await handle.readFile("utf8"), "half");
        await writeAll(handle, Buffer.from(" and half"), 4);
      });
      assert.deepEqual(readdirSync(directory), ["a"]);
      assert.equal(readFileSync(path, "utf8"), "half and half");
      await resumeFile(path, "two", (handle) => writeAll(handle, Buffer.from("other")));
      assert.equal(readFileSync(path, "utf8"), "other", "an attempt with another id begins with nothing");
    });
  });

  it("does not go on in a file that a link of that name leads to", async () => {
    await inDirectory(async (directory) => {
      const victim = writeFile(directory, "victim", "of somebody");
      symlinkSync(victim, join(directory, ".a.one.tmp"));
      await assert.rejects(
        resumeFile(join(directory, "a"), "one", (handle) => writeAll(handle, Buffer.from("x"))),
        failure("file-missing"),
      );
      assert.equal(readFileSync(victim, "utf8"), "of somebody");
    });
  });

  it("does not go on in a file that has another name too", async () => {
    await inDirectory(async (directory) => {
      const victim = writeFile(directory, "victim", "of somebody");
      linkSync(victim, join(directory, ".a.one.tmp"));
      await resumeFile(join(directory, "a"), "one", (handle) => writeAll(handle, Buffer.from("x")));
      assert.equal(readFileSync(join(directory, "a"), "utf8"), "x");
      assert.equal(readFileSync(victim, "utf8"), "of somebody");
    });
  });

  it("removes what was left of other attempts at a file, and nothing that somebody may be writing", async () => {
    await inDirectory(async (directory) => {
      for (const name of [".a.own.tmp", ".a.123.tmp", ".a.456.tmp", ".b.123.tmp", "a", ".a.txt"]) writeFile(directory, name, "");
      const hoursAgo = Date.now() / 1000 - 7200;
      for (const name of [".a.own.tmp", ".a.123.tmp", ".b.123.tmp", "a", ".a.txt"]) utimesSync(join(directory, name), hoursAgo, hoursAgo);
      const seen = await resumeFile(join(directory, "a"), "own", async () => readdirSync(directory).sort());
      assert.deepEqual(seen, [".a.456.tmp", ".a.own.tmp", ".a.txt", ".b.123.tmp", "a"]);
    });
  });

  it("types the system's errors and passes on what is none", () => {
    const system = (code: string) => fileError(Object.assign(new Error(code), { code }), "/some/file");
    assert.ok(failure("disk-full", { exit: 50, retryable: true })(system("ENOSPC")));
    assert.ok(failure("disk-full")(system("EDQUOT")));
    assert.ok(failure("permission-denied", { exit: 50 })(system("EACCES")));
    assert.ok(failure("disk-error")(system("EIO")));
    assert.equal(system("EMFILE") instanceof ConnitoError, false);
    const answered = fileError(Object.assign(new Error("EMFILE"), { code: "EMFILE", syscall: "open" }), "/some/file");
    assert.ok(failure("storage-failed", { exit: 50 })(answered));
    const bug = new TypeError("a bug");
    assert.equal(fileError(bug, "/some/file"), bug);
  });

  it("keeps the old file when the disk is full, at a write or at the sync, and goes on after a short write", async () => {
    await inDirectory(async (directory) => {
      const path = writeFile(directory, "file", "old");
      const probe = await openFile(path);
      const prototype = Object.getPrototypeOf(probe.handle) as FileHandle;
      await probe.handle.close();
      const full = () => Promise.reject(Object.assign(new Error("no space"), { code: "ENOSPC" }));
      for (const method of ["write", "sync"] as const) {
        const real = prototype[method];
        try {
          prototype[method] = full;
          await assert.rejects(writeWhole(path, new Uint8Array(3_000_000)), failure("disk-full", { retryable: true }));
        } finally {
          prototype[method] = real as never;
        }
        assert.equal(readFileSync(path, "utf8"), "old");
        assert.deepEqual(readdirSync(directory), ["file"]);
      }
      const write = prototype.write;
      try {
        prototype.write = function (this: FileHandle, bytes: Uint8Array, at: number, length: number) {
          return Reflect.apply(write, this, [bytes, at, Math.ceil(length / 2)]);
        } as never;
        await writeWhole(
          path,
          Uint8Array.from({ length: 1000 }, (_, index) => index),
        );
      } finally {
        prototype.write = write;
      }
      assert.deepEqual(
        [...readFileSync(path)],
        Array.from({ length: 1000 }, (_, index) => index % 256),
      );
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
