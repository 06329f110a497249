/**
 * Sequences by their number, from shards that lie on the disk. A miner comes to all sequences of a shard, in an order of its own: so a
 * run of neighbours is read at once, and the last runs are kept, so many that memory does not grow with the data. Shards are
 * brought when a sequence of theirs is wanted first.
 */
import { type FileHandle, open } from "node:fs/promises";
import { ConnitoError } from "../errors.ts";
import { decodeTokens, placeOfSequence, sequenceBytes, shardBytes, type TokenData } from "../protocol/token-data.ts";

export interface SequenceReader {
  readonly data: TokenData;
  /** Sequence `index`: `sequenceLength + 1` tokens. Errors: what bringing a shard throws, data-unreadable. */
  read(index: number): Promise<Int32Array>;
  close(): Promise<void>;
}

/** Bytes of a run, but one sequence at least, and how many runs are kept: enough for a shard as `connito task create` makes them. */
const runBytes = 1 << 20;
const keptRuns = 10;

/** Where a shard's bytes lie; brings them first where they are missing. */
export type BringShard = (shard: number) => Promise<{ readonly file: string; readonly offset: number }>;

/** Reads sequences one after another: one call at a time. */
export function openSequences(data: TokenData, bringShard: BringShard): SequenceReader {
  const size = sequenceBytes(data);
  const perRun = Math.max(1, Math.floor(runBytes / size));
  /** The one used last comes last. */
  const runs = new Map<string, Uint8Array>();
  let current: { readonly shard: number; readonly handle: FileHandle; readonly offset: number } | undefined;

  async function shardAt(shard: number) {
    if (current?.shard === shard) return current;
    await close();
    const { file, offset } = await bringShard(shard);
    current = { shard, handle: await open(file, "r"), offset };
    return current;
  }

  async function close(): Promise<void> {
    const { handle } = current ?? {};
    current = undefined;
    await handle?.close();
  }

  async function readRun(shard: number, first: number): Promise<Uint8Array> {
    const { handle, offset } = await shardAt(shard);
    const bytes = new Uint8Array(Math.min(perRun * size, shardBytes(data, shard) - first));
    for (let at = 0; at < bytes.length; ) {
      const { bytesRead } = await handle.read(bytes, at, bytes.length - at, offset + first + at);
      if (bytesRead === 0) throw cutShort(data.shards[shard]?.hash);
      at += bytesRead;
    }
    return bytes;
  }

  return {
    data,
    close,
    async read(index) {
      const { shard, offset } = placeOfSequence(data, index);
      const within = offset % (perRun * size);
      const key = `${shard} ${offset - within}`;
      const bytes = runs.get(key) ?? (await readRun(shard, offset - within));
      runs.delete(key);
      if (runs.size === keptRuns) runs.delete(runs.keys().next().value as string);
      runs.set(key, bytes);
      return decodeTokens(data.dtype, bytes.subarray(within, within + size));
    },
  };
}

function cutShort(hash: string | undefined): ConnitoError {
  return new ConnitoError(`The shard ${hash} ends early on the disk`, {
    code: "data-unreadable",
    exit: "storage",
    hint: "Run the same command again: the shard is checked and fetched anew.",
    retryable: true,
  });
}
