/**
 * The chain on disk: one line a block, appended and synced before anybody hears of the block. A line is a checksum, a space
 * and JSON. A log that has grown is written anew, beginning with the whole state after a block. What was torn at the end by a kill or a power cut is cut off at the next start; damage anywhere else is refused.
 */

import { createHash } from "node:crypto";
import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { ConnitoError } from "../../errors.ts";
import type { Block } from "./blocks.ts";
import type { Hex } from "./metadata/scale.ts";
import type { Changes } from "./runtime/ledger.ts";

export interface LoggedBlock {
  readonly block: Block;
  readonly changes: Changes;
  /** Number up to which the chain was final with this block; logs of older versions do not say. */
  readonly finalized: number | undefined;
  /** The block that the log was compacted to: the first one, its changes the whole state. */
  readonly isBase: boolean;
}

export interface BlockLog {
  /**
   * The blocks after the genesis in the order in which they were made. Writes the genesis hash when the log is new.
   * @throws ConnitoError genesis-mismatch when the log belongs to another genesis, localnet-log-corrupt
   */
  restore(genesisHash: Hex): Generator<LoggedBlock>;
  /** @param finalized number up to which the chain is final with this block */
  append(block: Block, changes: Changes, finalized: number): void;
  /** Whether so much was appended that the log should be compacted. */
  isDue(): boolean;
  /** Writes the log anew, beginning with this block and the whole state after it. What was made before it is forgotten. */
  compact(block: Block, state: Changes): void;
  close(): void;
}

const logName = "blocks.log";
const readBytes = 1 << 20;
export interface LogOptions {
  /** Bytes below which the log is left as it is. Default 32 MiB. */
  readonly smallestDue?: number;
}

const checksum = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 16);
const lineOf = (value: unknown): string => {
  const text = JSON.stringify(value);
  return `${checksum(text)} ${text}\n`;
};

function corrupt(path: string, line: number): ConnitoError {
  return new ConnitoError(`${path} is damaged in line ${line}`, {
    code: "localnet-log-corrupt",
    exit: "storage",
    hint: "Start the localnet with another state directory, or restore this one from a copy.",
  });
}

/** Complete lines with the offset behind each; the rest after the last line feed is not one. */
function* lines(descriptor: number): Generator<{ text: string; end: number }> {
  const chunk = Buffer.alloc(readBytes);
  let pending = Buffer.alloc(0);
  let offset = 0;
  for (let position = 0; ; ) {
    const count = readSync(descriptor, chunk, 0, readBytes, position);
    if (count === 0) {
      return;
    }
    position += count;
    pending = Buffer.concat([pending, chunk.subarray(0, count)]);
    for (let end = pending.indexOf(10); end !== -1; end = pending.indexOf(10)) {
      offset += end + 1;
      yield { text: pending.toString("utf8", 0, end), end: offset };
      pending = pending.subarray(end + 1);
    }
  }
}

function parse(text: string): unknown {
  const space = text.indexOf(" ");
  const body = text.slice(space + 1);
  return space !== -1 && checksum(body) === text.slice(0, space) ? JSON.parse(body) : undefined;
}

interface Record_ {
  readonly hash: Hex;
  readonly header: Block["header"];
  readonly extrinsics: Hex[];
  readonly changes: [Hex, Hex | null][];
  readonly finalized?: number;
  readonly isBase?: true;
}

function recordOf({ hash, header, extrinsics }: Block, changes: Changes): Omit<Record_, "finalized" | "isBase"> {
  return { hash, header, extrinsics: [...extrinsics], changes: [...changes].map(([key, value]) => [key, value ?? null]) };
}

/** Makes a renaming last over a power cut. */
function syncDirectory(directory: string): void {
  const descriptor = openSync(directory, "r");
  fsyncSync(descriptor);
  closeSync(descriptor);
}

/** @throws ConnitoError state-directory-unusable */
export function openBlockLog(stateDirectory: string, { smallestDue = 32 << 20 }: LogOptions = {}): BlockLog {
  const path = join(stateDirectory, logName);
  let descriptor: number;
  try {
    mkdirSync(stateDirectory, { recursive: true });
    descriptor = openSync(path, "a+", 0o600);
  } catch (cause) {
    throw new ConnitoError(`The localnet cannot keep its state in ${stateDirectory}`, {
      code: "state-directory-unusable",
      exit: "storage",
      hint: "Give a directory that can be written to.",
      cause,
    });
  }
  let size = 0;
  /** What the last compaction left; the next is due when as much again has come. */
  let compactedSize = 0;

  function write(value: unknown): void {
    if (fstatSync(descriptor).size !== size) {
      throw new ConnitoError(`Another process writes to ${path}`, {
        code: "state-locked",
        exit: "locked",
        hint: "Stop the other localnet, or give this one a state directory of its own.",
      });
    }
    const bytes = Buffer.from(lineOf(value));
    try {
      writeSync(descriptor, bytes);
      fdatasyncSync(descriptor);
    } catch (cause) {
      throw new ConnitoError(`The localnet cannot write to ${path}`, {
        code: (cause as { code?: string }).code === "ENOSPC" ? "disk-full" : "state-directory-unusable",
        exit: "storage",
        hint: "Make room on the disk and start the localnet again; it goes on from the last whole block.",
        cause,
      });
    }
    size += bytes.length;
  }

  return {
    *restore(genesisHash) {
      const total = fstatSync(descriptor).size;
      let number = 0;
      for (const { text, end } of lines(descriptor)) {
        const value = parse(text);
        number++;
        if (value === undefined) {
          if (end !== total) {
            throw corrupt(path, number);
          }
          break;
        }
        size = end;
        if (number === 1) {
          if ((value as { genesis?: string }).genesis !== genesisHash) {
            throw new ConnitoError(`${path} belongs to a chain with another genesis`, {
              code: "genesis-mismatch",
              exit: "invalidInput",
              hint: "Give the genesis that this state directory was made with, or another state directory.",
            });
          }
          continue;
        }
        const { hash, header, extrinsics, changes, finalized, isBase = false } = value as Record_;
        const decoded = new Map(changes.map(([key, item]) => [key, item ?? undefined]));
        yield { block: { hash, header, extrinsics }, changes: decoded, finalized, isBase };
      }
      if (size !== total) {
        ftruncateSync(descriptor, size);
      }
      if (number === 0 || size === 0) {
        write({ genesis: genesisHash });
      }
    },
    append: (block, changes, finalized) => write({ ...recordOf(block, changes), finalized }),
    isDue: () => size >= Math.max(smallestDue, 2 * compactedSize),
    compact(block, state) {
      const fresh = `${path}.new`;
      const target = openSync(fresh, "w", 0o600);
      const kept = new Set<Hex>([block.hash]);
      let number = 0;
      for (const { text } of lines(descriptor)) {
        const value = parse(text) as Record_;
        if (++number === 1) {
          writeSync(target, lineOf(value));
          writeSync(target, lineOf({ ...recordOf(block, state), isBase: true }));
        } else if (kept.has(value.header.parentHash)) {
          kept.add(value.hash);
          writeSync(target, `${text}\n`);
        }
      }
      fsyncSync(target);
      renameSync(fresh, path);
      syncDirectory(stateDirectory);
      closeSync(descriptor);
      closeSync(target);
      descriptor = openSync(path, "a+");
      size = fstatSync(descriptor).size;
      compactedSize = size;
    },
    close: () => closeSync(descriptor),
  };
}
