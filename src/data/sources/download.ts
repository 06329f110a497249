/**
 * Downloads of sources: a file that grows under a temporary name and goes on by range where it stopped, as long as the server still has the
 * same content (its ETag or date, and its length). Whoever publishes data is asked once before anything is fetched.
 */
import { createHash } from "node:crypto";
import { mkdir, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ConnitoError } from "../../errors.ts";
import { backOff, pause } from "../../waiting.ts";
import { sourceChanged, sourceGated, sourceMissing, sourceUnreachable } from "./errors.ts";

export interface DownloadOptions {
  readonly directory: string;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (location: string, received: number, total: number | undefined) => void;
  /** Milliseconds before the first new attempt; they double. */
  readonly firstPause?: number;
}

/** A cut connection is taken up again this many times without a byte of progress in between. */
const attempts = 5;
const answerMilliseconds = 30_000;
const stallMilliseconds = 30_000;

/** What the server says the content is; a download is never put together from two of them. */
interface Version {
  readonly etag: string | undefined;
  readonly modified: string | undefined;
  readonly length: number | undefined;
}

/** Asks for the source's head. Errors: data-gated, data-missing, data-unreachable. */
export async function probe(location: string, signal?: AbortSignal): Promise<void> {
  // One byte by GET: some servers sign addresses for GET only, or do not know HEAD.
  const response = await ask(location, { range: "bytes=0-0" }, signal);
  await response.body?.cancel();
  if (response.status !== 416) assertDelivers(location, response);
}

/** Downloads the address into the directory and returns the file's path; a file of an earlier call is taken if the server still has it so. */
export async function download(location: string, options: DownloadOptions): Promise<string> {
  const { directory, signal, firstPause = 1000 } = options;
  const id = createHash("sha256").update(location).digest("hex").slice(0, 32);
  const [path, partial, note] = [join(directory, id), join(directory, `${id}.partial`), join(directory, `${id}.json`)];
  await mkdir(directory, { recursive: true, mode: 0o700 });
  // Progress is what came further than any attempt before: a server that always cuts at the same place is given up.
  let furthest = 0;
  for (let failed = 0; ; ) {
    const handle = await open(partial, "a+", 0o600);
    try {
      const before = (await handle.stat()).size;
      try {
        const done = await receive(location, options, { handle, have: before, note, whole: path });
        if (done) {
          await handle.sync();
          if (done === "received") await rename(partial, path);
          else await rm(partial, { force: true });
          return path;
        }
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof ConnitoError) || error.code !== "data-unreachable") throw storageFault(error, partial);
        const reached = (await handle.stat()).size;
        failed = reached > furthest ? 1 : failed + 1;
        furthest = Math.max(furthest, reached);
        if (failed >= attempts) throw error;
      }
    } finally {
      await handle.close();
    }
    if (failed > 0) await pause(backOff(failed, { first: firstPause, most: 60_000 }), signal);
  }
}

interface Target {
  readonly handle: Awaited<ReturnType<typeof open>>;
  readonly have: number;
  /** Where the version of what is being received is noted. */
  readonly note: string;
  /** A download that was finished earlier. */
  readonly whole: string;
}

/** One request. False where it must begin anew, because the server has something else now or cannot go on. */
async function receive(location: string, options: DownloadOptions, target: Target): Promise<"received" | "had" | false> {
  const { handle, have, note, whole } = target;
  const { signal } = options;
  const known = await readVersion(note);
  const response = await ask(location, have > 0 ? { range: `bytes=${have}-` } : {}, signal);
  try {
    const version = versionOf(response);
    const same = known !== undefined && sameVersion(known, version);
    if (have === 0 && same && (await sizeOf(whole)) === version.length) return "had";
    if (response.status === 416 && have > 0) {
      if (same && version.length === have) return "received";
      await handle.truncate(0);
      return false;
    }
    assertDelivers(location, response);
    const continues = response.status === 206;
    if (continues && (!same || rangeStart(response) !== have)) {
      await handle.truncate(0);
      return false;
    }
    if (!continues && have > 0) await handle.truncate(0);
    await writeFile(note, JSON.stringify(version));
    await append(location, response, options, handle, continues ? have : 0, version.length);
    return "received";
  } finally {
    await response.body?.cancel().catch(() => undefined);
  }
}

async function append(
  location: string,
  response: Response,
  { signal, onProgress }: DownloadOptions,
  handle: Target["handle"],
  from: number,
  total: number | undefined,
): Promise<void> {
  let at = from;
  const reader = response.body?.getReader();
  for (;;) {
    const part = await within(stallMilliseconds, reader?.read()).catch((cause: unknown) => {
      signal?.throwIfAborted();
      throw sourceUnreachable(location, `the connection ended after ${at} of ${total ?? "unknown"} bytes`, cause);
    });
    if (part === undefined || part.done) break;
    signal?.throwIfAborted();
    await handle.appendFile(part.value);
    at += part.value.length;
    onProgress?.(location, at, total);
  }
  if (total !== undefined && at < total) throw sourceUnreachable(location, `the connection ended after ${at} of ${total} bytes`);
  if (total !== undefined && at > total) {
    await handle.truncate(0);
    throw sourceChanged(location, `the server sent ${at} bytes, and had said ${total}`);
  }
}

async function ask(location: string, headers: Record<string, string>, signal: AbortSignal | undefined): Promise<Response> {
  const limit = AbortSignal.timeout(answerMilliseconds);
  const controller = new AbortController();
  const stop = () => controller.abort();
  limit.addEventListener("abort", stop, { once: true });
  signal?.addEventListener("abort", stop, { once: true });
  try {
    signal?.throwIfAborted();
    // fetch drops the authorization when it is sent on to another origin.
    return await fetch(location, {
      headers: { ...headers, ...authorization(location), "accept-encoding": "identity" },
      signal: controller.signal,
    });
  } catch (cause) {
    signal?.throwIfAborted();
    const { code, message } = ((cause as Error).cause ?? cause) as NodeJS.ErrnoException;
    throw sourceUnreachable(location, limit.aborted ? `no answer in ${answerMilliseconds / 1000} s` : (code ?? message), cause);
  } finally {
    limit.removeEventListener("abort", stop);
  }
}

/** The hub's token goes to the hub and to nobody else. */
function authorization(location: string): Record<string, string> {
  const { HF_TOKEN: token, HF_ENDPOINT: hub = "https://huggingface.co" } = process.env;
  return token !== undefined && URL.canParse(hub) && new URL(location).origin === new URL(hub).origin
    ? { authorization: `Bearer ${token}` }
    : {};
}

function assertDelivers(location: string, { status }: Response): void {
  if (status === 200 || status === 206) return;
  if (status === 401 || status === 403 || status === 451) throw sourceGated(location, `the server answers ${status}`);
  if (status === 404 || status === 410) throw sourceMissing(location, `the server answers ${status}`);
  throw sourceUnreachable(location, `the server answers ${status}`);
}

function versionOf(response: Response): Version {
  const total = /\/([0-9]{1,15})$/.exec(response.headers.get("content-range") ?? "")?.[1];
  const length = response.status === 200 ? (response.headers.get("content-length") ?? undefined) : total;
  return {
    etag: response.headers.get("etag") ?? undefined,
    modified: response.headers.get("last-modified") ?? undefined,
    length: length === undefined ? undefined : Number(length),
  };
}

/** Without a mark that changes with the content nothing can be said to be the same. */
function sameVersion(a: Version, b: Version): boolean {
  const marked = a.etag !== undefined || a.modified !== undefined;
  return marked && a.etag === b.etag && a.modified === b.modified && a.length === b.length && a.length !== undefined;
}

function rangeStart(response: Response): number | undefined {
  const start = /^bytes ([0-9]{1,15})-/.exec(response.headers.get("content-range") ?? "")?.[1];
  return start === undefined ? undefined : Number(start);
}

async function readVersion(path: string): Promise<Version | undefined> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as Version;
  } catch {
    return undefined;
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  const handle = await open(path, "r").catch(() => undefined);
  try {
    return (await handle?.stat())?.size;
  } finally {
    await handle?.close();
  }
}

async function within<T>(milliseconds: number, promise: Promise<T> | undefined): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing came for ${milliseconds / 1000} s`)), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function storageFault(cause: unknown, path: string): unknown {
  const { code } = cause as NodeJS.ErrnoException;
  if (cause instanceof ConnitoError || code === undefined) return cause;
  const full = code === "ENOSPC" || code === "EDQUOT";
  return new ConnitoError(full ? `No space left for ${path}` : `${path} cannot be written (${code})`, {
    code: full ? "disk-full" : "storage-failed",
    exit: "storage",
    hint: full
      ? "Free space on that volume and run the same command again: the download goes on where it stopped."
      : "Check that this user may write there.",
    retryable: full,
    cause,
  });
}
