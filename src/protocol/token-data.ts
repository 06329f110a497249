/**
 * One side of a domain's data as everyone has it (docs/protocol.md, section 3): tokens, cut into sequences, in shards that are fetched by
 * hash. A sequence has a number, and with the document everyone finds the same tokens under it. Nobody tokenises again.
 */
import * as v from "valibot";
import { ConnitoError } from "../errors.ts";
import type { Hash } from "./hash.ts";

/** The largest shard that a participant takes. */
export const maximumShardBytes = 64 * 2 ** 20;
const maximumShards = 1 << 20;

const tokenWidths = { u16: 2, u32: 4 } as const;
export type TokenType = keyof typeof tokenWidths;

/** Tokens as they lie in a shard: unsigned, little-endian. */
export type Tokens = Uint16Array | Uint32Array;

const hash = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "must be a hash"));
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const positive = v.pipe(v.number(), v.safeInteger(), v.minValue(1));

const schema = v.strictObject({
  format: v.literal("connito/token-data/1"),
  /** Hash of the tokenizer.json that made the tokens. */
  tokenizer: hash,
  /** Tokens that are predicted in a sequence; a sequence has one more, since each predicts the next. */
  sequenceLength: v.pipe(positive, v.maxValue(1_048_576)),
  dtype: v.picklist(["u16", "u32"]),
  /** Documents the sequences were made of, and their length as UTF-8. */
  documents: count,
  textBytes: count,
  sequences: positive,
  shards: v.pipe(v.array(v.strictObject({ hash, sequences: positive })), v.minLength(1), v.maxLength(maximumShards)),
});

export type TokenData = v.InferOutput<typeof schema>;

/** Bytes of one token. */
export function tokenWidth(dtype: TokenType): number {
  return tokenWidths[dtype];
}

/** Bytes of one sequence in its shard. */
export function sequenceBytes({ sequenceLength, dtype }: Pick<TokenData, "sequenceLength" | "dtype">): number {
  return (sequenceLength + 1) * tokenWidths[dtype];
}

/** Bytes of a shard. */
export function shardBytes(data: TokenData, shard: number): number {
  return (data.shards[shard]?.sequences ?? 0) * sequenceBytes(data);
}

/** The data document that a parsed JSON value is. Throws `token-data-invalid`. */
export function parseTokenData(value: unknown): TokenData {
  const result = v.safeParse(schema, value);
  if (!result.success) {
    const [issue] = result.issues;
    throw invalid(`${v.getDotPath(issue) ?? "the document"}: ${issue.message}`);
  }
  const data = result.output;
  const [first] = data.shards;
  const last = data.shards.length - 1;
  for (const [index, shard] of data.shards.entries()) {
    const fits = index === last ? shard.sequences <= (first?.sequences ?? 0) : shard.sequences === first?.sequences;
    if (!fits)
      throw invalid(`shard ${index} has ${shard.sequences} sequences; all but the last, which may be shorter, have as many as the first`);
  }
  if (shardBytes(data, 0) > maximumShardBytes) throw invalid(`a shard has ${shardBytes(data, 0)} bytes, more than ${maximumShardBytes}`);
  const total = data.shards.reduce((sum, shard) => sum + shard.sequences, 0);
  if (total !== data.sequences) throw invalid(`its shards hold ${total} sequences, not ${data.sequences}`);
  return data;
}

/** Where sequence `index` lies: the shard's place in the document, and the first byte in the shard. */
export function placeOfSequence(data: TokenData, index: number): { readonly shard: number; readonly offset: number } {
  if (!Number.isInteger(index) || index < 0 || index >= data.sequences)
    throw new Error(`there is no sequence ${index} of ${data.sequences}`);
  const each = data.shards[0]?.sequences ?? 1;
  return { shard: Math.floor(index / each), offset: (index % each) * sequenceBytes(data) };
}

/** The tokens that bytes of a shard are. */
export function decodeTokens(dtype: TokenType, bytes: Uint8Array): Int32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const width = tokenWidths[dtype];
  const tokens = new Int32Array(bytes.length / width);
  for (let index = 0; index < tokens.length; index++)
    tokens[index] = width === 2 ? view.getUint16(2 * index, true) : view.getUint32(4 * index, true);
  return tokens;
}

/** Throws `token-data-mismatch` where the data were not made for this model or with this length. */
export function checkTokenData(
  data: TokenData,
  expected: { readonly tokenizer: Hash; readonly sequenceLength: number },
  what: string,
): void {
  const wrong = (reason: string) =>
    new ConnitoError(`${what} cannot be used: ${reason}`, {
      code: "token-data-mismatch",
      exit: "verification",
      hint: "The owner prepared the data for something else than what the task says: tell the owner; `connito task create` makes both together.",
    });
  if (data.tokenizer !== expected.tokenizer)
    throw wrong(`its tokens are those of tokenizer ${data.tokenizer}, the model's is ${expected.tokenizer}`);
  if (data.sequenceLength !== expected.sequenceLength)
    throw wrong(`its sequences have ${data.sequenceLength} tokens, the task's ${expected.sequenceLength}`);
}

function invalid(reason: string): ConnitoError {
  return new ConnitoError(`The document is no token data: ${reason}`, {
    code: "token-data-invalid",
    exit: "verification",
    hint: "The owner makes it with `connito task create`; tell the owner if it comes from a task.",
  });
}
