/** What a state directory adds to the shared ways of writing (../files/): parents made on the way, files for their owner only, JSON. */
import { open, readdir } from "node:fs/promises";
import { dirname } from "node:path";
import { ConnitoError } from "../errors.ts";
import { isMissing, onStorage } from "../files/errors.ts";
import { readWhole, transferBytes } from "../files/reading.ts";
import { makeDirectory, nameFile, replaceFile, writeAll } from "../files/replacing.ts";

/** For those who opened the state directory without its lock and write all the same: a mistake in the program. */
export function readOnlyError(path: string): ConnitoError {
  return new ConnitoError(`${path} was opened for reading only`, {
    code: "state-read-only",
    exit: "unexpected",
    hint: "This is a mistake in connito: please report it with the command that you ran.",
  });
}

export interface WriteOptions {
  /** Permission bits of a new file; 0600 unless told. */
  readonly mode?: number;
}

/** Replaces `path` by bytes or by text, which may come in parts, at once and durably. Missing parents are made. Errors: those of `fileError`. */
export async function writeAtomic(
  path: string,
  content: Uint8Array | Iterable<string>,
  { mode = 0o600 }: WriteOptions = {},
): Promise<void> {
  await onStorage(path, () => makeDirectory(dirname(path)));
  const parts = content instanceof Uint8Array ? [content] : encoded(content);
  await replaceFile(
    path,
    async (handle) => {
      for (const part of parts) await writeAll(handle, part);
    },
    mode,
  );
}

/** Text in UTF-8, a few large buffers for many small parts. */
function* encoded(text: Iterable<string>): Generator<Uint8Array> {
  let gathered: string[] = [];
  let characters = 0;
  for (const part of typeof text === "string" ? [text] : text) {
    gathered.push(part);
    characters += part.length;
    if (characters < transferBytes) continue;
    yield Buffer.from(gathered.join(""), "utf8");
    gathered = [];
    characters = 0;
  }
  yield Buffer.from(gathered.join(""), "utf8");
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
    await nameFile(from, to);
  });
}

/** Reads a whole file of at most `maximumBytes`; undefined where there is none. Error: file-oversize. */
export async function readBounded(path: string, maximumBytes: number): Promise<Buffer | undefined> {
  try {
    const bytes = await readWhole(path, maximumBytes);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  } catch (error) {
    // Not asked a second time: it may be there by now.
    if (error instanceof ConnitoError && isMissing(error.cause)) return undefined;
    throw error;
  }
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

/** Writes a document that this program reads back with `readJson`, whole or not at all. */
export async function writeJson(path: string, value: unknown, options: WriteOptions = {}): Promise<void> {
  await writeAtomic(path, `${JSON.stringify(value, undefined, 2)}\n`, options);
}

/** The names that a directory holds, sorted; none where there is no directory. */
export async function namesIn(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).sort();
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
