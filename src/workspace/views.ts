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
  /** The map becomes the view's own, without a copy: there may be a hundred thousand places. */
  add(locations: Map<Hash, Location>): Promise<void>;
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

/** One file of the directory. Of a large checkpoint there are a hundred thousand pieces: their places are the objects that were given. */
interface View {
  readonly path: string;
  readonly files: ReadonlyMap<string, ViewedFile>;
  readonly pieces: Map<Hash, Location>;
}

/** Opens all views in `directory`. Error: document-corrupt, naming the view file. */
export async function openViews(directory: string, options: { readonly readOnly?: boolean } = {}): Promise<Views> {
  const views: View[] = [];
  for (const name of await onStorage(directory, () => namesIn(directory))) {
    if (!name.endsWith(".json")) continue;
    const path = join(directory, name);
    views.push(parseView(path, await readJson(path, maximumViewBytes)));
  }
  /** How files looked when pieces of theirs that were hashed again were good. */
  const hashedAgain = new Map<Hash, Stamp>();

  return {
    async locate(hash, looked = new Map()) {
      // What was added last counts.
      const view = views.findLast(({ pieces }) => pieces.has(hash));
      if (view === undefined) return undefined;
      const { file, offset, bytes } = view.pieces.get(hash) as Location;
      return onStorage(file, async () => {
        const now = looked.has(file) ? looked.get(file) : await statOf(file);
        looked.set(file, now);
        if (now === undefined) return undefined;
        const good = hashedAgain.get(hash) ?? view.files.get(file);
        if (now.size !== good?.size || now.modified !== good.modified) {
          if ((await hashRange(file, offset, bytes)).hash !== hash) return undefined;
          hashedAgain.set(hash, now);
        }
        return { file, offset, bytes };
      });
    },
    async add(locations) {
      const files = new Map<string, ViewedFile>();
      const id = createHash("sha256");
      for (const hash of [...locations.keys()].sort()) id.update(hash);
      const path = join(directory, `${id.digest("hex").slice(0, 32)}.json`);
      for (const [hash, location] of locations) {
        const file = resolve(location.file);
        const viewed = files.get(file) ?? (await viewedFile(file));
        files.set(viewed.path, viewed);
        if (location.offset + location.bytes > viewed.size) throw outside(file, hash);
        if (location.file !== file) locations.set(hash, { ...location, file });
      }
      if (locations.size === 0) return;
      const view = { path, files, pieces: locations };
      await writeAtomic(path, serialise(view));
      for (const hash of hashedAgain.keys()) if (locations.has(hash)) hashedAgain.delete(hash);
      const same = views.findIndex((known) => known.path === path);
      if (same >= 0) views.splice(same, 1);
      views.push(view);
    },
    async remove(hash) {
      hashedAgain.delete(hash);
      for (const view of views) {
        if (!view.pieces.delete(hash) || options.readOnly) continue;
        await onStorage(view.path, () =>
          view.pieces.size === 0 ? rm(view.path, { force: true }) : writeAtomic(view.path, serialise(view)),
        );
      }
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

/** A view file's JSON, a piece at a time. */
function* serialise({ files, pieces }: View): Generator<string> {
  const places = new Map([...files.keys()].map((file, place) => [file, place]));
  yield `{"format":"${format}","files":${JSON.stringify([...files.values()])},"pieces":[`;
  let comma = "";
  for (const [hash, { file, offset, bytes }] of pieces) {
    yield `${comma}["${hash}",${places.get(file)},${offset},${bytes}]`;
    comma = ",";
  }
  yield "]}\n";
}

function parseView(path: string, value: unknown): View {
  const document = value as { format?: unknown; files?: unknown; pieces?: unknown } | null | undefined;
  const pieces = new Map<Hash, Location>();
  if (document?.format !== format || !Array.isArray(document.files) || !Array.isArray(document.pieces)) throw corrupt(path);
  const files = document.files.map((file: Partial<ViewedFile> | null): ViewedFile => {
    if (typeof file?.path !== "string" || typeof file.size !== "number" || typeof file.modified !== "number") throw corrupt(path);
    return { path: file.path, size: file.size, modified: file.modified };
  });
  for (const row of document.pieces as unknown[]) {
    const [hash, index, offset, bytes] = Array.isArray(row) ? (row as unknown[]) : [];
    const file = files[index as number]?.path;
    if (!isHash(hash) || file === undefined || !isCount(offset) || !isCount(bytes)) throw corrupt(path);
    pieces.set(hash, { file, offset, bytes });
  }
  return { path, files: new Map(files.map((file) => [file.path, file])), pieces };
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
