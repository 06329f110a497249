/**
 * A batch of token sequences as the decoder reads it: all sequences of one length, tokens and the tokens that follow them. Rows are ordered by position
 * first and sequence second (row = position * sequences + sequence), which is what the attention operator wants.
 */
import { ConnitoError } from "../../errors.ts";

export interface BatchShape {
  /** How many sequences a batch has. */
  readonly sequences: number;
  /** How many tokens of a sequence are read; the token after the last is a target only. */
  readonly positions: number;
}

export interface Batch {
  readonly tokens: BigInt64Array;
  readonly targets: BigInt64Array;
}

/**
 * Lays out exactly `shape.sequences` sequences of `shape.positions + 1` tokens each.
 * Errors: batch-invalid, for another count or length, or a token that is not below `vocabularySize`.
 */
export function layOut(sequences: readonly Int32Array[], shape: BatchShape, vocabularySize: number): Batch {
  if (sequences.length !== shape.sequences) throw invalid(`${sequences.length} sequences where the batch has ${shape.sequences}`);
  const tokens = new BigInt64Array(new ArrayBuffer(8 * shape.sequences * shape.positions));
  const targets = new BigInt64Array(new ArrayBuffer(8 * shape.sequences * shape.positions));
  for (const [column, sequence] of sequences.entries()) {
    if (sequence.length !== shape.positions + 1)
      throw invalid(`a sequence of ${sequence.length} tokens where ${shape.positions + 1} are needed`);
    for (const [position, token] of sequence.entries()) {
      if (token < 0 || token >= vocabularySize) throw invalid(`token ${token} is not in the vocabulary of ${vocabularySize}`);
      if (position < shape.positions) tokens[position * shape.sequences + column] = BigInt(token);
      if (position > 0) targets[(position - 1) * shape.sequences + column] = BigInt(token);
    }
  }
  return { tokens, targets };
}

function invalid(message: string): ConnitoError {
  return new ConnitoError(message, {
    code: "batch-invalid",
    exit: "invalidInput",
    hint: "Check that the data was tokenised with the model's own tokenizer and the task's sequence length.",
  });
}
