/** What both sides of `npm run bench -- train` are told and answer, one JSON document a line. */
import type { AdamWOptions } from "../../src/engine/optimizer.ts";
import type { Architecture } from "../../src/model/families/index.ts";

export interface Job {
  /** Path of model.safetensors; config.json and tokenizer.json lie beside it. */
  readonly checkpoint: string;
  readonly architecture: Architecture;
  /** Names of the tensors to train. */
  readonly trained: readonly string[];
  readonly optimizer: AdamWOptions;
  readonly sequenceLength: number;
  readonly batchSequences: number;
  readonly threads: number;
  /** Whether the peer runs through torch.compile. */
  readonly compiled: boolean;
}

export interface Answer {
  /** Milliseconds of each step, in order. */
  readonly times: number[];
  /** The loss of each step, before it. */
  readonly losses: number[];
  /** Most memory that the process has held, and what it held when only its libraries were loaded. */
  readonly peakBytes: number;
  readonly importedBytes: number;
}
