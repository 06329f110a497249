/**
 * Views: which objects are pieces of files that lie elsewhere, such as a downloaded checkpoint. Each call to `add` leaves one small file
 * in the views directory, written before the pieces are used. A viewed file belongs to someone else and may change at any time: its size
 * and modification time are recorded, and while they are the same its pieces are taken on trust; else the asked piece is hashed again.
 */
import { createHash } from "node:crypto";
import { rm, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { ConnitoError } from "../errors.ts";
import { isMissing, onStorage } from "../files/errors.ts";
import { hashRange, type Location } from "../files/reading.ts";
import type { Hash } from "../protocol/hash.ts";
import { isHash } from "../protocol/hash.ts";
import { namesIn, readJson, writeAtomic } from "./files.ts";

const format = "connito/view/1";
const maximumViewBytes = 256 << 20;

export interface Views {
  /** Where the piece lies, if it is known and still has its hash. Who asks for many passes the same `looked`, for one look at each file. */
  locate(hash: Hash, looked?: Map<string, Stamp | undefined>): Promise<Location | undefined>;
  add(locations: ReadonlyMap<Hash, Location>): Promise<void>;
  /** Forgets a piece, durably. */
  remove(hash: Hash): Promise<void>;
}

/** How a file looked; `Map`s of them say so by path. */
export interface Stamp {
  readonly size: number;
  readonly modified: number;
}

interface ViewedFile extends Stamp {
  readonly path: string;
}

interface Piece {
  readonly file: ViewedFile;
  /** How the file looked when this piece was last known to be good. */
  good: Stamp;
  readonly offset: number;
  readonly bytes: number;
  /** The view file that names it. */
  readonly view: string;
}

/** Opens all views in `directory`. Error: document-corrupt, naming the view file. */
export async function openViews(directory: string, options: { readonly readOnly?: boolean } = {}): Promise<Views> {
  const pieces = new Map<Hash, Piece>();
  for (const name of await onStorage(directory, () => namesIn(directory))) {
    if (!name.endsWith(".json")) continue;
    const view = join(directory, name);
    for (const [hash, piece] of parseView(view, await readJson(view, maximumViewBytes))) pieces.set(hash, piece);
  }

  async function save(view: string): Promise<void> {
    const own = new Map([...pieces].filter(([, piece]) => piece.view === view));
    if (own.size === 0) return rm(view, { force: true });
    await writeAtomic(view, serialise(own));
  }

  return {
    async locate(hash, looked = new Map()) {
      const piece = pieces.get(hash);
      if (piece === undefined) return undefined;
      const { file, offset, bytes } = piece;
      return onStorage(file.path, async () => {
        const now = looked.has(file.path) ? looked.get(file.path) : await statOf(file.path);
        looked.set(file.path, now);
        if (now === undefined) return undefined;
        const location = { file: file.path, offset, bytes };
        if (now.size === piece.good.size && now.modified === piece.good.modified) return location;
        if ((await hashRange(file.path, offset, bytes)).hash !== hash) return undefined;
        piece.good = now;
        return location;
      });
    },
    async add(locations) {
      const files = new Map<string, ViewedFile>();
      const added = new Map<Hash, Piece>();
      const id = createHash("sha256");
      for (const hash of [...locations.keys()].sort()) id.update(hash);
      const view = join(directory, `${id.digest("hex").slice(0, 32)}.json`);
      for (const [hash, { file: name, offset, bytes }] of locations) {
        const file = files.get(name) ?? (await viewedFile(resolve(name)));
        files.set(name, file);
        if (offset + bytes > file.size) throw outside(file.path, hash);
        added.set(hash, { file, good: file, offset, bytes, view });
      }
      if (added.size === 0) return;
      await writeAtomic(view, serialise(added));
      for (const [hash, piece] of added) pieces.set(hash, piece);
    },
    async remove(hash) {
      const piece = pieces.get(hash);
      if (piece === undefined) return;
      pieces.delete(hash);
      if (!options.readOnly) await onStorage(piece.view, () => save(piece.view));
    },
  };
}

async function statOf(path: string): Promise<Stamp | undefined> {
  try {
    const { size, mtimeMs } = await stat(path);
    return { size, modified: mtimeMs };
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function viewedFile(path: string): Promise<ViewedFile> {
  const { size, mtimeMs } = await onStorage(path, () => stat(path));
  return { path, size, modified: mtimeMs };
}

/** A view file's JSON, a piece at a time: there may be a hundred thousand. */
function* serialise(pieces: ReadonlyMap<Hash, Piece>): Generator<string> {
  const places = new Map<ViewedFile, number>();
  for (const { file } of pieces.values()) if (!places.has(file)) places.set(file, places.size);
  yield `{"format":"${format}","files":${JSON.stringify([...places.keys()])},"pieces":[`;
  let comma = "";
  for (const [hash, { file, offset, bytes }] of pieces) {
    yield `${comma}["${hash}",${places.get(file)},${offset},${bytes}]`;
    comma = ",";
  }
  yield "]}\n";
}

function parseView(view: string, value: unknown): Map<Hash, Piece> {
  const document = value as { format?: unknown; files?: unknown; pieces?: unknown } | null | undefined;
  const pieces = new Map<Hash, Piece>();
  if (document?.format !== format || !Array.isArray(document.files) || !Array.isArray(document.pieces)) throw corrupt(view);
  const files = document.files.map((file: Partial<ViewedFile> | null): ViewedFile => {
    if (typeof file?.path !== "string" || typeof file.size !== "number" || typeof file.modified !== "number") throw corrupt(view);
    return { path: file.path, size: file.size, modified: file.modified };
  });
  for (const row of document.pieces as unknown[]) {
    const [hash, index, offset, bytes] = Array.isArray(row) ? (row as unknown[]) : [];
    const file = files[index as number];
    if (!isHash(hash) || file === undefined || !isCount(offset) || !isCount(bytes)) throw corrupt(view);
    pieces.set(hash, { file, good: file, offset, bytes, view });
  }
  return pieces;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function corrupt(view: string): ConnitoError {
  return new ConnitoError(`The view ${view} cannot be read`, {
    code: "document-corrupt",
    exit: "storage",
    hint: "Delete that file and run `connito slice` again: it only lists where pieces of a checkpoint lie.",
  });
}

function outside(path: string, hash: Hash): ConnitoError {
  return new ConnitoError(`Piece ${hash} would reach beyond the end of ${path}`, {
    code: "view-out-of-range",
    exit: "invalidInput",
    hint: "The file changed while it was indexed: run the command again.",
  });
}
