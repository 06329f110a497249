/**
 * A short pre-training of all of a small checkpoint's weights, so that a task on a laptop starts from a language model and not from noise.
 * Real bases come from elsewhere; this is for demos, tests and experiments.
 */

import { readSequences } from "../../data/text.ts";
import { openTrainer } from "../../engine/trainer.ts";
import { ConnitoError } from "../../errors.ts";
import type { Checkpoint } from "../../model/checkpoint.ts";
import { fromFloat32 } from "../../model/dtype.ts";
import { cutTensor, isTrainable, listWeights, requireComputable } from "../../model/families/index.ts";
import { indexCheckpoint } from "../../model/index-checkpoint.ts";
import { readPieceFrom } from "../../model/pieces.ts";
import { loadWeights } from "../../model/weights.ts";
import { writeCheckpoint } from "../../model/write-checkpoint.ts";
import { hashFields, u32 } from "../../protocol/hash.ts";
import { createWalk } from "../../protocol/walk.ts";
import type { Context } from "../context.ts";

export interface PretrainInput {
  readonly checkpoint: Checkpoint;
  /** UTF-8 texts, which take turns in a batch whatever their sizes. */
  readonly files: readonly string[];
  /** The directory that the trained checkpoint is written to; may be the checkpoint's own. */
  readonly directory: string;
  /** Whichever comes first ends it. */
  readonly seconds?: number;
  readonly steps?: number;
  readonly sequenceLength: number;
  readonly batchSequences: number;
  /** Peak learning rate: reached after a linear warm-up, then lowered along a cosine to a tenth. */
  readonly learningRate: number;
  readonly seed: number;
}

export interface PretrainResult {
  readonly directory: string;
  readonly steps: number;
  readonly tokens: number;
  readonly seconds: number;
  /** Mean training loss of the first and of the last steps, nats per token. */
  readonly firstLoss: number;
  readonly lastLoss: number;
}

/** Share of the run that warms up, and steps that a reported loss averages. */
const warmUp = 0.05;
const reportedSteps = 20;
const optimizer = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.01, clipNorm: 1 };

/** @throws data-too-short, loss-not-finite, and what opening the texts throws. Interrupted, nothing is written. */
export async function pretrain(context: Pick<Context, "threads" | "progress" | "signal">, input: PretrainInput): Promise<PretrainResult> {
  const { checkpoint, sequenceLength, batchSequences } = input;
  requireComputable(checkpoint.architecture, checkpoint.directory);
  const texts = await Promise.all(input.files.map((file) => readSequences({ file, tokenizer: checkpoint.tokenizer, sequenceLength })));
  const available = texts.reduce((sum, { sequences }) => sum + sequences.length, 0);
  if (available < batchSequences) {
    throw new ConnitoError(`The texts hold ${available} sequences of ${sequenceLength} tokens; one batch needs ${batchSequences}.`, {
      code: "data-too-short",
      exit: "invalidInput",
      hint: "Give longer texts, or a shorter --sequence-length or smaller --batch.",
    });
  }
  const { manifest, locations } = await indexCheckpoint(checkpoint, { signal: context.signal });
  const weights = await loadWeights({
    pieces: manifest.pieces,
    readPiece: readPieceFrom((hash) => locations.get(hash)),
    architecture: checkpoint.architecture,
  });
  const trainer = await openTrainer({
    architecture: checkpoint.architecture,
    weights,
    trainable: listWeights(checkpoint.architecture)
      .filter(isTrainable)
      .map(({ name }) => name),
    optimizer: { ...optimizer, learningRate: input.learningRate },
    sequenceLength,
    batchSequences,
    threads: context.threads,
  });
  try {
    const walk = createWalk(
      texts.map(({ sequences: { length } }) => [{ shard: 0, first: 0, sequences: length }]),
      hashFields("connito/pretrain/1", u32(input.seed)),
    );
    const batchAt = (first: number) =>
      Array.from({ length: batchSequences }, (_, place) => {
        const { domain, index } = walk.at(first + place);
        return texts[domain]?.sequences[index] as Int32Array;
      });
    const started = performance.now();
    const elapsed = () => (performance.now() - started) / 1000;
    const done = (steps: number) =>
      Math.max(input.steps === undefined ? 0 : steps / input.steps, input.seconds === undefined ? 0 : elapsed() / input.seconds);
    const losses: number[] = [];
    let tokens = 0;
    context.progress.start("Pre-training", 100);
    while (done(losses.length) < 1) {
      context.signal.throwIfAborted();
      const batch = batchAt(losses.length * batchSequences);
      const share = done(losses.length);
      const step = await trainer.step([batch], { learningRate: input.learningRate * schedule(share) });
      losses.push(step.loss);
      tokens += step.tokens;
      context.progress.update(Math.floor(100 * share), `loss ${step.loss.toFixed(4)}, ${Math.round(tokens / elapsed())} tokens/s`);
    }
    const seconds = elapsed();
    context.progress.succeed(`Pre-trained ${losses.length} steps, loss ${mean(losses.slice(-reportedSteps)).toFixed(4)}`);
    const trained = await trainer.weights();
    await writeCheckpoint({
      directory: input.directory,
      config: checkpoint.configBytes,
      tokenizer: checkpoint.tokenizer,
      specs: checkpoint.specs,
      dtype: "F32",
      data: (spec) => () => cutTensor(spec).map(({ name }) => fromFloat32("F32", (trained.get(name) ?? weights.get(name)) as Float32Array)),
    });
    return {
      directory: input.directory,
      steps: losses.length,
      tokens,
      seconds,
      firstLoss: mean(losses.slice(0, reportedSteps)),
      lastLoss: mean(losses.slice(-reportedSteps)),
    };
  } finally {
    await trainer.dispose();
  }
}

/** Factor on the peak learning rate at a share of the run: linear warm-up, then a cosine from 1 to 0.1. */
function schedule(share: number): number {
  if (share < warmUp) return Math.max(share / warmUp, 0.02);
  return 0.1 + 0.45 * (1 + Math.cos((Math.PI * (share - warmUp)) / (1 - warmUp)));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
