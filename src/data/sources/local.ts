/**
 * Bringing sources to this machine: local ones are looked at, remote ones downloaded, all are hashed. Everything that can be found wrong
 * without reading the texts is found here, first for all sources, before any is downloaded.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Hash } from "../../protocol/hash.ts";
import type { SourceFile } from "./documents.ts";
import { download, probe } from "./download.ts";
import { sourceChanged, sourceMissing, sourceUnreadable } from "./errors.ts";
import { isRemote, type SourceSpec } from "./source.ts";

/** A file with what it held when it was hashed. */
export interface LocalFile extends SourceFile {
  readonly bytes: number;
  readonly hash: Hash;
  readonly modified: number;
}

export interface BringOptions {
  /** Where downloads are kept. */
  readonly directory: string;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (location: string, received: number, total: number | undefined) => void;
}

/** Errors: data-missing, data-gated, data-unreachable. Nothing is downloaded. */
export async function checkSources(specs: readonly SourceSpec[], signal?: AbortSignal): Promise<void> {
  await Promise.all(specs.map(async ({ location }) => (isRemote(location) ? probe(location, signal) : filesAt(location))));
}

/** The source's files, in the order of their names where it is a directory. Errors: those of checkSources, data-changed, disk-full. */
export async function bringSource(spec: SourceSpec, options: BringOptions): Promise<LocalFile[]> {
  const { location, format, template, endOfText, sha256 } = spec;
  const paths = isRemote(location) ? [{ location, path: await download(location, options) }] : await filesAt(location);
  const files: LocalFile[] = [];
  for (const { location: name, path } of paths) {
    files.push({ location: name, path, format, template, endOfText, ...(await describe(name, path, options.signal)) });
  }
  const [only] = files;
  if (sha256 !== undefined && (files.length !== 1 || only?.hash !== sha256))
    throw sourceChanged(location, files.length === 1 ? `its sha256 is ${only?.hash}, not ${sha256}` : "a directory has no sha256");
  return files;
}

/** Throws data-changed where a file is not what it was when it was hashed, by its size and time. */
export async function assertUnchanged(files: readonly LocalFile[]): Promise<void> {
  for (const { location, path, bytes, modified } of files) {
    const now = await look(location, path);
    if (now.size !== bytes || now.mtimeMs !== modified) throw sourceChanged(location, "it was written while it was read");
  }
}

async function filesAt(location: string): Promise<{ location: string; path: string }[]> {
  const found = await look(location, location);
  if (found.isFile()) return [{ location, path: location }];
  // A pipe nobody writes into would be waited for without end.
  if (!found.isDirectory()) throw sourceUnreadable(location, "it is no regular file");
  const entries = await readdir(location, { withFileTypes: true }).catch((cause: NodeJS.ErrnoException) => {
    throw sourceUnreadable(location, cause.code ?? "unknown reason", cause);
  });
  const names = entries.filter((entry) => entry.isFile() && !entry.name.startsWith(".")).map(({ name }) => name);
  if (names.length === 0) throw sourceMissing(location, "the directory holds no files");
  return names.sort().map((name) => ({ location: join(location, name), path: join(location, name) }));
}

async function describe(location: string, path: string, signal?: AbortSignal): Promise<{ bytes: number; hash: Hash; modified: number }> {
  const { size, mtimeMs } = await look(location, path);
  const hash = createHash("sha256");
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
      signal?.throwIfAborted();
      hash.update(chunk as Uint8Array);
    }
  } catch (cause) {
    signal?.throwIfAborted();
    throw sourceUnreadable(location, (cause as NodeJS.ErrnoException).code ?? "unknown reason", cause);
  }
  return { bytes: size, hash: hash.digest("hex"), modified: mtimeMs };
}

async function look(location: string, path: string) {
  try {
    return await stat(path);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") throw sourceMissing(location, "no such file", cause);
    throw sourceUnreadable(location, code ?? "unknown reason", cause);
  }
}
