/** The documents of a source that lies on this machine, as they stand in it. */
import { createReadStream } from "node:fs";
import { pipeline } from "node:stream";
import { createGunzip } from "node:zlib";
import { ConnitoError } from "../../errors.ts";
import { readRange } from "../../files/reading.ts";
import { sourceMalformed, sourceUnreadable } from "./errors.ts";
import { jsonLines } from "./json-lines.ts";
import { parquetRows } from "./parquet.ts";
import type { SourceFormat } from "./source.ts";
import { decodeUtf8, passages } from "./text.ts";

/** One file of a source. */
export interface SourceFile {
  /** What its owner calls it, for messages. */
  readonly location: string;
  readonly path: string;
  readonly format: SourceFormat;
  readonly template: string;
  readonly endOfText: boolean;
}

/**
 * Texts in the file's order, several at once, without those of nothing but space. Memory does not grow with the file, but for one line or
 * one row group. Errors: data-malformed, which names the place; data-unreadable.
 */
export async function* documents(file: SourceFile): AsyncGenerator<string[]> {
  try {
    for await (const texts of records(file)) {
      const full = texts.filter((text) => /\S/.test(text));
      if (full.length > 0) yield full;
    }
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (cause instanceof ConnitoError || code === undefined) throw cause;
    if (code.startsWith("Z_")) throw sourceMalformed(file.location, "its compression", "damaged or cut short", cause);
    throw sourceUnreadable(file.location, code, cause);
  }
}

function records(file: SourceFile): AsyncIterable<string[]> {
  const { location, path, format, template } = file;
  if (format === "parquet") return parquetRows(location, path, template);
  const bytes = readBytes(path, /\.gz$/i.test(location));
  return format === "jsonl" ? jsonLines(location, bytes, template) : passages(decodeUtf8(location, bytes));
}

/** Parts that are valid until the next: buffers of their own would lie in memory until somebody sweeps. */
function readBytes(path: string, compressed: boolean): AsyncIterable<Uint8Array> {
  // The callback is what takes an error of the file; the reader gets it as well.
  return compressed ? pipeline(createReadStream(path), createGunzip(), () => undefined) : readRange(path);
}
