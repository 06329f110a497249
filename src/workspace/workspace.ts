/**
 * A participant's state directory, opened. With the lock it may be written, by this process alone; without it (status, inspection beside
 * a running daemon) it is read as it stands. The directory is readable by its owner only, and is never taken for one of ours unless it
 * is empty or carries our marker: `--state-dir` pointed at a home directory changes nothing there.
 */
import { chmod, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { ConnitoError } from "../errors.ts";
import { isMissing, onStorage } from "../files/errors.ts";
import { fileExists } from "../files/reading.ts";
import { makeDirectory, temporarySuffix } from "../files/replacing.ts";
import { isHash } from "../protocol/hash.ts";
import { namesIn, readBounded, readJson, readOnlyError, writeAtomic } from "./files.ts";
import { type Journal, openJournal } from "./journal.ts";
import { type Layout, layoutOf } from "./layout.ts";
import { acquireLock, type Lock } from "./lock.ts";
import { type ObjectStore, openObjects } from "./objects.ts";

const format = "connito/state/1";
const maximumSecretBytes = 1 << 16;

export interface Workspace {
  readonly directory: string;
  readonly layout: Layout;
  readonly objects: ObjectStore;
  readonly journal: Journal;
  /** The secret of that name, made and synced to disk on first use and never changed afterwards. Never log it. */
  secret(name: string, make: () => Uint8Array): Promise<Uint8Array>;
  /** The secret of that name, if it was made. */
  findSecret(name: string): Promise<Uint8Array | undefined>;
  /** Waits for writes under way and gives the lock back. */
  close(): Promise<void>;
}

export interface WorkspaceOptions {
  /** True to work in it, false to look at it. */
  readonly lock: boolean;
  /** Whether a missing directory is made; by default only with the lock. Otherwise: state-not-initialised. */
  readonly create?: boolean;
}

/** Opens the state directory. Errors: state-locked, state-not-initialised, state-foreign, state-format, journal-corrupt, storage errors. */
export async function openWorkspace(directory: string, { lock, create = lock }: WorkspaceOptions): Promise<Workspace> {
  const layout = layoutOf(directory);
  if (create) await onStorage(layout.root, () => makeDirectory(layout.root));
  await onStorage(layout.root, () => checkOurs(layout, create));
  const held = lock ? await acquireLock(layout.lock) : undefined;
  try {
    return await openContents(layout, held);
  } catch (error) {
    await held?.release();
    throw error;
  }
}

async function openContents(layout: Layout, held: Lock | undefined): Promise<Workspace> {
  const readOnly = held === undefined;
  const fresh = (await readMarker(layout)) === undefined;
  if (fresh && readOnly) throw notInitialised(layout.root);
  if (!readOnly) await onStorage(layout.root, () => tidy(layout));
  const journal = await openJournal(layout.journal, { create: fresh, readOnly });
  try {
    // Last, so that from here on a missing journal is damage and not a beginning.
    if (fresh) await writeAtomic(layout.marker, `${JSON.stringify({ format })}\n`);
    const objects = await openObjects(layout, { readOnly });
    return workspaceOf(layout, objects, journal, held);
  } catch (error) {
    await journal.close();
    throw error;
  }
}

function workspaceOf(layout: Layout, objects: ObjectStore, journal: Journal, held: Lock | undefined): Workspace {
  const findSecret = (name: string): Promise<Uint8Array | undefined> => readBounded(layout.secret(name), maximumSecretBytes);
  let making: Promise<unknown> = Promise.resolve();

  async function findOrMake(name: string, make: () => Uint8Array): Promise<Uint8Array> {
    const known = await findSecret(name);
    if (known !== undefined) return known;
    if (held === undefined) throw readOnlyError(layout.root);
    const made = make();
    await writeAtomic(layout.secret(name), made, { mode: 0o600 });
    return made;
  }

  return {
    directory: layout.root,
    layout,
    objects,
    journal,
    findSecret,
    secret(name, make) {
      // One at a time: of two callers the second must get what the first made.
      const made = making.then(() => findOrMake(name, make));
      making = made.catch(() => undefined);
      return made;
    },
    async close() {
      await making;
      await journal.close();
      await held?.release();
    },
  };
}

async function readMarker(layout: Layout): Promise<unknown> {
  const marker = (await readJson(layout.marker, 4096)) as { format?: unknown } | null | undefined;
  if (marker === undefined || marker?.format === format) return marker;
  throw new ConnitoError(`${layout.root} was written in a format this version does not know`, {
    code: "state-format",
    exit: "storage",
    hint: "Use the version of connito that wrote it, or a new --state-dir.",
  });
}

/** Refuses a directory that is somebody else's, before anything is changed in it. */
async function checkOurs(layout: Layout, create: boolean): Promise<void> {
  let names: string[];
  try {
    names = await readdir(layout.root);
  } catch (error) {
    if (isMissing(error)) throw notInitialised(layout.root);
    throw error;
  }
  if (names.includes("state.json")) return;
  if (!create) throw notInitialised(layout.root);
  // What a process leaves that was killed while making the directory.
  const foreign = names.find(
    (name) => name !== "journal.jsonl" && name !== "lock" && !name.startsWith("lock.after.") && !name.endsWith(temporarySuffix),
  );
  if (foreign === undefined) return;
  throw new ConnitoError(`${layout.root} is not empty and is not a state directory (it has ${JSON.stringify(foreign)})`, {
    code: "state-foreign",
    exit: "invalidInput",
    hint: "Give an empty or a new directory as --state-dir (environment: CONNITO_STATE_DIR).",
  });
}

/** Owner-only permissions, and no left-overs of writes that a kill cut short. Downloads under way are kept, to be resumed, until they are here. */
async function tidy(layout: Layout): Promise<void> {
  if (((await stat(layout.root)).mode & 0o077) !== 0) await chmod(layout.root, 0o700);
  const cycles = (await namesIn(layout.cycles)).map((name) => join(layout.cycles, name));
  const shelves = (await namesIn(layout.objects)).map((name) => join(layout.objects, name));
  for (const directory of [layout.root, layout.secrets, layout.views, layout.submissions, ...cycles, ...shelves]) {
    for (const name of await namesIn(directory)) {
      if (name.startsWith(".") && name.endsWith(temporarySuffix)) await rm(join(directory, name), { force: true });
    }
  }
  for (const name of await namesIn(layout.partial)) {
    const hash = name.slice(0, 64);
    if (isHash(hash) && (await fileExists(layout.object(hash)))) await rm(join(layout.partial, name), { force: true });
  }
}

function notInitialised(directory: string): ConnitoError {
  return new ConnitoError(`${directory} is not a state directory yet`, {
    code: "state-not-initialised",
    exit: "notInitialised",
    hint: "Run a command that works in it first, such as `connito slice` or `connito cycle run`, or check --state-dir (environment: CONNITO_STATE_DIR).",
  });
}
