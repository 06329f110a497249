/**
 * Downloads that end in a verified file or in nothing. The bytes grow in `INTO.partial`, where a kill, a cut connection or another
 * source can go on later; the file gets its name only when it is whole, synced, and hashes to what the chain, the task or a manifest
 * names. Sources are tried in turn, and come round again after a jittered wait while they are merely unreachable. One that is slow makes place
 * for another that may not be. A source that lies is named and not asked again: it is blamed only for bytes that were all its own, so that one
 * cannot ruin another's name.
 */
import { createHash } from "node:crypto";
import { type FileHandle, mkdir, open, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { ConnitoError } from "../errors.ts";
import { fileError, isMissing } from "../files/errors.ts";
import { nameFile, writeAll } from "../files/replacing.ts";
import { createArtifactHasher } from "../protocol/artifact.ts";
import type { Hash } from "../protocol/hash.ts";
import { type BackOff, backOff, orAborted, pause } from "../waiting.ts";
import { hashMismatch, objectOversize, peerUnreachable } from "./errors.ts";
import type { Source } from "./source.ts";

/** A download that advanced by this much starts its attempts anew: a long one over a bad line must not run out of them. */
const progressBytes = 1 << 20;
const defaultBackOff: BackOff = { first: 500, most: 15_000 };
const defaultTurnMilliseconds = 20_000;
/** Whoever delivers half of this in a turn is quick enough. */
const turnBytes = 16 << 20;
/** What sources delivered in their last turn, or before they failed, in this process, by locator: the slow are asked after the others. */
const paces = new Map<string, { readonly bytes: number; readonly at: number }>();
/** By then a source, or this machine's line, may be another. */
const paceLapsesMilliseconds = 10 * 60_000;

export interface FetchOptions {
  /** In the order in which they are tried. */
  readonly sources: readonly Source[];
  /** Path of the exchange, see resources.ts. */
  readonly path: string;
  /** Where the finished file goes; its directory is made. */
  readonly into: string;
  /** The largest length accepted; enforced while bytes arrive. */
  readonly maximumBytes: number;
  /** The exact length, where it is known. */
  readonly bytes?: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (progress: { readonly received: number; readonly total: number | undefined }) => void;
  /** Told at once what went wrong with a source, also when another one then delivers. */
  readonly onFault?: (fault: Fault) => void;
  /** How often each source is tried while it is only unreachable; 3 by default. */
  readonly attempts?: number;
  readonly backOff?: BackOff;
  /** After each such time a source is held against the others; 20 s by default. */
  readonly turnMilliseconds?: number;
}

export interface FetchObjectOptions extends Omit<FetchOptions, "maximumBytes"> {
  /** SHA-256 of the object. */
  readonly hash: Hash;
  /** Needed where `bytes` is not known. */
  readonly maximumBytes?: number;
}

export interface FetchArtifactOptions extends FetchOptions {
  /** Artifact root (docs/protocol.md, section 6). */
  readonly root: Hash;
}

export interface Fault {
  readonly locator: string;
  readonly error: ConnitoError;
}

export interface Fetched {
  /** Bytes that came from sources in this call; 0 when the file was there already. */
  readonly bytes: number;
  /** The file's length. */
  readonly length: number;
  readonly faults: readonly Fault[];
}

/**
 * Fetches a content-addressed object. Errors, naming the peers: object-hash-mismatch, object-oversize, object-not-found,
 * request-refused, peer-unreachable (retryable); disk-full. When `signal` fires its reason is thrown and the partial file stays.
 */
export async function fetchObject(options: FetchObjectOptions): Promise<Fetched> {
  const maximumBytes = options.maximumBytes ?? options.bytes ?? 0;
  return fetchVerified({ ...options, maximumBytes }, options.hash, () => {
    const hasher = createHash("sha256");
    return { update: (bytes) => void hasher.update(bytes), digest: () => hasher.digest("hex") };
  });
}

/** Fetches a submission by its artifact root; otherwise as `fetchObject`. */
export async function fetchArtifact(options: FetchArtifactOptions): Promise<Fetched> {
  return fetchVerified(options, options.root, () => {
    const hasher = createArtifactHasher();
    return { update: (bytes) => hasher.update(bytes), digest: () => hasher.digest().root };
  });
}

export interface Hasher {
  /** The bytes are valid until it returns. */
  update(bytes: Uint8Array): void;
  digest(): Hash;
}

/** Downloads under way in this process: two callers who want the same file share one. */
const underWay = new Map<string, Promise<Fetched>>();

/** Fetches what is named by another digest of its bytes, such as a manifest by its root; otherwise as `fetchObject`. */
export async function fetchVerified(options: FetchOptions, hash: Hash, newHasher: () => Hasher): Promise<Fetched> {
  for (;;) {
    const other = underWay.get(options.into);
    if (other === undefined) break;
    // Where the other stops, because its time is out, this one begins.
    const fetched = await orAborted(other, options.signal).catch(() => undefined);
    options.signal?.throwIfAborted();
    if (fetched !== undefined) return { ...fetched, bytes: 0 };
  }
  const own = download(options, hash, newHasher).finally(() => underWay.delete(options.into));
  underWay.set(options.into, own);
  return own;
}

async function download(options: FetchOptions, hash: Hash, newHasher: () => Hasher): Promise<Fetched> {
  const { into, signal } = options;
  const partialPath = `${into}.partial`;
  try {
    signal?.throwIfAborted();
    await mkdir(dirname(into), { recursive: true, mode: 0o700 });
    const length = await verifiedLength(into, hash, newHasher);
    if (length !== undefined) return { bytes: 0, length, faults: [] };
    const partial = await openPartial(partialPath, newHasher);
    try {
      const faults = await fetchFromAny(options, hash, partial);
      await partial.handle.sync();
      await nameFile(partialPath, into);
      return { bytes: partial.fetched, length: partial.length, faults };
    } finally {
      await partial.handle.close();
    }
  } catch (error) {
    const typed = fileError(error, into);
    // On a full disk a half download is in the way of whatever is to make room.
    if (typed instanceof ConnitoError && typed.code === "disk-full") await rm(partialPath, { force: true });
    throw typed;
  }
}

/** Returns when the partial file is whole and verified; gives what went wrong on the way. */
async function fetchFromAny(options: FetchOptions, hash: Hash, partial: PartialFile): Promise<Fault[]> {
  const { sources, path, signal, attempts = 3, backOff: delays = defaultBackOff } = options;
  const faults: Fault[] = [];
  const usable = new Set(sources);
  for (let attempt = 1; ; attempt++) {
    const before = partial.fetched;
    for (const source of [...usable].sort((a, b) => paceOf(b) - paceOf(a))) {
      const others = [...usable].filter((other) => other !== source);
      const error = await tryFetch({ ...options, expected: Math.max(0, ...others.map(paceOf)) }, hash, source, partial);
      if (error === undefined) return faults;
      faults.push({ locator: source.locator, error });
      options.onFault?.({ locator: source.locator, error });
      if (error.code !== "peer-unreachable") usable.delete(source);
    }
    if (partial.fetched - before >= progressBytes) attempt = 0;
    if (usable.size === 0 || attempt >= attempts) throw unavailable(path, faults);
    await pause(backOff(Math.max(1, attempt), delays), signal);
  }
}

function paceOf({ locator }: Source): number {
  const known = paces.get(locator);
  if (known === undefined) return turnBytes;
  if (performance.now() - known.at < paceLapsesMilliseconds) return Math.min(known.bytes, turnBytes);
  paces.delete(locator);
  return turnBytes;
}

function notePace({ locator }: Source, bytes: number): void {
  paces.set(locator, { bytes, at: performance.now() });
}

interface Turn extends FetchOptions {
  /** What the quickest of the others is thought to deliver in a turn. */
  readonly expected: number;
}

/** One source's turn. Its failure is returned; a failure of this machine, or the signal, is thrown. */
async function tryFetch(options: Turn, hash: Hash, source: Source, partial: PartialFile): Promise<ConnitoError | undefined> {
  const before = partial.fetched;
  try {
    await fetchFrom(options, source, partial);
    if (await partial.matches(hash)) return undefined;
    const own = partial.contributors.size === 1 && partial.contributors.has(source.locator);
    await partial.discard();
    if (own) return hashMismatch(source.locator, options.path, `it does not hash to ${hash}`);
    // However slow it is: a quick liar that cuts before the end would never let it.
    await fetchFrom({ ...options, expected: 0 }, source, partial);
    if (await partial.matches(hash)) return undefined;
    await partial.discard();
    return hashMismatch(source.locator, options.path, `it does not hash to ${hash}`);
  } catch (error) {
    if (options.signal?.aborted || !isPeerFault(error)) throw error;
    // Who stalls, or cuts, is measured in no turn.
    if (error.code === "peer-unreachable") notePace(source, Math.min(partial.fetched - before, paceOf(source)));
    // What came with a lie is not built upon.
    if (error.code === "object-oversize" || error.code === "object-hash-mismatch") await partial.discard();
    return error;
  }
}

/** What may be wrong with a peer. The first of them that holds for one of many is said of all: where one may come back, the whole is worth trying again. */
const peerFaults = ["peer-unreachable", "object-not-found", "object-hash-mismatch", "object-oversize", "request-refused"];

/** That no peer delivered, as opposed to trouble of this machine. */
export function isPeerFault(error: unknown): error is ConnitoError {
  return error instanceof ConnitoError && peerFaults.includes(error.code);
}

async function fetchFrom(options: Turn, source: Source, partial: PartialFile): Promise<void> {
  const { path, maximumBytes, bytes: expectedBytes, signal, onProgress, turnMilliseconds = defaultTurnMilliseconds } = options;
  if (partial.length > (expectedBytes ?? maximumBytes)) await partial.discard();
  if (partial.length > 0 && partial.length === expectedBytes) return;
  const delivery = await source.get(path, { maximumBytes, expectedBytes, offset: partial.length, signal });
  if (delivery.offset !== partial.length) await partial.discard();
  partial.contributors.add(source.locator);
  let turn = { began: performance.now(), from: partial.fetched };
  for await (const part of delivery) {
    // A source of another kind than ours may not have looked.
    if (partial.length + part.length > maximumBytes) throw objectOversize(source.locator, path, maximumBytes);
    await partial.append(part);
    onProgress?.({ received: partial.length, total: expectedBytes ?? delivery.totalBytes });
    if (performance.now() - turn.began < turnMilliseconds) continue;
    const delivered = partial.fetched - turn.from;
    notePace(source, delivered);
    if (2 * delivered < options.expected) throw peerUnreachable(source.locator, "it is slow, and another may not be");
    turn = { began: performance.now(), from: partial.fetched };
  }
}

interface PartialFile {
  readonly handle: FileHandle;
  readonly length: number;
  /** Bytes taken from sources in this call, those that were thrown away again included. */
  readonly fetched: number;
  /** Whose bytes the file holds; "earlier" stands for those from before this call. */
  readonly contributors: Set<string>;
  append(bytes: Uint8Array): Promise<void>;
  discard(): Promise<void>;
  matches(hash: Hash): Promise<boolean>;
}

async function openPartial(path: string, newHasher: () => Hasher): Promise<PartialFile> {
  const handle = await openOrCreate(path);
  try {
    const contributors = new Set<string>();
    let hasher = newHasher();
    let fetched = 0;
    let length = await hashFile(handle, hasher);
    if (length > 0) contributors.add("earlier");
    return {
      handle,
      contributors,
      get length() {
        return length;
      },
      get fetched() {
        return fetched;
      },
      async append(bytes) {
        await writeAll(handle, bytes, length);
        hasher.update(bytes);
        length += bytes.length;
        fetched += bytes.length;
      },
      async discard() {
        await handle.truncate(0);
        contributors.clear();
        hasher = newHasher();
        length = 0;
      },
      async matches(hash) {
        return hasher.digest() === hash;
      },
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function openOrCreate(path: string): Promise<FileHandle> {
  try {
    return await open(path, "r+");
  } catch (error) {
    if (isMissing(error)) return open(path, "wx+", 0o600);
    throw error;
  }
}

async function hashFile(handle: FileHandle, hasher: Hasher): Promise<number> {
  const buffer = Buffer.allocUnsafe(1 << 20);
  for (let length = 0; ; ) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, length);
    if (bytesRead === 0) return length;
    hasher.update(buffer.subarray(0, bytesRead));
    length += bytesRead;
  }
}

/** The length of a finished file of an earlier call; undefined when there is none, or it is something else. */
async function verifiedLength(path: string, hash: Hash, newHasher: () => Hasher): Promise<number | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  try {
    const hasher = newHasher();
    const length = await hashFile(handle, hasher);
    return hasher.digest() === hash ? length : undefined;
  } finally {
    await handle.close();
  }
}

function unavailable(path: string, faults: readonly Fault[]): ConnitoError {
  const last = [...new Map(faults.map((fault) => [fault.locator, fault])).values()];
  const [only] = last;
  if (only !== undefined && last.length === 1) return only.error;
  const worst = peerFaults.map((code) => last.find(({ error }) => error.code === code)).find((fault) => fault !== undefined);
  const message = `None of ${last.length} peers delivered ${path}:\n${last.map(({ error }) => `  ${error.message}`).join("\n")}`;
  return new ConnitoError(message, {
    code: worst?.error.code ?? "peer-unreachable",
    exit: worst?.error.code === "object-hash-mismatch" || worst?.error.code === "object-oversize" ? "verification" : "network",
    hint: worst?.error.hint ?? "No peer is known: name one with --peer.",
    retryable: worst?.error.retryable ?? true,
  });
}
