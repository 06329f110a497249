/**
 * Files that survive a kill, a power cut and a full disk. A file written here is at every moment either the old one or the new one,
 * whole; once the promise resolves the new one is on the disk. A write that fails leaves nothing behind and says why in a typed error,
 * so that the same call can be made again once there is space.
 */
import { createHash, randomBytes } from "node:crypto";
import { type FileHandle, mkdir, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { ConnitoError } from "../errors.ts";

/** Temporary files carry this ending; the next owner of the state directory removes those that a kill left behind. */
export const temporarySuffix = ".tmp";

const copyBytes = 1 << 20;

/**
 * The typed error for what the operating system answered: `disk-full` (retryable), `storage-denied` or `storage-failed`.
 * Anything that is not an answer of the operating system comes back unchanged.
 */
export function storageError(cause: unknown, path: string): unknown {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  if (cause instanceof ConnitoError || typeof code !== "string" || (cause as NodeJS.ErrnoException).syscall === undefined) return cause;
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new ConnitoError(`No space left for ${path}`, {
      code: "disk-full",
      exit: "storage",
      hint: "Free space on that volume and run the same command again: what was finished before is kept.",
      retryable: true,
      cause,
    });
  }
  if (code === "EACCES" || code === "EPERM" || code === "EROFS") {
    return new ConnitoError(`No permission for ${path} (${code})`, {
      code: "storage-denied",
      exit: "storage",
      hint: "Give the user who runs this command the right to read and write that path, or choose another --state-dir.",
      cause,
    });
  }
  return new ConnitoError(`The disk refused ${path} (${code})`, {
    code: "storage-failed",
    exit: "storage",
    hint: "Check the path and the health of its disk, then run the same command again.",
    cause,
  });
}

/** For those who opened the state directory without its lock and write all the same: a mistake in the program. */
export function readOnlyError(path: string): ConnitoError {
  return new ConnitoError(`${path} was opened for reading only`, {
    code: "state-read-only",
    exit: "unexpected",
    hint: "This is a mistake in connito: please report it with the command that you ran.",
  });
}

/** Runs `work`, turning what the operating system answers about `path` into a typed error. */
export async function onStorage<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw storageError(error, path);
  }
}

/** True when the operating system said that there is no such file. */
export function isMissing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code === "ENOENT" || code === "ENOTDIR";
}

/** Makes the names in a directory durable: a rename or link is on the disk only after this. */
export async function syncDirectory(directory: string): Promise<void> {
  // Windows cannot open a directory; its file systems order the rename themselves.
  if (process.platform === "win32") return;
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes a directory and its missing parents, mode 0700 unless told, each durable in its own parent. */
export async function makeDirectory(directory: string, mode = 0o700): Promise<void> {
  const first = await mkdir(directory, { recursive: true, mode });
  if (first === undefined) return;
  for (let path = directory; ; path = dirname(path)) {
    await syncDirectory(dirname(path));
    if (path === first || dirname(path) === path) return;
  }
}

/** Writes all of `bytes`, at `position` where given. Node's own write may stop short. */
export async function writeAll(handle: FileHandle, bytes: Uint8Array, position?: number): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const at = position === undefined ? null : position + done;
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, at);
    done += bytesWritten;
  }
}

export interface WriteOptions {
  /** Permission bits of a new file; 0600 unless told. */
  readonly mode?: number;
}

/** Replaces `path` by `bytes` at once and durably. Missing parents are made. Errors: disk-full, storage-denied, storage-failed. */
export async function writeAtomic(path: string, bytes: Uint8Array | string, options: WriteOptions = {}): Promise<void> {
  const data = typeof bytes === "string" ? Buffer.from(bytes, "utf8") : bytes;
  await writeAtomicWith(path, (handle) => writeAll(handle, data), options);
}

/** As `writeAtomic`, for what does not fit in memory: `fill` writes the new file, and only when it is done does the name change. */
export async function writeAtomicWith<T>(path: string, fill: (handle: FileHandle) => Promise<T>, options: WriteOptions = {}): Promise<T> {
  return onStorage(path, async () => {
    await makeDirectory(dirname(path));
    const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}${temporarySuffix}`);
    const handle = await open(temporary, "wx", options.mode ?? 0o600);
    let result: T;
    try {
      try {
        result = await fill(handle);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    await syncDirectory(dirname(path));
    return result;
  });
}

/** Gives a finished file its name, durably: content first, then the name. Both must be on one file system. */
export async function moveDurably(from: string, to: string): Promise<void> {
  await onStorage(to, async () => {
    await makeDirectory(dirname(to));
    const handle = await open(from, "r+");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(from, to);
    await syncDirectory(dirname(to));
  });
}

/** Reads a whole file of at most `maximumBytes`; undefined where there is none. Error: file-oversize. */
export async function readBounded(path: string, maximumBytes: number): Promise<Buffer | undefined> {
  return onStorage(path, async () => {
    let handle: FileHandle;
    try {
      handle = await open(path, "r");
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
    try {
      const { size } = await handle.stat();
      if (size > maximumBytes) {
        throw new ConnitoError(`${path} has ${size} bytes, more than the ${maximumBytes} expected there`, {
          code: "file-oversize",
          exit: "storage",
          hint: "That file was not written by connito: move it away.",
        });
      }
      const bytes = Buffer.allocUnsafe(size);
      const filled = await readAll(handle, bytes, 0);
      return bytes.subarray(0, filled);
    } finally {
      await handle.close();
    }
  });
}

/** Reads and parses a JSON file; undefined where there is none. Errors: file-oversize, document-corrupt. */
export async function readJson<T = unknown>(path: string, maximumBytes = 64 << 20): Promise<T | undefined> {
  const bytes = await readBounded(path, maximumBytes);
  if (bytes === undefined) return undefined;
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch (cause) {
    throw new ConnitoError(`${path} is not JSON`, {
      code: "document-corrupt",
      exit: "storage",
      hint: "Restore that file from a backup, or delete it if it can be fetched or computed again.",
      cause,
    });
  }
}

/** Fills `buffer` from `position`; returns how many bytes there were. */
async function readAll(handle: FileHandle, buffer: Uint8Array, position: number): Promise<number> {
  let done = 0;
  while (done < buffer.length) {
    const { bytesRead } = await handle.read(buffer, done, buffer.length - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

/** A byte range of a file in pieces of at most 1 MiB, each valid only until the next is asked for. Ends early where the file does. */
export async function* readRange(path: string, offset = 0, bytes = Number.POSITIVE_INFINITY): AsyncGenerator<Uint8Array> {
  const handle = await open(path, "r");
  try {
    const buffer = Buffer.allocUnsafe(Math.max(1, Math.min(copyBytes, bytes)));
    for (let done = 0; done < bytes; ) {
      const part = buffer.subarray(0, Math.min(buffer.length, bytes - done));
      const filled = await readAll(handle, part, offset + done);
      if (filled > 0) yield part.subarray(0, filled);
      if (filled < part.length) return;
      done += filled;
    }
  } finally {
    await handle.close();
  }
}

/** SHA-256 of a byte range of a file, and how many bytes there were. */
export async function hashRange(path: string, offset = 0, bytes = Number.POSITIVE_INFINITY): Promise<{ hash: string; bytes: number }> {
  const hasher = createHash("sha256");
  let length = 0;
  for await (const part of readRange(path, offset, bytes)) {
    hasher.update(part);
    length += part.length;
  }
  return { hash: hasher.digest("hex"), bytes: length };
}

/** Writes a document that this program reads back with `readJson`, whole or not at all. */
export async function writeJson(path: string, value: unknown, options: WriteOptions = {}): Promise<void> {
  await writeAtomic(path, `${JSON.stringify(value, undefined, 2)}\n`, options);
}
