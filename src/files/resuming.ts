/** Files that take long to write: what a kill or a failure leaves behind is what the same call goes on with. */
import { constants } from "node:fs";
import { type FileHandle, lstat, mkdir, open, readdir, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { onStorage } from "./errors.ts";
import { complete, temporaryPath, temporarySuffix } from "./replacing.ts";

/**
 * As `replaceFile`, for files that take long to write: what a kill or a failure left of an attempt with the same `id` is in the file that
 * `fill` gets, in any state, and `fill` is to check what it keeps. An `id`, in hexadecimal digits, stands for the file's bytes. What was left of attempts with other
 * ids is removed.
 */
export async function resumeFile<T>(path: string, id: string, fill: (handle: FileHandle) => Promise<T>): Promise<T> {
  const temporary = temporaryPath(path, id);
  await removeAbandoned(path, temporary);
  return onStorage(path, async () => complete(await openOwnFile(temporary, 0o644), temporary, path, fill));
}

/**
 * Opens for reading and writing what an earlier run left at `path`, or makes it. In a directory that others may write to too, something of
 * theirs could have that name: what is no file of this user alone is removed, neither read nor written. With `append`, all writing is at the end.
 */
export async function openOwnFile(path: string, mode: number, { append = false } = {}): Promise<FileHandle> {
  const flags = constants.O_RDWR | constants.O_CREAT | (append ? constants.O_APPEND : 0);
  try {
    const handle = await open(path, flags | constants.O_NOFOLLOW, mode);
    if (await isOwnAlone(handle)) return handle;
    await handle.close();
  } catch (error) {
    // What O_NOFOLLOW answers where there is a link.
    if ((error as NodeJS.ErrnoException).code !== "ELOOP") throw error;
  }
  await rm(path, { force: true });
  return open(path, flags | constants.O_EXCL, mode);
}

/** Whether it is a file of this user under one name: one of somebody else could be changed after it was checked, one of two names is another file, too. */
async function isOwnAlone(handle: FileHandle): Promise<boolean> {
  const found = await handle.stat();
  return found.isFile() && found.nlink === 1 && isOurs(found);
}

/** Makes the directory `path`, where an earlier run of this user did not leave it: what somebody else put there, or could write into, is removed. */
export async function makeOwnDirectory(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isDirectory() && isOurs(found) && (found.mode & 0o022) === 0) return;
  if (found !== undefined) await rm(path, { recursive: true, force: true });
  await mkdir(path, { recursive: true, mode: 0o755 });
}

function isOurs({ uid }: { readonly uid: number }): boolean {
  return process.getuid === undefined || uid === process.getuid();
}

/** Nobody writes for so long without a byte: what is older was left by a kill. */
const abandonedMilliseconds = 300_000;

/** Removes what was left of attempts to write `path` but `kept`: in a directory that is the user's nobody else would, and it may be large. */
async function removeAbandoned(path: string, kept: string): Promise<void> {
  const directory = dirname(path);
  const prefix = `.${basename(path)}.`;
  for (const name of await onStorage(directory, () => readdir(directory))) {
    const file = join(directory, name);
    if (!name.startsWith(prefix) || !name.endsWith(temporarySuffix) || file === kept) continue;
    // What has more than an id there is of another file, whose name goes on where this one's ends.
    if (!/^[0-9a-f]+$/.test(name.slice(prefix.length, -temporarySuffix.length))) continue;
    const { mtimeMs } = await stat(file).catch(() => ({ mtimeMs: Number.POSITIVE_INFINITY }));
    if (Date.now() - mtimeMs > abandonedMilliseconds) await rm(file, { force: true });
  }
}
