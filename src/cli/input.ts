/**
 * Reading what the user names: a file, or stdin where the name is an explicit `-`. Nothing is read from stdin otherwise, so a
 * command started by cron or with a closed stdin never waits for anything.
 */

import { createReadStream } from "node:fs";
import { ConnitoError } from "../errors.ts";

export interface ReadInputOptions {
  /** Refused beyond this, before more is read. */
  readonly maximumBytes: number;
  readonly signal?: AbortSignal;
  /** Where `-` reads from; a test gives its own. */
  readonly stdin?: AsyncIterable<Uint8Array>;
}

/**
 * The bytes of a file, or of stdin for `-`.
 * @throws input-not-found, input-unreadable, input-oversize (exit 13)
 */
export async function readInput(path: string, options: ReadInputOptions): Promise<Uint8Array> {
  const { maximumBytes, signal, stdin = process.stdin } = options;
  const source: AsyncIterable<Uint8Array> = path === "-" ? stdin : createReadStream(path, signal === undefined ? {} : { signal });
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of source) {
      bytes += chunk.length;
      if (bytes > maximumBytes) throw oversize(path, maximumBytes);
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof ConnitoError || signal?.aborted) throw signal?.aborted ? signal.reason : error;
    throw unreadable(path, error as NodeJS.ErrnoException);
  }
  return Buffer.concat(chunks);
}

const name = (path: string) => (path === "-" ? "stdin" : path);

function oversize(path: string, maximumBytes: number): ConnitoError {
  return new ConnitoError(`${name(path)} is longer than ${maximumBytes} bytes.`, {
    code: "input-oversize",
    exit: "invalidInput",
    hint: "Check that it is the file that you meant.",
  });
}

function unreadable(path: string, cause: NodeJS.ErrnoException): ConnitoError {
  const missing = cause.code === "ENOENT";
  return new ConnitoError(missing ? `There is no file ${path}.` : `${name(path)} cannot be read: ${cause.message}`, {
    code: missing ? "input-not-found" : "input-unreadable",
    exit: "invalidInput",
    hint: "Check the path; - reads from stdin.",
    cause,
  });
}
