/**
 * Reading byte ranges and writing whole files, with the operating system's errors turned into typed ones. Only regular files are
 * opened (a named pipe would hang), every read is as long as asked or fails, and a written file appears under its name complete
 * and synced, or not at all.
 */
import { randomBytes } from "node:crypto";
import { type FileHandle, open, rename, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ConnitoError, type ExitCodeName } from "../errors.ts";

/** Where bytes lie that are not copied. */
export interface Location {
  readonly file: string;
  readonly offset: number;
  readonly bytes: number;
}

/** How much is read or written at once. */
export const transferBytes = 1 << 20;

const known: Record<string, { code: string; exit: ExitCodeName; what: string; hint: string; retryable?: boolean }> = {
  ENOENT: {
    code: "file-missing",
    exit: "invalidInput",
    what: "does not exist",
    hint: "Check the path, and that the download is complete.",
  },
  ENOTDIR: { code: "file-missing", exit: "invalidInput", what: "does not exist", hint: "Check the path: a part of it is no directory." },
  EISDIR: { code: "file-irregular", exit: "invalidInput", what: "is a directory", hint: "Name a file." },
  EACCES: { code: "permission-denied", exit: "storage", what: "may not be opened", hint: "Give this user the right to it." },
  EPERM: { code: "permission-denied", exit: "storage", what: "may not be opened", hint: "Give this user the right to it." },
  EROFS: { code: "permission-denied", exit: "storage", what: "lies on a read-only file system", hint: "Choose another directory." },
  ENOSPC: {
    code: "disk-full",
    exit: "storage",
    what: "does not fit on the disk",
    hint: "Free some space, then run it again.",
    retryable: true,
  },
  EDQUOT: { code: "disk-full", exit: "storage", what: "exceeds the quota", hint: "Free some space, then run it again.", retryable: true },
  EIO: { code: "disk-error", exit: "storage", what: "could not be read or written", hint: "Check the disk (EIO).", retryable: true },
};

/** A typed error for what the operating system said about `path`; anything that is no system error is returned as it is. */
export function fileError(error: unknown, path: string): unknown {
  if (error instanceof ConnitoError) return error;
  const reason = known[(error as NodeJS.ErrnoException | undefined)?.code ?? ""];
  if (reason === undefined) return error;
  const { code, exit, what, hint, retryable = false } = reason;
  return new ConnitoError(`${path} ${what}`, { code, exit, hint, retryable, cause: error });
}

export interface OpenFile {
  readonly path: string;
  readonly size: number;
  readonly handle: FileHandle;
}

/** Opens a regular file (or a link to one) for reading. Throws `file-missing`, `file-irregular`, `permission-denied`. */
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

export async function fileExists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") return false;
    throw fileError(error, path);
  }
}

/** Fills `target` from `offset`. Throws `file-truncated` where the file ends before. */
export async function readInto(file: OpenFile, offset: number, target: Uint8Array): Promise<void> {
  let done = 0;
  try {
    while (done < target.length) {
      const { bytesRead } = await file.handle.read(target, done, target.length - done, offset + done);
      if (bytesRead === 0) {
        throw new ConnitoError(`${file.path} ends at byte ${offset + done}, before byte ${offset + target.length}`, {
          code: "file-truncated",
          exit: "invalidInput",
          hint: "The file was cut short or changed while it was read: fetch it again.",
        });
      }
      done += bytesRead;
    }
  } catch (error) {
    throw fileError(error, file.path);
  }
}

/** A whole file of at most `maximumBytes`; throws `file-oversize` before any memory is taken for a larger one. */
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

/** The bytes of a location, a chunk at a time. Each chunk is the caller's to keep. */
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

export interface AtomicFile {
  write(bytes: Uint8Array): Promise<void>;
  /** Syncs the bytes and gives the file its name. */
  commit(): Promise<void>;
  /** Removes what was written; does nothing after `commit`. */
  discard(): Promise<void>;
}

/** A file that gets its name only when all of it is on the disk. The directory must exist. Small writes are gathered. */
export async function createAtomicFile(path: string): Promise<AtomicFile> {
  const partial = join(dirname(path), `.${randomBytes(6).toString("hex")}.partial`);
  let handle: FileHandle | undefined;
  try {
    handle = await open(partial, "wx");
  } catch (error) {
    throw fileError(error, path);
  }
  const gathered = new Uint8Array(transferBytes);
  let pending = 0;
  let committed = false;

  const put = async (bytes: Uint8Array) => {
    for (let done = 0; done < bytes.length; ) {
      done += (await (handle as FileHandle).write(bytes, done, bytes.length - done)).bytesWritten;
    }
  };
  const guarded = async (work: () => Promise<void>) => {
    try {
      await work();
    } catch (error) {
      throw fileError(error, path);
    }
  };
  const flush = async () => {
    const bytes = pending;
    pending = 0;
    if (bytes > 0) await put(gathered.subarray(0, bytes));
  };

  return {
    write: (bytes) =>
      guarded(async () => {
        if (pending + bytes.length > gathered.length) await flush();
        if (bytes.length >= gathered.length) return put(bytes);
        gathered.set(bytes, pending);
        pending += bytes.length;
      }),
    commit: () =>
      guarded(async () => {
        await flush();
        await (handle as FileHandle).sync();
        await handle?.close();
        handle = undefined;
        await rename(partial, path);
        committed = true;
        const directory = await open(dirname(path), "r");
        try {
          await directory.sync();
        } finally {
          await directory.close();
        }
      }),
    discard: async () => {
      await handle?.close().catch(() => {});
      handle = undefined;
      if (!committed) await unlink(partial).catch(() => {});
    },
  };
}

/** Writes a small file as a whole: after this it is there, synced, or the old one still is. */
export async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  const file = await createAtomicFile(path);
  try {
    await file.write(bytes);
    await file.commit();
  } finally {
    await file.discard();
  }
}
