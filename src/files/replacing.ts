/**
 * Writing to the disk, for every room that does. A file that is written here is at every moment either the old one or the new one, whole;
 * once the promise resolves the new one is on the disk, under its name. A write that fails leaves nothing behind.
 */
import { randomBytes } from "node:crypto";
import { type FileHandle, mkdir, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { onStorage } from "./errors.ts";

/** Temporary files carry this ending; the next owner of a state directory removes those that a kill left behind. */
export const temporarySuffix = ".tmp";

/** The file beside `path` that becomes it when it is whole. */
export function temporaryPath(path: string, id: string): string {
  return join(dirname(path), `.${basename(path)}.${id}${temporarySuffix}`);
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
export async function complete<T>(handle: FileHandle, from: string, to: string, fill: (handle: FileHandle) => Promise<T>): Promise<T> {
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

/** Replaces `path` by `bytes`; otherwise as `replaceFile`. */
export async function writeWhole(path: string, bytes: Uint8Array, mode?: number): Promise<void> {
  await replaceFile(path, (handle) => writeAll(handle, bytes), mode);
}
