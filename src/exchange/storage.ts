/** The little that downloading and publishing need of the disk: typed errors, and files that are whole and synced before they have a name. */
import { type FileHandle, open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { ConnitoError } from "../errors.ts";

/** The typed error for what the operating system answered about `path`; anything else comes back unchanged. */
export function storageError(cause: unknown, path: string): unknown {
  const { code, syscall } = (cause ?? {}) as NodeJS.ErrnoException;
  if (cause instanceof ConnitoError || typeof code !== "string" || syscall === undefined) return cause;
  const full = code === "ENOSPC" || code === "EDQUOT";
  return new ConnitoError(full ? `No space left for ${path}` : `The disk refused ${path} (${code})`, {
    code: full ? "disk-full" : "storage-failed",
    exit: "storage",
    hint: full
      ? "Free space on that volume and run the same command again: what was finished before is kept."
      : "Check the path, its permissions and the health of its disk, then run the same command again.",
    retryable: full,
    cause,
  });
}

/** True when the operating system said that there is no such file. */
export function isMissing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code === "ENOENT" || code === "ENOTDIR";
}

/** Writes all of `bytes` at `position`. Node's own write may stop short. */
export async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

/** Gives a finished, synced file its name, durably. */
export async function nameFile(from: string, to: string): Promise<void> {
  await rename(from, to);
  if (process.platform === "win32") return;
  const directory = await open(dirname(to), "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
