import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { closeSync, openSync, readFileSync, truncateSync, writeSync } from "node:fs";
import { join } from "node:path";
import { type ByteJob, workOnBytes } from "../../src/model/byte-workers.ts";
import { failure, inDirectory, writeFile } from "./support.ts";

const megabyte = 1 << 20;

/** 48 MiB, each of them different: enough for threads to be started. */
function writeLargeFile(directory: string): { file: string; bytes: Buffer } {
  const bytes = Buffer.alloc(48 * megabyte);
  for (let at = 0; at < bytes.length; at += 4096) bytes.writeUInt32LE(at, at);
  return { file: writeFile(directory, "large", bytes), bytes };
}

/** Ranges that touch neither end of a part, one of them empty. */
const ranges = [
  [0, 5],
  [7, 20 * megabyte + 3],
  [100, 0],
  [megabyte, megabyte],
  [21 * megabyte, 27 * megabyte],
] as const;

describe("work on bytes", () => {
  for (const threads of [1, 2]) {
    it(`hashes ranges and copies them, with ${threads} at a time`, () =>
      inDirectory(async (directory) => {
        const { file, bytes } = writeLargeFile(directory);
        const target = writeFile(directory, "copy", "");
        const fd = openSync(target, "r+");
        const jobs = ranges.flatMap(([offset, length]): ByteJob[] => [
          { kind: "hash", file, offset, bytes: length },
          { kind: "copy", file, offset, bytes: length, fd, target, position: offset },
        ]);
        const hashes: string[] = [];
        const progress: number[] = [];
        await workOnBytes(jobs, {
          threads,
          onResult({ hash }, index) {
            hashes[index] = hash;
          },
          onProgress: (done) => progress.push(done),
        });
        closeSync(fd);
        const wanted = ranges.map(([offset, length]) =>
          createHash("sha256")
            .update(bytes.subarray(offset, offset + length))
            .digest("hex"),
        );
        assert.deepEqual(
          hashes,
          wanted.flatMap((hash) => [hash, hash]),
        );
        const copied = readFileSync(target);
        for (const [offset, length] of ranges) {
          assert.ok(copied.subarray(offset, offset + length).equals(bytes.subarray(offset, offset + length)));
        }
        assert.equal(
          progress.at(-1),
          jobs.reduce((sum, job) => sum + job.bytes, 0),
        );
      }));

    it(`leaves what is copied already, with ${threads} at a time`, () =>
      inDirectory(async (directory) => {
        const { file, bytes } = writeLargeFile(directory);
        const target = writeFile(directory, "copy", bytes);
        const fd = openSync(target, "r+");
        const [torn, whole] = [ranges[1], ranges[4]];
        writeSync(fd, Buffer.of(1), 0, 1, torn[0] + torn[1] - 1);
        const jobs = [torn, whole].map(([offset, length], index): ByteJob => {
          const unless = createHash("sha256")
            .update(bytes.subarray(offset, offset + length))
            .digest("hex");
          // What is there is not read anywhere else: from there it could not be had.
          return {
            kind: "copy",
            file: index === 0 ? file : join(directory, "none"),
            offset,
            bytes: length,
            fd,
            target,
            position: offset,
            unless,
          };
        });
        const hashes: (string | undefined)[] = [];
        let progress = 0;
        await workOnBytes(jobs, {
          threads,
          onResult({ hash }, index) {
            hashes[index] = hash;
          },
          onProgress: (done) => (progress = done),
        });
        closeSync(fd);
        assert.deepEqual(
          hashes,
          jobs.map((job) => job.kind === "copy" && job.unless),
        );
        assert.ok(readFileSync(target).equals(bytes));
        assert.equal(progress, torn[1] + whole[1]);
      }));

    it(`fails as if it had been done here, with ${threads} at a time`, () =>
      inDirectory(async (directory) => {
        const { file } = writeLargeFile(directory);
        const work = (jobs: ByteJob[], more: object = {}) => workOnBytes(jobs, { threads, onResult: () => {}, ...more });
        const good = ranges.map(([offset, bytes]): ByteJob => ({ kind: "hash", file, offset, bytes }));
        await assert.rejects(
          work([...good, { kind: "hash", file: join(directory, "none"), offset: 0, bytes: 1 }]),
          failure("file-missing"),
        );
        await assert.rejects(work(good, { onResult: () => Promise.reject(new Error("ours")) }), { message: "ours" });
        await assert.rejects(work(good, { signal: AbortSignal.abort() }), { name: "AbortError" });
        const stopped = new AbortController();
        await assert.rejects(work(good, { signal: stopped.signal, onResult: () => stopped.abort() }), { name: "AbortError" });
        const closed: ByteJob = { kind: "copy", file, offset: 0, bytes: 40 * megabyte, fd: 987_654, target: "/the/target", position: 0 };
        const ofTarget = (code: string) => (error: Error) => failure(code)(error) && /the\/target/.test(error.message);
        await assert.rejects(work([closed]), ofTarget("storage-failed"));
        // What is there already cannot be read, or ends too early.
        await assert.rejects(work([{ ...closed, unless: "00" }]), ofTarget("storage-failed"));
        const empty = openSync(writeFile(directory, "empty", ""), "r+");
        await assert.rejects(work([{ ...closed, fd: empty, unless: "00" }]), ofTarget("file-truncated"));
        closeSync(empty);
        truncateSync(file, 30 * megabyte);
        await assert.rejects(work(good), failure("file-truncated"));
      }));

    it(`gives what was done before a failure, with ${threads} at a time`, () =>
      inDirectory(async (directory) => {
        const { file } = writeLargeFile(directory);
        const short = writeFile(directory, "short", "no more");
        const small = { kind: "hash", file, offset: 0, bytes: 5 } as const;
        const taken: number[] = [];
        const onResult = (_: unknown, index: number) => void taken.push(index);
        // The last job is there so that threads are started.
        const jobs: ByteJob[] = [small, small, { ...small, file: short, bytes: 100 }, { ...small, bytes: 48 * megabyte }];
        await assert.rejects(workOnBytes(jobs, { threads, onResult }), failure("file-truncated"));
        assert.deepEqual(taken, [0, 1]);
      }));
  }
});
