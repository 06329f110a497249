/**
 * UTF-8 text files, read as streams: as strings, and as the token sequences that training and evaluation take (docs/protocol.md, section 8).
 */
import { createReadStream } from "node:fs";
import { ConnitoError } from "../errors.ts";
import { loadTokenizer } from "./tokenizer.ts";

export interface ReadSequencesOptions {
  /** Path of a UTF-8 text. */
  readonly file: string;
  /** The checkpoint's tokenizer.json. */
  readonly tokenizer: Uint8Array;
  /** Tokens that are predicted in a sequence; a sequence has one more, since each predicts the next. */
  readonly sequenceLength: number;
  /** Stop reading after so many. Absent: the whole file. */
  readonly maximumSequences?: number;
  readonly signal?: AbortSignal;
}

/**
 * A text as consecutive runs of `sequenceLength + 1` tokens that share nothing; a last, shorter run is dropped.
 * Errors: text-missing, text-unreadable, text-not-utf8, text-too-short (not one whole run), tokenizer-invalid.
 */
export async function readSequences(options: ReadSequencesOptions): Promise<{ sequences: Int32Array[] }> {
  const { file, sequenceLength, maximumSequences = Number.POSITIVE_INFINITY, signal } = options;
  const stream = (await loadTokenizer(options.tokenizer)).stream();
  const sequences: Int32Array[] = [];
  let current = new Int32Array(sequenceLength + 1);
  let filled = 0;
  const take = (tokens: Int32Array) => {
    for (let at = 0; at < tokens.length && sequences.length < maximumSequences; ) {
      const part = tokens.subarray(at, at + current.length - filled);
      current.set(part, filled);
      filled += part.length;
      at += part.length;
      if (filled === current.length) {
        sequences.push(current);
        current = new Int32Array(sequenceLength + 1);
        filled = 0;
      }
    }
  };
  for await (const text of readText(file, signal)) {
    take(stream.push(text));
    if (sequences.length >= maximumSequences) return { sequences };
  }
  take(stream.end());
  if (sequences.length === 0) {
    throw new ConnitoError(`${file} has ${filled} tokens, fewer than one sequence of ${sequenceLength + 1}`, {
      code: "text-too-short",
      exit: "invalidInput",
      hint: "Give a longer text, or a task with a smaller data.sequenceLength.",
    });
  }
  return { sequences };
}

/**
 * The characters of a UTF-8 file, in parts of about 64 KiB that break no character. A byte-order mark is kept: it is part of the text.
 * Errors: text-missing, text-unreadable, text-not-utf8 (the message says in which part of the file).
 */
export async function* readText(file: string, signal?: AbortSignal): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let read = 0;
  try {
    const stream = createReadStream(file, signal === undefined ? {} : { signal });
    for await (const bytes of stream as AsyncIterable<Buffer>) {
      const text = decode(() => decoder.decode(bytes, { stream: true }), file, read, read + bytes.length);
      read += bytes.length;
      if (text !== "") yield text;
    }
  } catch (cause) {
    signal?.throwIfAborted();
    throw readError(cause, file);
  }
  decode(() => decoder.decode(), file, read, read);
}

function decode(work: () => string, file: string, from: number, to: number): string {
  try {
    return work();
  } catch (cause) {
    const place = from === to ? "it ends inside a character" : `see its bytes ${from} to ${to}`;
    throw new ConnitoError(`${file} is not UTF-8 text: ${place}`, {
      code: "text-not-utf8",
      exit: "invalidInput",
      hint: "Convert it first, for example with `iconv -f latin1 -t utf-8`.",
      cause,
    });
  }
}

function readError(cause: unknown, file: string): unknown {
  const { code, syscall } = cause as NodeJS.ErrnoException;
  if (cause instanceof ConnitoError || code === undefined || syscall === undefined) return cause;
  const missing = code === "ENOENT" || code === "ENOTDIR";
  return new ConnitoError(missing ? `There is no text at ${file}` : `The text at ${file} cannot be read (${code})`, {
    code: missing ? "text-missing" : "text-unreadable",
    exit: missing ? "invalidInput" : "storage",
    hint: missing ? "Check the path." : "Check that it is a file that this user may read.",
    cause,
  });
}
