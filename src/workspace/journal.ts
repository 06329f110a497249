/**
 * The journal: what this participant was about to do, and what came of it. An intent is on the disk before anything is sent, the effect
 * after; a restart reads the last word on each key and knows whether to look on the chain, to send, or to do nothing.
 *
 * One JSON object a line, each with a checksum over itself and the checksum of the line before, so that a changed, moved or missing
 * line is noticed. The end of the file may be torn by a kill or a power cut: what was never confirmed is cut off on opening. Anything
 * else that does not check is refused, never reset: a journal that forgets sends twice.
 */
import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { dirname } from "node:path";
import { ConnitoError } from "../errors.ts";
import { fileError, onStorage } from "../files/errors.ts";
import { syncDirectory, writeAll } from "../files/replacing.ts";
import { readBounded, readOnlyError } from "./files.ts";

const firstChecksum = "connito/journal/1";
const maximumLineBytes = 1 << 20;
const maximumFileBytes = 1 << 30;
const newline = 10;

export type JournalKind = "intent" | "effect" | "failed";

export interface JournalEntry {
  readonly kind: JournalKind;
  /** What it is about, such as `commit:12`: the step's own name for a thing that must happen once. */
  readonly key: string;
  /** When, for people; nothing is decided by it. */
  readonly at: string;
  readonly data: unknown;
}

/** What is known of a key since its last intent. */
export interface JournalState {
  readonly intent?: JournalEntry;
  readonly effect?: JournalEntry;
  readonly failed?: JournalEntry;
}

export interface Journal {
  /** About to do it. Durable when the promise resolves; forgets an earlier outcome of the same key in `find`. */
  intent(key: string, data: unknown): Promise<void>;
  /** It was done. */
  effect(key: string, data: unknown): Promise<void>;
  /** It was tried and certainly did not happen. */
  failed(key: string, data: unknown): Promise<void>;
  find(key: string): JournalState;
  entries(): readonly JournalEntry[];
  close(): Promise<void>;
}

export interface JournalOptions {
  /** Makes the file where there is none; without it a missing file is journal-corrupt. */
  readonly create?: boolean;
  /** For those without the lock: reads what is whole, changes nothing, and refuses to append (state-read-only). */
  readonly readOnly?: boolean;
}

/** Opens the journal at `path`. Errors: journal-corrupt, disk-full and the other storage errors. */
export async function openJournal(path: string, options: JournalOptions = {}): Promise<Journal> {
  if (options.create) await createEmpty(path);
  const bytes = await readBounded(path, maximumFileBytes);
  if (bytes === undefined) throw corrupt(path, "it is missing");
  const { entries, checksum, length, unterminated } = parse(path, bytes);
  const handle = options.readOnly ? undefined : await onStorage(path, () => openForAppend(path, length, bytes.length, unterminated));
  return journalOf(path, handle, entries, checksum, unterminated ? length + 1 : length);
}

async function createEmpty(path: string): Promise<void> {
  await onStorage(path, async () => {
    const handle = await open(path, "a", 0o600);
    await handle.close();
    await syncDirectory(dirname(path));
  });
}

/** Brings the file to exactly its whole lines before anything is added to it. */
async function openForAppend(path: string, length: number, size: number, unterminated: boolean): Promise<FileHandle> {
  const handle = await open(path, "r+");
  try {
    if (length !== size) await handle.truncate(length);
    if (unterminated) await writeAll(handle, Uint8Array.of(newline), length);
    if (length !== size || unterminated) await handle.sync();
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function journalOf(path: string, handle: FileHandle | undefined, entries: JournalEntry[], start: string, end: number): Journal {
  const states = new Map<string, JournalState>();
  for (const entry of entries) note(states, entry);
  let checksum = start;
  let length = end;
  let damaged = false;
  let queue: Promise<void> = Promise.resolve();

  async function write(entry: JournalEntry): Promise<void> {
    if (handle === undefined) throw readOnlyError(path);
    const { line, checksum: next } = lineOf(entry, checksum);
    if (line.length > maximumLineBytes) throw tooLong(entry.key);
    try {
      if (damaged) await handle.truncate(length);
      damaged = true;
      await writeAll(handle, line, length);
      await handle.datasync();
      damaged = false;
    } catch (error) {
      // A half-written line, or one whose way to the disk is unknown, must not stay: it was not confirmed to the caller.
      await handle.truncate(length).then(
        () => {
          damaged = false;
        },
        () => undefined,
      );
      throw fileError(error, path);
    }
    length += line.length;
    checksum = next;
    entries.push(entry);
    note(states, entry);
  }

  function append(kind: JournalKind, key: string, data: unknown): Promise<void> {
    const entry: JournalEntry = { kind, key, at: new Date().toISOString(), data: data === undefined ? null : data };
    const done = queue.then(() => write(entry));
    queue = done.catch(() => undefined);
    return done;
  }

  return {
    intent: (key, data) => append("intent", key, data),
    effect: (key, data) => append("effect", key, data),
    failed: (key, data) => append("failed", key, data),
    find: (key) => states.get(key) ?? {},
    entries: () => entries,
    async close() {
      await queue;
      await handle?.close();
    },
  };
}

function note(states: Map<string, JournalState>, entry: JournalEntry): void {
  states.set(entry.key, entry.kind === "intent" ? { intent: entry } : { ...states.get(entry.key), [entry.kind]: entry });
}

function lineOf(entry: JournalEntry, previous: string): { line: Buffer; checksum: string } {
  const body = JSON.stringify(entry);
  const checksum = checksumOf(previous, body);
  return { line: Buffer.from(`${body.slice(0, -1)},"checksum":"${checksum}"}\n`), checksum };
}

function checksumOf(previous: string, body: string): string {
  return createHash("sha256").update(previous).update("\n").update(body).digest("hex");
}

interface Parsed {
  entries: JournalEntry[];
  checksum: string;
  /** Bytes that are whole, confirmed lines. */
  length: number;
  /** The last line is whole but for its line end. */
  unterminated: boolean;
}

function parse(path: string, bytes: Buffer): Parsed {
  const entries: JournalEntry[] = [];
  let checksum = firstChecksum;
  let at = 0;
  while (at < bytes.length) {
    const found = bytes.indexOf(newline, at);
    const end = found === -1 ? bytes.length : found;
    const line = parseLine(bytes.subarray(at, end), checksum);
    if (line === undefined) {
      // A torn end: no line end, or a block that never reached the disk (zeros) in the very last line. All else was confirmed once.
      const torn = found === -1 || (found === bytes.length - 1 && bytes.subarray(at, end).includes(0));
      if (!torn) throw corrupt(path, `line ${entries.length + 1} does not check`);
      return { entries, checksum, length: at, unterminated: false };
    }
    entries.push(line.entry);
    checksum = line.checksum;
    if (found === -1) return { entries, checksum, length: end, unterminated: true };
    at = end + 1;
  }
  return { entries, checksum, length: at, unterminated: false };
}

const tail = /,"checksum":"([0-9a-f]{64})"\}$/;

function parseLine(bytes: Buffer, previous: string): { entry: JournalEntry; checksum: string } | undefined {
  const text = bytes.toString("utf8");
  const match = tail.exec(text);
  if (match === null) return undefined;
  const body = `${text.slice(0, match.index)}}`;
  const checksum = checksumOf(previous, body);
  if (checksum !== match[1]) return undefined;
  return { entry: JSON.parse(body) as JournalEntry, checksum };
}

function corrupt(path: string, what: string): ConnitoError {
  return new ConnitoError(`The journal ${path} is damaged: ${what}`, {
    code: "journal-corrupt",
    exit: "storage",
    hint: "Restore it from a backup. It is never reset by itself, because what it forgets could be sent twice; to start over, use a new --state-dir.",
  });
}

function tooLong(key: string): ConnitoError {
  return new ConnitoError(`The journal entry for ${key} is longer than ${maximumLineBytes} bytes`, {
    code: "journal-entry-oversize",
    exit: "unexpected",
    hint: "Keep large things as objects and name them by hash in the journal.",
  });
}
