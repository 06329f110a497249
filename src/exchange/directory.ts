/**
 * A directory as a peer: the same paths as over HTTP, as plain files, for participants that share a disk. Whoever can read the directory
 * can read all of it: held-out data and unopened submissions must not be published this way to those who may not have them.
 *
 * Published files are copies (sharing their blocks where the file system can), not links: a reader who may write there must not be able
 * to change the publisher's own objects. Reading takes plain files only, so that nobody can put a device or a pipe in the way.
 */
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { copyFile, type FileHandle, mkdir, open, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { ConnitoError } from "../errors.ts";
import { fileError, isMissing } from "../files/errors.ts";
import { nameFile, writeAll } from "../files/replacing.ts";
import { hashMismatch, objectNotFound, objectOversize, peerUnreachable, requestRefused } from "./errors.ts";
import { resourceAt } from "./resources.ts";
import type { Source } from "./source.ts";

const partBytes = 1 << 18;

/** Opens the directory at `root` as a source. */
export function openDirectorySource(locator: string, root: string): Source {
  return {
    locator,
    async get(path, options) {
      options.signal?.throwIfAborted();
      const handle = await openPublished(locator, root, path);
      try {
        const { size } = await handle.stat();
        if (size > options.maximumBytes) throw objectOversize(locator, path, options.maximumBytes);
        if (options.expectedBytes !== undefined && size !== options.expectedBytes) {
          throw hashMismatch(locator, path, `${size} bytes instead of ${options.expectedBytes}`);
        }
        const offset = (options.offset ?? 0) <= size ? (options.offset ?? 0) : 0;
        return { offset, totalBytes: size, [Symbol.asyncIterator]: () => readParts(handle, locator, offset, size, options.signal) };
      } catch (error) {
        await handle.close();
        throw error;
      }
    },
  };
}

async function openPublished(locator: string, root: string, path: string): Promise<FileHandle> {
  if (resourceAt(path) === undefined) throw objectNotFound(locator, path);
  let handle: FileHandle;
  try {
    // Not through a link, and without waiting for the other end of a pipe.
    handle = await open(join(root, path), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (isMissing(error))
      throw (await isThere(root)) ? objectNotFound(locator, path) : peerUnreachable(locator, "there is no such directory", error);
    const { code } = error as NodeJS.ErrnoException;
    throw code === "EACCES" || code === "ELOOP"
      ? requestRefused(locator, path, `the file cannot be opened (${code})`)
      : peerUnreachable(locator, String(code), error);
  }
  if ((await handle.stat()).isFile()) return handle;
  await handle.close();
  throw requestRefused(locator, path, "it is not a plain file");
}

async function* readParts(
  handle: FileHandle,
  locator: string,
  offset: number,
  size: number,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  try {
    const buffer = Buffer.allocUnsafe(Math.max(1, Math.min(partBytes, size - offset)));
    for (let position = offset; position < size; ) {
      signal?.throwIfAborted();
      const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, size - position), position);
      if (bytesRead === 0) throw peerUnreachable(locator, "a file was cut while it was read");
      yield buffer.subarray(0, bytesRead);
      position += bytesRead;
    }
  } catch (error) {
    throw error instanceof Error && "syscall" in error ? peerUnreachable(locator, "a file cannot be read", error) : error;
  } finally {
    await handle.close();
  }
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** What is published: a file, a range of one, or bytes. */
export type ToPublish = { readonly file: string; readonly offset?: number; readonly bytes?: number } | Uint8Array;

/**
 * Puts bytes at a path of resources.ts in the shared directory, at once and durably; readable by all who reach the directory. What is
 * named by its content and there already is left alone. Errors: path-unknown, disk-full, storage-failed.
 */
export async function publishToDirectory(directory: string, path: string, content: ToPublish): Promise<void> {
  const found = resourceAt(path);
  if (found === undefined) throw pathUnknown(path);
  const target = join(directory, path);
  try {
    const bytes = await lengthOf(content);
    if (!found.rule.replaceable && (await sizeOf(target)) === bytes) return;
    await mkdir(dirname(target), { recursive: true, mode: 0o755 });
    const temporary = join(dirname(target), `.${basename(target)}.${randomBytes(6).toString("hex")}.tmp`);
    try {
      await writeCopy(temporary, content, bytes);
      await nameFile(temporary, target);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  } catch (error) {
    throw fileError(error, target);
  }
}

async function writeCopy(temporary: string, content: ToPublish, bytes: number): Promise<void> {
  const whole = !(content instanceof Uint8Array) && (content.offset ?? 0) === 0 && (await sizeOf(content.file)) === bytes;
  if (whole) await copyFile(content.file, temporary, constants.COPYFILE_FICLONE);
  const handle = await open(temporary, whole ? "r+" : "wx", 0o644);
  try {
    if (content instanceof Uint8Array) await writeAll(handle, content, 0);
    else if (!whole) await copyRange(content.file, content.offset ?? 0, bytes, handle);
    await handle.chmod(0o644);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function copyRange(file: string, offset: number, bytes: number, to: FileHandle): Promise<void> {
  const from = await open(file, "r");
  try {
    const buffer = Buffer.allocUnsafe(Math.max(1, Math.min(partBytes, bytes)));
    for (let done = 0; done < bytes; ) {
      const { bytesRead } = await from.read(buffer, 0, Math.min(buffer.length, bytes - done), offset + done);
      if (bytesRead === 0) throw sourceCut(file);
      await writeAll(to, buffer.subarray(0, bytesRead), done);
      done += bytesRead;
    }
  } finally {
    await from.close();
  }
}

async function lengthOf(content: ToPublish): Promise<number> {
  if (content instanceof Uint8Array) return content.length;
  return content.bytes ?? (await stat(content.file)).size - (content.offset ?? 0);
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

function pathUnknown(path: string): ConnitoError {
  return new ConnitoError(`${JSON.stringify(path.slice(0, 200))} is not a path of the exchange`, {
    code: "path-unknown",
    exit: "unexpected",
    hint: "This is a mistake in connito: please report it with the command that you ran.",
  });
}

function sourceCut(file: string): ConnitoError {
  return new ConnitoError(`${file} is shorter than it was when it was indexed`, {
    code: "object-corrupt",
    exit: "storage",
    hint: "Run the same command again: what changed is indexed anew or fetched.",
    retryable: true,
  });
}
