/**
 * How far an owner's data are prepared: a file that only grows by a line for each shard, so that a note costs the same however many came
 * before it. What a kill tore of a line is no JSON and is passed over; the next run goes on from the whole lines before it.
 */
import { createReadStream } from "node:fs";
import { mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { createInterface } from "node:readline";
import { nothingPrepared, type PreparedShard, type PreparedSoFar } from "../../data/prepare.ts";
import { onStorage } from "../../files/errors.ts";
import { writeAll } from "../../files/replacing.ts";
import type { TokenData } from "../../protocol/token-data.ts";

export interface PreparationNotes {
  /** What is known of a side, by its name. */
  find(side: string): { readonly begun: PreparedSoFar; readonly done?: TokenData };
  /** Durable when it resolves. A number at which there is a shard already takes the place of that one, and those behind it are forgotten. */
  shard(side: string, shard: PreparedShard): Promise<void>;
  done(side: string, data: TokenData): Promise<void>;
  close(): Promise<void>;
}

type Line = { readonly side: string } & ({ readonly shard: PreparedShard } | { readonly done: TokenData });

/** Opens the notes at `path`; makes the file where there is none. Errors: those of `fileError`. */
export async function openPreparationNotes(path: string): Promise<PreparationNotes> {
  const begun = new Map<string, PreparedSoFar & { readonly shards: TokenData["shards"][number][] }>();
  const done = new Map<string, TokenData>();
  const take = (line: Line) => {
    if ("done" in line) return void done.set(line.side, line.done);
    const { number, hash, sequences, ...after } = line.shard;
    const shards = begun.get(line.side)?.shards ?? [];
    // A line before this one cannot be read: from there on the work is done again.
    if (number > shards.length) return;
    shards.length = number;
    shards.push({ hash, sequences });
    begun.set(line.side, { ...after, shards });
  };

  await onStorage(path, () => mkdir(dirname(path), { recursive: true, mode: 0o700 }));
  const handle = await onStorage(path, () => open(path, "a", 0o600));
  try {
    await onStorage(path, async () => {
      for await (const text of createInterface({ input: createReadStream(path), crlfDelay: Number.POSITIVE_INFINITY })) {
        const line = parsed(text);
        if (line !== undefined) take(line);
      }
    });
  } catch (error) {
    await handle.close();
    throw error;
  }

  /** Behind a line's end of its own: the last line may be torn. */
  async function add(line: Line): Promise<void> {
    take(line);
    await onStorage(path, async () => {
      await writeAll(handle, Buffer.from(`\n${JSON.stringify(line)}`));
      await handle.datasync();
    });
  }

  return {
    find(side) {
      const data = done.get(side);
      const found = begun.get(side) ?? nothingPrepared;
      // Of its own: the next shard is added to the list that is kept here.
      return { begun: { ...found, shards: [...found.shards] }, ...(data && { done: data }) };
    },
    shard: (side, shard) => add({ side, shard }),
    done: (side, data) => add({ side, done: data }),
    close: () => handle.close(),
  };
}

function parsed(text: string): Line | undefined {
  try {
    const line: unknown = JSON.parse(text);
    return isLine(line) ? line : undefined;
  } catch {
    return undefined;
  }
}

function isLine(line: unknown): line is Line {
  return isObject(line) && typeof line["side"] === "string" && (isObject(line["shard"]) || isObject(line["done"]));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
