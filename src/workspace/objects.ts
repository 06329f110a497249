/**
 * Bytes by their SHA-256: kept here as files, or pieces of files that lie elsewhere (a view of a checkpoint: no byte is copied). What is
 * read through this store has the hash that was asked for; what no longer has it is said to be corrupt and counts as missing from then
 * on, so that the caller can fetch it again. Nothing here is ever half an object: an object gets its name when it is whole and synced.
 */
import { createHash } from "node:crypto";
import { type FileHandle, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ConnitoError } from "../errors.ts";
import { isMissing, onStorage } from "../files/errors.ts";
import { fileExists, hashRange, type Location, readRange } from "../files/reading.ts";
import { makeDirectory, replaceFile, writeAll } from "../files/replacing.ts";
import type { Hash } from "../protocol/hash.ts";
import { isHash, sha256, toHex } from "../protocol/hash.ts";
import { moveDurably, namesIn, readOnlyError, writeAtomic } from "./files.ts";
import type { Layout } from "./layout.ts";
import { openViews, type Stamp } from "./views.ts";

export interface ObjectStore {
  /** True when the object is here, by name; its bytes are checked when they are read. */
  has(hash: Hash): Promise<boolean>;
  /** Those of `hashes` that are not here, as `has` would say, in their order: one look at each directory and file, however many there are. */
  absent(hashes: Iterable<Hash>): Promise<Hash[]>;
  /** The hashes of the objects kept here as files of their own, not of those in views. */
  list(): Promise<Set<Hash>>;
  /** Where it lies, for those who stream it themselves. A piece of a file that changed since is checked first, and is undefined if it differs. */
  locate(hash: Hash): Promise<Location | undefined>;
  /** The whole object, checked. Errors: object-missing, object-corrupt. */
  read(hash: Hash): Promise<Uint8Array>;
  /** The object in parts of at most 1 MiB, each valid until the next; throws object-corrupt at the end if the whole was not what its name says. */
  stream(hash: Hash): AsyncIterable<Uint8Array>;
  /** Keeps `bytes`; nothing is written when they are here already. `hash` is for those who hashed them just now. */
  put(bytes: Uint8Array, hash?: Hash): Promise<Hash>;
  /** Keeps a copy of a file. Error: object-hash-mismatch when `hash` is given and differs. */
  putFile(path: string, hash?: Hash): Promise<Hash>;
  /** Makes pieces of existing files known, durably, without copying. What is known already stays as it is. */
  addView(locations: ReadonlyMap<Hash, Location>): Promise<void>;
  /** Where a download of the object goes before it is adopted; the same path after a restart, so that it can be resumed. */
  temporaryPath(hash: Hash): string;
  /** Takes over a finished file of this file system as the object. Checks it unless the caller did. Error: object-hash-mismatch. */
  adopt(path: string, hash: Hash, options?: { readonly verified?: boolean }): Promise<void>;
  /** Forgets an object kept here, or its place in a view; the viewed file itself is not touched. */
  remove(hash: Hash): Promise<void>;
}

/** Opens the store in the given layout. With `readOnly` nothing on the disk is changed, not even to drop what is corrupt. */
export async function openObjects(layout: Layout, options: { readonly readOnly?: boolean } = {}): Promise<ObjectStore> {
  const views = await openViews(layout.views, options);
  const dropped = new Set<Hash>();

  async function kept(hash: Hash): Promise<Location | undefined> {
    const file = layout.object(hash);
    try {
      return { file, offset: 0, bytes: (await stat(file)).size };
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  async function locate(hash: Hash): Promise<Location | undefined> {
    if (dropped.has(hash)) return undefined;
    return (await onStorage(layout.object(hash), () => kept(hash))) ?? (await views.locate(hash));
  }

  async function has(hash: Hash): Promise<boolean> {
    return (await locate(hash)) !== undefined;
  }

  async function list(): Promise<Set<Hash>> {
    const names = new Set<Hash>();
    for (const shelf of await namesIn(layout.objects)) {
      for (const name of await namesIn(join(layout.objects, shelf))) if (isHash(name)) names.add(name);
    }
    return names;
  }

  async function absent(hashes: Iterable<Hash>): Promise<Hash[]> {
    const here = await onStorage(layout.objects, list);
    const looked = new Map<string, Stamp | undefined>();
    const away: Hash[] = [];
    for (const hash of hashes) {
      const known = !dropped.has(hash) && (here.has(hash) || (await views.locate(hash, looked)) !== undefined);
      if (!known) away.push(hash);
    }
    return away;
  }

  async function drop(hash: Hash): Promise<void> {
    dropped.add(hash);
    if (options.readOnly) return;
    await rm(layout.object(hash), { force: true });
    await views.remove(hash);
  }

  async function* stream(hash: Hash): AsyncGenerator<Uint8Array> {
    const location = await locate(hash);
    if (location === undefined) throw missing(hash);
    const hasher = createHash("sha256");
    try {
      for await (const part of readRange(location.file, location.offset, location.bytes)) {
        hasher.update(part);
        yield part;
      }
    } catch (error) {
      // The viewed file went away between locating and reading.
      if (!isMissing(error)) throw error;
    }
    if (hasher.digest("hex") === hash) return;
    await drop(hash);
    throw corrupt(hash, location.file);
  }

  function writable(): void {
    if (options.readOnly) throw readOnlyError(layout.root);
  }

  return {
    has,
    list: () => onStorage(layout.objects, list),
    absent,
    locate,
    stream,
    async read(hash) {
      return onStorage(layout.object(hash), async () => {
        const location = await locate(hash);
        if (location === undefined) throw missing(hash);
        const bytes = new Uint8Array(location.bytes);
        let filled = 0;
        for await (const part of stream(hash)) {
          bytes.set(part, filled);
          filled += part.length;
        }
        return bytes;
      });
    },
    async put(bytes, hash = toHex(sha256(bytes))) {
      writable();
      if (await has(hash)) return hash;
      await writeAtomic(layout.object(hash), bytes);
      dropped.delete(hash);
      return hash;
    },
    async putFile(path, expected) {
      writable();
      if (expected !== undefined && (await has(expected))) return expected;
      return onStorage(path, async () => {
        const hash = expected ?? (await hashRange(path)).hash;
        if (expected === undefined && (await has(hash))) return hash;
        const file = layout.object(hash);
        await makeDirectory(dirname(file));
        const copy = async (handle: FileHandle) => {
          const hasher = createHash("sha256");
          for await (const part of readRange(path)) {
            hasher.update(part);
            await writeAll(handle, part);
          }
          const found = hasher.digest("hex");
          if (found !== hash) throw mismatch(path, hash, found);
        };
        await replaceFile(file, copy, 0o600);
        dropped.delete(hash);
        return hash;
      });
    },
    async addView(locations) {
      writable();
      const unknown = new Map<Hash, Location>();
      for (const hash of await absent(locations.keys())) unknown.set(hash, locations.get(hash) as Location);
      await views.add(unknown);
      for (const hash of unknown.keys()) dropped.delete(hash);
    },
    temporaryPath: (hash) => layout.partialObject(hash),
    async adopt(path, hash, { verified = false } = {}) {
      writable();
      try {
        if (!verified) {
          const found = await onStorage(path, () => hashRange(path));
          if (found.hash !== hash) throw mismatch(path, hash, found.hash);
        }
        await moveDurably(path, layout.object(hash));
      } catch (error) {
        // Two who wanted the same bytes at once share one download, and the other was first, perhaps only just now.
        if ((await fileExists(path)) || !(await has(hash))) throw error;
        return;
      }
      dropped.delete(hash);
    },
    async remove(hash) {
      writable();
      await onStorage(layout.object(hash), () => drop(hash));
    },
  };
}

function missing(hash: Hash): ConnitoError {
  return new ConnitoError(`Object ${hash} is not in this state directory`, {
    code: "object-missing",
    exit: "storage",
    hint: "Fetch it again: whatever fetched it first (slice, score, task) skips what is here and gets the rest.",
    retryable: true,
  });
}

function corrupt(hash: Hash, file: string): ConnitoError {
  return new ConnitoError(`Object ${hash} has changed on the disk (${file})`, {
    code: "object-corrupt",
    exit: "storage",
    hint: "It was dropped: run the same command again to fetch it anew. If this happens often, check the disk.",
    retryable: true,
  });
}

function mismatch(path: string, wanted: Hash, found: Hash): ConnitoError {
  return new ConnitoError(`${path} hashes to ${found}, not to ${wanted}`, {
    code: "object-hash-mismatch",
    exit: "verification",
    hint: "The file is not what its name says: get it again from its source.",
  });
}
