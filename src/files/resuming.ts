/** Files that take long to write: what a kill or a failure leaves behind is what the same call goes on with. */
import { constants } from "node:fs";
import { type FileHandle, open, readdir, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { onStorage } from "./errors.ts";
import { complete, temporaryPath, temporarySuffix } from "./replacing.ts";

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
