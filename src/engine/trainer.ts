/**
 * Training of chosen weights of a decoder. Forward pass, backward pass and optimizer are graphs; weights, moments and gradients
 * lie in the same memory from step to step and are updated in place. A step whose loss or gradient is not finite changes nothing.
 */
import { ConnitoError } from "../errors.ts";
import type { Architecture } from "../model/families/index.ts";
import { type BatchShape, layOut } from "./decoder/batch.ts";
import { buildDecoder, targetsInput, tokensInput } from "./decoder/decoder.ts";
import { exclusive } from "./exclusive.ts";
import { besides, elementCount, type FlatTensors, flatLayout, flatTensors } from "./flat-tensors.ts";
import { gradients } from "./graph/gradient.ts";
import { createGraph, type Graph, type Tensor } from "./graph/graph.ts";
import { lowerGraph } from "./graph/lower.ts";
import { mean } from "./graph/operators/reduce.ts";
import { stateMismatch } from "./layers/layer-state.ts";
import type { OnnxModel } from "./onnx/model.ts";
import { encodeModel } from "./onnx/writer.ts";
import { additionModel, normModel, squaresOutput, updatedName } from "./optimizer.ts";
import { openSession, type Session } from "./runtime/session.ts";
import { float32Value, int64Value, type Value } from "./runtime/value.ts";
import { chunked, type OptimizerOptions, openUpdate, shareOut, type Update } from "./update.ts";
import { checkWeights } from "./weights.ts";

export type { OptimizerOptions } from "./update.ts";

export interface TrainerOptions {
  readonly architecture: Architecture;
  /** Every tensor of the architecture by name, row-major. Those that are not trained are not copied, and must stay as they are. */
  readonly weights: ReadonlyMap<string, Float32Array>;
  /** Names of the tensors to train. */
  readonly trainable: readonly string[];
  readonly optimizer: OptimizerOptions;
  /** Tokens predicted in a sequence. */
  readonly sequenceLength: number;
  /** Sequences in a micro-batch. */
  readonly batchSequences: number;
  /** Threads of the computation; as many as there are cores where left out. */
  readonly threads?: number;
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
  /** Lets `change` rewrite the trained tensors in place, one after another, between steps. */
  edit(change: (name: string, weights: Float32Array) => unknown): Promise<void>;
  /** Releases everything, after the calls that are under way. */
  dispose(): void;
}

const lossesOutput = "losses";

/** Errors: unknown-family, config-not-computable, weights-mismatch, nothing-trainable, and those of the runtime. */
export async function openTrainer(options: TrainerOptions): Promise<Trainer> {
  const { architecture, trainable, optimizer } = options;
  const shapes = checkWeights(architecture, options.weights, trainable);
  const batch: BatchShape = { sequences: options.batchSequences, positions: options.sequenceLength };
  const sessions: { dispose(): void }[] = [];
  const sessionOptions = { pattern: false, ...(options.threads === undefined ? {} : { threads: options.threads }) };
  const open = async (model: OnnxModel) => {
    const session = await openSession(encodeModel(model), sessionOptions);
    sessions.push(session);
    return session;
  };
  const dispose = () => {
    for (const session of sessions) session.dispose();
  };

  const shared = shareOut(new Map(trainable.map((name) => [name, shapes.get(name) as readonly number[]])), optimizer);
  const elementwise = flatLayout(shared.elementwise);
  const layout = besides(elementwise, flatLayout(shared.matrices));
  const [trained, m, v, gradient] = [flatTensors(layout), flatTensors(layout), flatTensors(elementwise), flatTensors(layout)];
  for (const [name, value] of Object.entries(trained.tensors)) value.float32().set(options.weights.get(name) as Float32Array);
  const weights: Record<string, Value> = { ...trained.tensors };
  for (const [name, shape] of shapes) weights[name] ??= float32Value(shape, options.weights.get(name) as Float32Array);
  const state: Record<string, Value> = { ...trained.tensors, ...prefixed("m", m.tensors), ...prefixed("v", v.tensors) };

  let backward: Session;
  let norm: Session;
  let update: Update;
  try {
    const { graph, outputs } = gradientGraph(architecture, batch, trainable);
    backward = await open(lowerGraph(graph, outputs));
    norm = await open(normModel(layout.chunks));
    update = await openUpdate(optimizer, { chunks: elementwise.chunks, matrices: shared.matrices.values() }, sessionOptions);
    sessions.push(update);
  } catch (cause) {
    dispose();
    throw cause;
  }
  /** What a second micro-batch needs, made when there is one. */
  let further: { readonly addition: Session; readonly added: FlatTensors } | undefined;
  let steps = 0;
  /** Why nothing can be asked of this trainer any more. */
  let closed: string | undefined;
  const inTurn = exclusive();

  /** Computes the gradient of a micro-batch into `target`, and gives the sum of the tokens' losses. */
  const differentiate = async (sequences: readonly Int32Array[], target: FlatTensors): Promise<number> => {
    const { tokens, targets } = layOut(sequences, batch, architecture.vocabularySize);
    const rows = [tokens.length];
    const feeds = pick({ ...weights, [tokensInput]: int64Value(rows, tokens), [targetsInput]: int64Value(rows, targets) }, backward.inputs);
    const { [lossesOutput]: losses } = await backward.run(feeds, backward.outputs, { into: prefixed("gradient", target.tensors) });
    return take(losses as Value);
  };

  const step: Trainer["step"] = async (microBatches, { learningRate = optimizer.learningRate } = {}) => {
    if (microBatches.length === 0) throw new Error("a step needs at least one micro-batch");
    let loss = 0;
    for (const [index, sequences] of microBatches.entries()) {
      if (index === 0) {
        loss += await differentiate(sequences, gradient);
        continue;
      }
      further ??= { addition: await open(additionModel(layout.chunks)), added: flatTensors(layout) };
      loss += await differentiate(sequences, further.added);
      const feeds = { ...chunked("gradient", gradient.chunks), ...chunked("added", further.added.chunks) };
      await further.addition.run(feeds, further.addition.outputs, { into: chunked("gradient", gradient.chunks, updatedName) });
    }
    const scale = 1 / microBatches.length;
    const tokens = microBatches.length * batch.sequences * batch.positions;
    const { [squaresOutput]: squares } = await norm.run(chunked("gradient", gradient.chunks));
    const result = { loss: loss / tokens, gradientNorm: Math.sqrt(take(squares as Value)) * scale, tokens };
    if (!Number.isFinite(result.loss) || !Number.isFinite(result.gradientNorm)) throw notFinite(steps + 1, result);
    try {
      await update.apply({ step: steps + 1, norm: result.gradientNorm, scale, learningRate }, { weight: trained, gradient, m, v });
    } catch (cause) {
      // Some values may have been updated and others not.
      closed = "an update failed half-way; restart from the last saved state";
      throw cause;
    }
    steps += 1;
    return result;
  };

  const whenOpen = <T>(task: () => Promise<T>) =>
    inTurn(async () => {
      if (closed !== undefined) throw new Error(closed);
      return task();
    });
  return {
    step: (...parameters) => whenOpen(() => step(...parameters)),
    state: () => whenOpen(async () => ({ step: steps, tensors: copies(state) })),
    weights: () => whenOpen(async () => copies(trained.tensors)),
    edit: (change) =>
      whenOpen(async () => {
        for (const [name, value] of Object.entries(trained.tensors)) await change(name, value.float32());
      }),
    restore: (saved) =>
      whenOpen(async () => {
        checkState(saved, state);
        for (const [name, data] of saved.tensors) state[name]?.float32().set(data);
        steps = saved.step;
      }),
    dispose: () =>
      void inTurn(async () => {
        closed ??= "the trainer was disposed of";
        dispose();
      }),
  };
}

/**
 * Loss and gradients of one micro-batch. Outputs: the losses of all tokens, and the gradient of their mean with respect to each trained
 * tensor, under `gradient.` and the tensor's name.
 */
export function gradientGraph(
  architecture: Architecture,
  batch: BatchShape,
  trainable: readonly string[],
): { readonly graph: Graph; readonly outputs: Readonly<Record<string, Tensor>> } {
  const graph = createGraph();
  const { weights, losses } = buildDecoder(graph, architecture, batch);
  const derived = gradients(
    mean(losses),
    trainable.map((name) => weights.byName.get(name) as Tensor),
  );
  const outputs = Object.fromEntries(trainable.map((name, index) => [`gradient.${name}`, derived[index] as Tensor]));
  return { graph, outputs: { ...outputs, [lossesOutput]: losses } };
}

function prefixed(prefix: "m" | "v" | "gradient", values: Readonly<Record<string, Value>>): Record<string, Value> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [`${prefix}.${name}`, value]));
}

function pick<T>(record: Readonly<Record<string, T>>, names: readonly string[]): Record<string, T> {
  return Object.fromEntries(names.map((name) => [name, record[name] as T]));
}

/** The sum of an output's elements, which is then disposed of. */
function take(value: Value): number {
  const sum = value.float32().reduce((total, element) => total + element, 0);
  value.dispose();
  return sum;
}

function copies(values: Readonly<Record<string, Value>>): Map<string, Float32Array> {
  return new Map(Object.entries(values).map(([name, value]) => [name, value.float32().slice()]));
}

function checkState({ step, tensors }: TrainerState, values: Readonly<Record<string, Value>>): void {
  const wrong = Object.entries(values).find(([name, value]) => tensors.get(name)?.length !== elementCount(value.shape))?.[0];
  const extra = [...tensors.keys()].find((name) => values[name] === undefined);
  if (wrong === undefined && extra === undefined && Number.isSafeInteger(step) && step >= 0) return;
  throw stateMismatch(wrong ?? extra ?? `step ${step}`);
}

/** Errors: of a step whose loss or gradient is not finite. */
export function notFinite(step: number, { loss, gradientNorm }: StepResult): ConnitoError {
  return new ConnitoError(`step ${step} was not taken: loss ${loss}, gradient norm ${gradientNorm}`, {
    code: "loss-not-finite",
    exit: "invalidInput",
    hint: "Lower the learning rate, or check the model's weights; the step changed nothing.",
  });
}
