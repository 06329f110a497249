/** What the trainers take and give: all at once (trainer.ts), or layer by layer (layers/layer-trainer.ts). */
import { ConnitoError } from "../errors.ts";
import type { Architecture } from "../model/families/index.ts";
import { exclusive } from "./exclusive.ts";
import type { OptimizerOptions } from "./update.ts";

export interface TrainingOptions {
  readonly architecture: Architecture;
  /** Names of the tensors to train. */
  readonly trainable: readonly string[];
  readonly optimizer: OptimizerOptions;
  /** Tokens predicted in a sequence. */
  readonly sequenceLength: number;
  /** Sequences in a micro-batch. */
  readonly batchSequences: number;
  /** Threads of the computation; as many as there are cores where left out. */
  readonly threads?: number;
  /** The only values that may change, of each trained tensor (places.ts); all of them where left out. */
  readonly places?: ReadonlyMap<string, Uint32Array>;
}

export interface StepResult {
  /** Mean cross-entropy before the step, in nats per token. */
  readonly loss: number;
  /** Global norm of the gradient before it was clipped. */
  readonly gradientNorm: number;
  readonly tokens: number;
}

export interface TrainerState {
  /** Steps taken. */
  readonly step: number;
  /** For each trained tensor its value under its name, and its moments under `m.NAME` and, where AdamW updates it, `v.NAME`. */
  readonly tensors: ReadonlyMap<string, Float32Array>;
}

export interface Trainer {
  /**
   * One optimizer step on the mean loss over micro-batches of exactly `batchSequences` sequences of `sequenceLength + 1` tokens.
   * Errors: batch-invalid; loss-not-finite, after which everything is as before the step.
   */
  step(microBatches: readonly (readonly Int32Array[])[], options?: { readonly learningRate?: number }): Promise<StepResult>;
  /** A copy of everything that a later `restore` needs to go on as if nothing had happened. */
  state(): Promise<TrainerState>;
  /** Errors: trainer-state-mismatch, where tensors are missing, extra or of other sizes. */
  restore(state: TrainerState): Promise<void>;
  /** Copies of the trained tensors as they are now. */
  weights(): Promise<Map<string, Float32Array>>;
  /** Releases everything, after the calls that are under way. */
  dispose(): void;
}

/** A trainer's calls, done one after another until it is closed. */
export interface Turns {
  /** Starts a call when those before it have ended; throws where the trainer is closed. */
  call<T>(task: () => Promise<T>): Promise<T>;
  /** An update that cannot be taken back: nothing can be asked of the trainer any more if it fails half-way. */
  update(task: () => Promise<void>): Promise<void>;
  /** After the last call `release` is called, once. */
  close(release: () => unknown): void;
}

export function createTurns(): Turns {
  const inTurn = exclusive();
  /** Why nothing can be asked any more. */
  let closed: string | undefined;
  return {
    call: (task) =>
      inTurn(async () => {
        if (closed !== undefined) throw new Error(closed);
        return task();
      }),
    async update(task) {
      try {
        await task();
      } catch (cause) {
        closed = "an update failed half-way; restart from the last saved state";
        throw cause;
      }
    },
    close: (release) =>
      void inTurn(async () => {
        closed ??= "the trainer was disposed of";
        await release();
      }),
  };
}

/** The result of `step` (from 1), with the norm of a sum of `count` gradients. Errors: loss-not-finite. */
export function stepResult(
  step: number,
  { losses, squares, count, tokens }: { losses: number; squares: number; count: number; tokens: number },
): StepResult {
  const [loss, gradientNorm] = [losses / tokens, Math.sqrt(squares) / count];
  if (Number.isFinite(loss) && Number.isFinite(gradientNorm)) return { loss, gradientNorm, tokens };
  throw new ConnitoError(`step ${step} was not taken: loss ${loss}, gradient norm ${gradientNorm}`, {
    code: "loss-not-finite",
    exit: "invalidInput",
    hint: "Lower the learning rate, or check the model's weights; the step changed nothing.",
  });
}

/** Errors: trainer-state-mismatch, where saved tensors are not those of `expected` (sizes by name), or the step is none. */
export function checkState(step: number, saved: ReadonlyMap<string, number>, expected: ReadonlyMap<string, number>): void {
  const wrong = [...expected].find(([name, size]) => saved.get(name) !== size)?.[0];
  const extra = [...saved.keys()].find((name) => !expected.has(name));
  if (wrong === undefined && extra === undefined && Number.isSafeInteger(step) && step >= 0) return;
  throw new ConnitoError(`the saved training state does not fit what is trained: ${wrong ?? extra ?? `step ${step}`}`, {
    code: "trainer-state-mismatch",
    exit: "invalidInput",
    hint: "It belongs to another selection of experts or another model: remove it and train this cycle from its start.",
  });
}
