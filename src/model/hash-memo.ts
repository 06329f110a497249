/**
 * Hashes that were computed before, so that work that was interrupted goes on where it was: which bytes of which file gave which hash,
 * which stand-in was made of which piece. A plain file that only grows: one line for each, with a check of its own, so that what a kill
 * tore is not believed. Nothing depends on it: without it, the work is done again.
 */
import { createHash } from "node:crypto";
import { type FileHandle, mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { onStorage } from "../files/errors.ts";
import { readInto, transferBytes } from "../files/reading.ts";
import { writeAll } from "../files/replacing.ts";
import { openOwnFile } from "../files/resuming.ts";
import { type Hash, isHash } from "../protocol/hash.ts";

export interface HashMemo {
  find(key: string): Hash | undefined;
  /** Keeps it for later runs. A key is one line of text. */
  keep(key: string, hash: Hash): Promise<void>;
  close(): Promise<void>;
}

/** A longer file is begun anew: some half a million lines. */
const maximumBytes = 64 << 20;
const lineFeed = 0x0a;
const gatherLines = 64;
const gatherMilliseconds = 1000;

/** Opens the memo at `path`, which is made with its directory when it is not there; one that somebody else put there is not believed. Errors: those of `fileError`. */
export async function openHashMemo(path: string): Promise<HashMemo> {
  await onStorage(path, () => mkdir(dirname(path), { recursive: true, mode: 0o700 }));
  const handle = await onStorage(path, () => openOwnFile(path, 0o600, { append: true }));
  /** By the digests of their keys, which are shorter than the keys: there may be a hundred thousand. */
  const known = new Map<string, Hash>();
  try {
    for await (const line of linesOf(path, handle)) {
      const [check, hash, key] = [textOf(line, 0, 16), textOf(line, 17, 81), textOf(line, 82)];
      if (isHash(hash) && check === checkOf(hash, key)) known.set(digestOf(key), hash);
    }
  } catch (error) {
    await handle.close();
    throw error;
  }
  // What a kill left of a line must not become the beginning of the next.
  let gathered: string[] = ["\n"];
  let written = performance.now();

  /** One after another, so that lines stay whole. */
  let writing: Promise<void> = Promise.resolve();

  async function flush(): Promise<void> {
    const text = gathered.join("");
    gathered = [];
    written = performance.now();
    writing = writing.then(() => onStorage(path, () => writeAll(handle, Buffer.from(text))));
    await writing;
  }

  return {
    find: (key) => known.get(digestOf(key)),
    async keep(key, hash) {
      known.set(digestOf(key), hash);
      gathered.push(`${checkOf(hash, key)} ${hash} ${key}\n`);
      if (gathered.length >= gatherLines || performance.now() - written > gatherMilliseconds) await flush();
    },
    async close() {
      try {
        await flush();
      } finally {
        await handle.close();
      }
    },
  };
}

async function* linesOf(path: string, handle: FileHandle): AsyncGenerator<Uint8Array> {
  const { size } = await onStorage(path, () => handle.stat());
  if (size > maximumBytes) return onStorage(path, () => handle.truncate());
  const file = { path, size, handle };
  // What is read so far of a line that goes on, in front of what comes behind it.
  let begun: Uint8Array = new Uint8Array();
  for (let at = 0; at < size; at += transferBytes) {
    const bytes = new Uint8Array(begun.length + Math.min(transferBytes, size - at));
    bytes.set(begun);
    await readInto(file, at, bytes.subarray(begun.length));
    let from = 0;
    for (let to = bytes.indexOf(lineFeed); to >= 0; to = bytes.indexOf(lineFeed, from)) {
      yield bytes.subarray(from, to);
      from = to + 1;
    }
    begun = bytes.slice(from);
  }
}

/** A text of its own: one that is cut out of a longer one would keep all of that in memory. */
function textOf(line: Uint8Array, from: number, to?: number): string {
  const { buffer, byteOffset, byteLength } = line.subarray(from, to);
  return Buffer.from(buffer, byteOffset, byteLength).toString("utf8");
}

function checkOf(hash: Hash, key: string): string {
  return createHash("sha256").update(`${hash} ${key}`).digest("hex").slice(0, 16);
}

function digestOf(key: string): string {
  return createHash("sha256").update(key).digest().toString("latin1", 0, 16);
}
