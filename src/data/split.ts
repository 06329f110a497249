/**
 * One corpus made into two texts, one to train on and one held out, that share no paragraph.
 *
 * The side of a paragraph follows from its content alone: paragraphs are ranked by a hash, and the first in rank are held out until they
 * make up the wished share of the bytes. So the split is the same on every machine, both sides come from all over the
 * corpus, and a paragraph that occurs twice lies on one side both times.
 */
import { createWriteStream, type WriteStream } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { finished } from "node:stream/promises";
import { ConnitoError } from "../errors.ts";
import { fileError } from "../files/errors.ts";
import { type Hash, hashFields, utf8 } from "../protocol/hash.ts";
import { readText } from "./text.ts";

export interface SplitOptions {
  /** UTF-8 texts, read in this order as one corpus; the end of a file ends a paragraph. */
  readonly files: readonly string[];
  /** The part of the bytes that is held out, between 0 and 1. */
  readonly heldOutShare: number;
  /** Where the two texts are written. */
  readonly train: string;
  readonly heldOut: string;
}

export interface TextPart {
  readonly file: string;
  readonly bytes: number;
  readonly paragraphs: number;
}

/** A longer paragraph is cut at the end of a sentence, so that texts without any paragraphs can be split too. */
const longestParagraph = 2000;

const separator = "\n\n";

/**
 * Writes the two texts, each in the order of the corpus, an empty line after every paragraph. Existing files are replaced.
 * Errors: share-out-of-range, text-too-short (a side would be empty), disk-full, and those of readText.
 */
export async function splitText(options: SplitOptions): Promise<{ train: TextPart; heldOut: TextPart }> {
  const { files, heldOutShare } = options;
  if (!(heldOutShare > 0 && heldOutShare < 1)) {
    throw new ConnitoError(`A held-out share of ${heldOutShare} is not between 0 and 1`, {
      code: "share-out-of-range",
      exit: "usage",
      hint: "Take a share such as 0.1.",
    });
  }
  const last = await lastHeldOut(files, heldOutShare);
  const train = createPart(options.train);
  const heldOut = createPart(options.heldOut);
  try {
    for await (const paragraph of paragraphs(files)) await (rank(paragraph) <= last ? heldOut : train).write(paragraph);
    for (const part of [train, heldOut]) if (part.isEmpty()) throw tooShort(files);
    return { train: await train.finish(), heldOut: await heldOut.finish() };
  } catch (cause) {
    await Promise.all([train.discard(), heldOut.discard()]);
    throw cause;
  }
}

function rank(paragraph: string): Hash {
  return hashFields("connito/split/1", utf8(paragraph));
}

/** The rank of the last paragraph that is held out. Only ranks and lengths are kept in memory. */
async function lastHeldOut(files: readonly string[], share: number): Promise<Hash> {
  const bytesByRank = new Map<Hash, number>();
  let total = 0;
  for await (const paragraph of paragraphs(files)) {
    const bytes = Buffer.byteLength(paragraph);
    const key = rank(paragraph);
    bytesByRank.set(key, (bytesByRank.get(key) ?? 0) + bytes);
    total += bytes;
  }
  if (bytesByRank.size < 2) throw tooShort(files);
  const ranks = [...bytesByRank.keys()].sort();
  let held = 0;
  // The last in rank always stays for training.
  for (const key of ranks.slice(0, -1)) {
    held += bytesByRank.get(key) ?? 0;
    if (held >= share * total) return key;
  }
  return ranks.at(-2) as Hash;
}

/** The corpus's paragraphs: runs of text between empty lines, without space around them, none empty and none longer than `longestParagraph` characters. */
async function* paragraphs(files: readonly string[]): AsyncGenerator<string> {
  for (const file of files) {
    let pending = "";
    for await (const text of readText(file)) {
      pending = (pending + text).trimStart();
      // What is decided depends on the first characters only, so it must not depend on how many have arrived.
      while (pending.length > longestParagraph) {
        const end = paragraphEnd(pending.slice(0, longestParagraph));
        const paragraph = pending.slice(0, end).trim();
        if (paragraph !== "") yield paragraph;
        pending = pending.slice(end).trimStart();
      }
    }
    for (const paragraph of pending.split(/\n[ \t\r]*\n/)) if (paragraph.trim() !== "") yield paragraph.trim();
  }
}

/** Where the first paragraph of a text of full length ends: at an empty line, else after the last sentence, word or character. */
function paragraphEnd(text: string): number {
  const empty = text.search(/\n[ \t\r]*\n/);
  if (empty > 0) return empty;
  const sentence = [...text.matchAll(/[.!?]["'”’)\]]*\s/gu)].at(-1);
  if (sentence !== undefined) return sentence.index + sentence[0].length;
  const space = text.search(/\s\S*$/);
  if (space > 0) return space;
  const split = text.charCodeAt(text.length - 1);
  return split >= 0xd800 && split <= 0xdbff ? text.length - 1 : text.length;
}

/** A text file that appears under its name only when it is complete. */
function createPart(file: string) {
  const temporary = `${file}.tmp`;
  const stream = createWriteStream(temporary);
  let failed: unknown;
  let bytes = 0;
  let count = 0;
  stream.on("error", (cause) => {
    failed = fileError(cause, file);
  });
  return {
    isEmpty: () => count === 0,
    write: async (paragraph: string) => {
      if (failed !== undefined) throw failed;
      const text = utf8(`${paragraph}${separator}`);
      bytes += text.length;
      count += 1;
      if (!stream.write(text)) await drained(stream);
    },
    finish: async (): Promise<TextPart> => {
      stream.end();
      await finished(stream).catch((cause: unknown) => {
        throw failed ?? cause;
      });
      await rename(temporary, file);
      return { file, bytes, paragraphs: count };
    },
    discard: async () => {
      stream.destroy();
      await finished(stream).catch(() => undefined);
      await rm(temporary, { force: true });
    },
  };
}

/** Resolves when there is room again, or the stream has failed and closed. */
function drained(stream: WriteStream): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      stream.off("drain", settle).off("close", settle);
      resolve();
    };
    stream.on("drain", settle).on("close", settle);
  });
}

function tooShort(files: readonly string[]): ConnitoError {
  return new ConnitoError(`The text of ${files.join(", ")} is too short to be split`, {
    code: "text-too-short",
    exit: "invalidInput",
    hint: `Give a text of several paragraphs or of more than ${longestParagraph} characters.`,
  });
}
