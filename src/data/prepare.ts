/**
 * From documents to token shards. Each document is tokenised for itself; the tokens of a side, put together in the order of the documents,
 * are cut in sequences (docs/protocol.md, section 8), and sequences are stored in shards. Memory holds one shard and a few batches of
 * text, whatever the size of the sources. Stopped anywhere, it goes on at the last whole shard and ends with the same bytes.
 */
import type { Hash } from "../protocol/hash.ts";
import { sequenceBytes, type TokenData, type Tokens, type TokenType, tokenWidth } from "../protocol/token-data.ts";
import { type DocumentKey, documentKey } from "./document-set.ts";
import { documents } from "./sources/documents.ts";
import type { LocalFile } from "./sources/local.ts";
import type { TextBatch, TokenizerPool } from "./tokenizer-pool.ts";

/** A shard of at most this size: small enough to fetch for a few steps of training, large enough that there are not too many. */
const shardTargetBytes = 8 * 2 ** 20;
/** Characters given to a thread at once. */
const batchCharacters = 1 << 17;

/** How far one side has come: everything before is in whole shards. */
export interface PreparedSoFar {
  /** Documents of the files, in order, that need not be read again, kept or not. */
  readonly passed: number;
  /** Tokens of the documents after those that are in shards already. */
  readonly tokens: number;
  readonly documents: number;
  readonly textBytes: number;
  readonly shards: TokenData["shards"];
}

/** A shard, the `number`th of its side, and how far the side has come with it. */
export interface PreparedShard extends Omit<PreparedSoFar, "shards"> {
  readonly number: number;
  readonly hash: Hash;
  readonly sequences: number;
}

export const nothingPrepared: PreparedSoFar = { passed: 0, tokens: 0, documents: 0, textBytes: 0, shards: [] };

export interface PrepareOptions {
  readonly files: readonly LocalFile[];
  /** Whether a document belongs to this side. */
  readonly keep: (key: DocumentKey, file: LocalFile) => boolean;
  readonly pool: TokenizerPool;
  /** Hash of the tokenizer.json that the pool was opened with. */
  readonly tokenizer: Hash;
  readonly dtype: TokenType;
  readonly sequenceLength: number;
  /** The token that follows the documents of files that want one. */
  readonly endOfText?: number | undefined;
  /** Bytes of the largest shard, but one sequence at least. */
  readonly shardBytes?: number | undefined;
  /** Keeps a shard. */
  readonly store: (bytes: Uint8Array) => Promise<Hash>;
  /** Notes how far it has come with each full shard. */
  readonly save: (shard: PreparedShard) => Promise<void>;
  readonly from: PreparedSoFar;
  /** Told the characters that were tokenised since the last call. */
  readonly onProgress: (characters: number) => void;
  readonly signal: AbortSignal;
}

export interface PreparedSide {
  /** Undefined where there is not one whole sequence. */
  readonly data: TokenData | undefined;
  /** Tokens of all documents, those of the last, short run included. */
  readonly tokens: number;
}

interface Batch extends TextBatch {
  /** The state if everything before this batch were in shards. */
  readonly before: Omit<PreparedSoFar, "tokens" | "shards">;
  readonly documents: number;
  readonly textBytes: number;
  readonly characters: number;
}

/** Tokenises one side. Errors: those of reading documents, tokenizer-invalid, what `store` throws; the signal's reason. */
export async function prepareSide(options: PrepareOptions): Promise<PreparedSide> {
  const { pool, sequenceLength, dtype, from, shardBytes = shardTargetBytes } = options;
  const run = sequenceLength + 1;
  const perShard = Math.max(1, Math.floor(shardBytes / sequenceBytes({ sequenceLength, dtype })));
  const shard = dtype === "u16" ? new Uint16Array(perShard * run) : new Uint32Array(perShard * run);
  const shards = [...from.shards];
  let filled = 0;
  let skip = from.tokens;
  let total = shards.reduce((sum, { sequences }) => sum + sequences * run, 0);
  let { documents: kept, textBytes } = from;

  const keepShard = async (sequences: number) => {
    const hash = await options.store(new Uint8Array(shard.buffer, 0, sequences * run * tokenWidth(dtype)));
    filled = 0;
    return { number: shards.push({ hash, sequences }) - 1, hash, sequences };
  };
  for await (const { batch, tokens } of pool.encode(batchesOf(options))) {
    options.signal.throwIfAborted();
    if (skip > tokens.length) throw new Error("fewer tokens than when the preparation was stopped");
    for (let at = skip; at < tokens.length; ) {
      const part = (tokens as Tokens).subarray(at, at + shard.length - filled);
      shard.set(part, filled);
      filled += part.length;
      at += part.length;
      if (filled < shard.length) continue;
      await options.save({ ...(await keepShard(perShard)), ...batch.before, tokens: at });
    }
    total += tokens.length - skip;
    skip = 0;
    kept += batch.documents;
    textBytes += batch.textBytes;
    options.onProgress(batch.characters);
  }
  const rest = Math.floor(filled / run);
  if (rest > 0) await keepShard(rest);
  const sequences = shards.reduce((sum, entry) => sum + entry.sequences, 0);
  if (sequences === 0) return { data: undefined, tokens: total };
  const { tokenizer } = options;
  const data = { format: "connito/token-data/1" as const, tokenizer, sequenceLength, dtype, documents: kept, textBytes, sequences, shards };
  return { data, tokens: total };
}

/** The side's documents in batches, from where it goes on. */
async function* batchesOf({ files, keep, from, endOfText, signal }: PrepareOptions): AsyncGenerator<Batch> {
  let passed = 0;
  let before = { passed: from.passed, documents: from.documents, textBytes: from.textBytes };
  for (const file of files) {
    const end = file.endOfText ? endOfText : undefined;
    let texts: string[] = [];
    let [count, bytes, characters] = [0, 0, 0];
    const flush = (): Batch => {
      const batch = { texts, end, before, documents: count, textBytes: bytes, characters };
      before = { passed, documents: before.documents + count, textBytes: before.textBytes + bytes };
      texts = [];
      [count, bytes, characters] = [0, 0, 0];
      return batch;
    };
    for await (const found of documents(file)) {
      signal.throwIfAborted();
      for (const text of found) {
        passed += 1;
        if (passed <= from.passed) continue;
        if (!keep(documentKey(text), file)) continue;
        texts.push(text);
        count += 1;
        bytes += Buffer.byteLength(text);
        characters += text.length;
        if (characters >= batchCharacters) yield flush();
      }
    }
    yield flush();
  }
}
