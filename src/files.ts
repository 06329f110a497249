/**
 * The disk, for every room that touches it. Only regular files are opened for reading (a named pipe would hang), and memory is taken
 * for what was asked for, never for what a file claims. A file that is written here is at every moment either the old one or the new
 * one, whole; once the promise resolves the new one is on the disk, under its name. What the operating system refuses becomes a typed
 * error that names the path, and a write that fails leaves nothing behind but what the same call goes on with.
 */
import { createHash, randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { ConnitoError, type ExitCodeName } from "./errors.ts";

/** Where bytes lie that are not copied. */
export interface Location {
  readonly file: string;
  readonly offset: number;
  readonly bytes: number;
}

/** Temporary files carry this ending; the next owner of a state directory removes those that a kill left behind. */
export const temporarySuffix = ".tmp";

/** The file beside `path` that becomes it when it is whole. */
function temporaryPath(path: string, id: string): string {
  return join(dirname(path), `.${basename(path)}.${id}${temporarySuffix}`);
}

/** How much is read or written at once: enough to be fast, little enough to stay in the cache of a core. */
export const transferBytes = 1 << 20;

interface Reason {
  readonly code: string;
  readonly exit: ExitCodeName;
  readonly what: string;
  readonly hint: string;
  readonly retryable?: boolean;
}

const missing: Reason = {
  code: "file-missing",
  exit: "invalidInput",
  what: "does not exist",
  hint: "Check the path, and that the download is complete.",
};
const denied: Reason = {
  code: "permission-denied",
  exit: "storage",
  what: "may not be opened or written",
  hint: "Give the user who runs this command the right to that path, or choose another.",
};
const full: Reason = {
  code: "disk-full",
  exit: "storage",
  what: "does not fit on the disk",
  hint: "Free space on that volume and run the same command again: what was finished before is kept.",
  retryable: true,
};
const reasons: Readonly<Record<string, Reason>> = {
  ENOENT: missing,
  ENOTDIR: { ...missing, hint: "Check the path: a part of it is no directory." },
  ELOOP: { ...missing, what: "is a link that leads back to itself" },
  EISDIR: { code: "file-irregular", exit: "invalidInput", what: "is a directory", hint: "Name a file." },
  EACCES: denied,
  EPERM: denied,
  EROFS: { ...denied, what: "lies on a read-only file system" },
  ENOSPC: full,
  EDQUOT: { ...full, what: "exceeds the quota" },
  EIO: { code: "disk-error", exit: "storage", what: "could not be read or written", hint: "Check the disk (EIO).", retryable: true },
};

/** The typed error for what the operating system answered about `path`. Anything that is no such answer comes back unchanged. */
export function fileError(cause: unknown, path: string): unknown {
  const { code, syscall } = (cause ?? {}) as NodeJS.ErrnoException;
  if (cause instanceof ConnitoError || typeof code !== "string") return cause;
  const reason = reasons[code];
  if (reason !== undefined) {
    const { what, retryable = false, ...rest } = reason;
    return new ConnitoError(`${path} ${what}`, { ...rest, retryable, cause });
  }
  if (syscall === undefined) return cause;
  return new ConnitoError(`The disk refused ${path} (${code})`, {
    code: "storage-failed",
    exit: "storage",
    hint: "Check the path and the health of its disk, then run the same command again.",
    cause,
  });
}

/** Runs `work`, turning what the operating system answers about `path` into a typed error. */
export async function onStorage<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw fileError(error, path);
  }
}

/** True when the operating system said that there is no such file. */
export function isMissing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code === "ENOENT" || code === "ENOTDIR";
}

/** Whether the path leads to something. Error: permission-denied. */
export async function fileExists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw fileError(error, path);
  }
}

export interface OpenFile {
  readonly path: string;
  readonly size: number;
  readonly handle: FileHandle;
}

/** Opens a regular file (or a link to one) for reading. Errors: file-missing, file-irregular, permission-denied. */
export async function openFile(path: string): Promise<OpenFile> {
  let handle: FileHandle | undefined;
  try {
    if (!(await stat(path)).isFile()) {
      throw new ConnitoError(`${path} is not a regular file`, { code: "file-irregular", exit: "invalidInput", hint: "Name a file." });
    }
    handle = await open(path, "r");
    return { path, size: (await handle.stat()).size, handle };
  } catch (error) {
    await handle?.close();
    throw fileError(error, path);
  }
}

/** Fills `target` from `position`; returns how many bytes there were, fewer where the file ends. Node's own read may stop short. */
async function readAll(handle: FileHandle, target: Uint8Array, position: number): Promise<number> {
  let done = 0;
  while (done < target.length) {
    const { bytesRead } = await handle.read(target, done, target.length - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

/** Fills `target` from `offset`. Error: file-truncated where the file ends before. */
export async function readInto(file: OpenFile, offset: number, target: Uint8Array): Promise<void> {
  const done = await onStorage(file.path, () => readAll(file.handle, target, offset));
  if (done < target.length) throw truncated(file.path, offset + done, offset + target.length);
}

/** For a file that ends at byte `end`, before byte `wanted`. */
export function truncated(path: string, end: number, wanted: number): ConnitoError {
  return new ConnitoError(`${path} ends at byte ${end}, before byte ${wanted}`, {
    code: "file-truncated",
    exit: "invalidInput",
    hint: "The file was cut short or changed while it was read: fetch it again.",
  });
}

/** A whole file of at most `maximumBytes`. Error: file-oversize, before any memory is taken for a larger one; what `openFile` throws. */
export async function readWhole(path: string, maximumBytes: number): Promise<Uint8Array> {
  const file = await openFile(path);
  try {
    if (file.size > maximumBytes) {
      throw new ConnitoError(`${path} has ${file.size} bytes, more than the ${maximumBytes} that such a file may have`, {
        code: "file-oversize",
        exit: "invalidInput",
        hint: "Check that this is the file that was meant.",
      });
    }
    const bytes = new Uint8Array(file.size);
    await readInto(file, 0, bytes);
    return bytes;
  } finally {
    await file.handle.close();
  }
}

/** A byte range of a file in parts of at most 1 MiB, each valid only until the next is asked for. Ends early where the file does. */
export async function* readRange(path: string, offset = 0, bytes = Number.POSITIVE_INFINITY): AsyncGenerator<Uint8Array> {
  const handle = await open(path, "r");
  try {
    const buffer = Buffer.allocUnsafeSlow(Math.max(1, Math.min(transferBytes, bytes)));
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

/** The bytes of a location, a chunk at a time. Each chunk is the caller's to keep. Error: file-truncated. */
export async function* streamLocation(location: Location): AsyncGenerator<Uint8Array> {
  const file = await openFile(location.file);
  try {
    for (let done = 0; done < location.bytes; ) {
      const chunk = new Uint8Array(Math.min(transferBytes, location.bytes - done));
      await readInto(file, location.offset + done, chunk);
      done += chunk.length;
      yield chunk;
    }
  } finally {
    await file.handle.close();
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

/** Writes all of `bytes`, at `position` where given. Node's own write may stop short. */
export async function writeAll(handle: FileHandle, bytes: Uint8Array, position?: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position === undefined ? null : position + done);
    done += bytesWritten;
  }
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

/** Gives a finished, synced file its name, durably. Both must be on one file system. */
export async function nameFile(from: string, to: string): Promise<void> {
  await rename(from, to);
  await syncDirectory(dirname(to));
}

/** How long the disk may rest between two requests to take what is written. */
const writeBackMilliseconds = 5;

/**
 * Runs `fill`, which writes a file, and meanwhile has the disk take what is there already, so that little is left to sync in the end:
 * the disk works while the processors do. What the disk refuses is thrown here, since it says so only once.
 */
async function fillWritingBack<T>(handle: FileHandle, fill: (handle: FileHandle) => Promise<T>): Promise<T> {
  const filled = new AbortController();
  const { signal } = filled;
  const writeBack = (async () => {
    for (;;) {
      await setTimeout(writeBackMilliseconds, undefined, { signal, ref: false }).catch(() => undefined);
      if (signal.aborted) return;
      await handle.datasync();
    }
  })();
  writeBack.catch(() => undefined);
  try {
    return await fill(handle);
  } finally {
    filled.abort();
    await writeBack;
  }
}

/** Has an open file filled and synced, and gives it its name. */
async function complete<T>(handle: FileHandle, from: string, to: string, fill: (handle: FileHandle) => Promise<T>): Promise<T> {
  let result: T;
  try {
    result = await fillWritingBack(handle, fill);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await nameFile(from, to);
  return result;
}

/**
 * Replaces `path` at once and durably by what `fill` writes; only when it is done and synced does the name change. The directory must
 * be there. Errors: disk-full, permission-denied, file-missing and the others of `fileError`.
 */
export async function replaceFile<T>(path: string, fill: (handle: FileHandle) => Promise<T>, mode = 0o644): Promise<T> {
  return onStorage(path, async () => {
    const temporary = temporaryPath(path, randomBytes(6).toString("hex"));
    const handle = await open(temporary, "wx", mode);
    try {
      return await complete(handle, temporary, path, fill);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  });
}

/**
 * As `replaceFile`, for files that take long to write: what a kill or a failure left of an attempt with the same `id` is in the file that
 * `fill` gets, in any state, and `fill` is to check what it keeps. An `id` stands for the file's bytes, so that two who write it at the same
 * time write the same. What was left of attempts with other ids is removed.
 */
export async function resumeFile<T>(path: string, id: string, fill: (handle: FileHandle) => Promise<T>): Promise<T> {
  const temporary = temporaryPath(path, id);
  await removeAbandoned(path, temporary);
  return onStorage(path, async () => {
    // In a directory that others may write to too, the name could be a link of theirs.
    const handle = await open(temporary, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o644);
    if (await isOwnAlone(handle)) return complete(handle, temporary, path, fill);
    await handle.close();
    await rm(temporary, { force: true });
    return complete(await open(temporary, "wx", 0o644), temporary, path, fill);
  });
}

/** Whether it is a file of this user under one name: one of somebody else could be changed after it was checked, one of two names is another file, too. */
async function isOwnAlone(handle: FileHandle): Promise<boolean> {
  const found = await handle.stat();
  return found.isFile() && found.nlink === 1 && (process.getuid === undefined || found.uid === process.getuid());
}

/** Nobody writes for so long without a byte: what is older was left by a kill. */
const abandonedMilliseconds = 300_000;

/** Removes what was left of attempts to write `path` but `kept`: in a directory that is the user's nobody else would, and it may be large. */
async function removeAbandoned(path: string, kept: string): Promise<void> {
  const directory = dirname(path);
  for (const name of await onStorage(directory, () => readdir(directory))) {
    const file = join(directory, name);
    if (!name.startsWith(`.${basename(path)}.`) || !name.endsWith(temporarySuffix) || file === kept) continue;
    const { mtimeMs } = await stat(file).catch(() => ({ mtimeMs: Number.POSITIVE_INFINITY }));
    if (Date.now() - mtimeMs > abandonedMilliseconds) await rm(file, { force: true });
  }
}

/** Replaces `path` by `bytes`; otherwise as `replaceFile`. */
export async function writeWhole(path: string, bytes: Uint8Array, mode?: number): Promise<void> {
  await replaceFile(path, (handle) => writeAll(handle, bytes), mode);
}
