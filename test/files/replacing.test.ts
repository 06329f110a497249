import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { openFile } from "../../src/files/reading.ts";
import { replaceFile, writeAll, writeWhole } from "../../src/files/replacing.ts";
import { failure, inDirectory, writeFile } from "../model/support.ts";

describe("files/replacing", () => {
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
});
