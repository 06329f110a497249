/**
 * Reading from the disk, for every room that does. Only regular files are opened (a named pipe would hang), and memory is taken for what
 * was asked for, never for what a file claims.
 */
import { createHash } from "node:crypto";
import { type FileHandle, open, stat } from "node:fs/promises";
import { ConnitoError } from "../errors.ts";
import { fileError, isMissing, onStorage, truncated } from "./errors.ts";

/** Where bytes lie that are not copied. */
export interface Location {
  readonly file: string;
  readonly offset: number;
  readonly bytes: number;
}

/** How much is read or written at once: enough to be fast, little enough to stay in the cache of a core. */
export const transferBytes = 1 << 20;

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
