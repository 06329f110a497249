/**
 * Sequences by their number, from shards that lie on the disk: what is read is what was asked for, so that memory does not grow with the
 * data. Shards are brought when a sequence of theirs is wanted first.
 */
import { type FileHandle, open } from "node:fs/promises";
import { ConnitoError } from "../errors.ts";
import { decodeTokens, placeOfSequence, sequenceBytes, type TokenData } from "../protocol/token-data.ts";

export interface SequenceReader {
  readonly data: TokenData;
  /** Sequence `index`: `sequenceLength + 1` tokens. Errors: what bringing a shard throws, data-unreadable. */
  read(index: number): Promise<Int32Array>;
  close(): Promise<void>;
}

/** Where a shard's bytes lie; brings them first where they are missing. */
export type BringShard = (shard: number) => Promise<{ readonly file: string; readonly offset: number }>;

/** Reads sequences one after another: one call at a time. */
export function openSequences(data: TokenData, bringShard: BringShard): SequenceReader {
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

  return {
    data,
    close,
    async read(index) {
      const place = placeOfSequence(data, index);
      const { handle, offset } = await shardAt(place.shard);
      const bytes = new Uint8Array(sequenceBytes(data));
      for (let at = 0; at < bytes.length; ) {
        const { bytesRead } = await handle.read(bytes, at, bytes.length - at, offset + place.offset + at);
        if (bytesRead === 0) throw cutShort(data.shards[place.shard]?.hash);
        at += bytesRead;
      }
      return decodeTokens(data.dtype, bytes);
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
