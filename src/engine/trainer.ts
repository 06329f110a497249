/**
 * Training of chosen weights of a decoder. Forward pass, backward pass and optimizer are graphs; weights, moments and gradients
 * lie in the same memory from step to step and are updated in place. A step whose loss or gradient is not finite changes nothing.
 */
import type { Architecture } from "../model/families/index.ts";
import { type BatchShape, layOut } from "./decoder/batch.ts";
import { buildDecoder, targetsInput, tokensInput } from "./decoder/decoder.ts";
import { besides, elementCount, type FlatTensors, flatLayout, flatTensors } from "./flat-tensors.ts";
import { type GradientSums, openGradientSums, sumAndDispose } from "./gradient-sums.ts";
import { gradients } from "./graph/gradient.ts";
import { createGraph, type Graph, type Tensor } from "./graph/graph.ts";
import { lowerGraph } from "./graph/lower.ts";
import { mean } from "./graph/operators/reduce.ts";
import { encodeModel } from "./onnx/writer.ts";
import { shareSequences } from "./parts.ts";
import { keepToPlaces } from "./places.ts";
import { openSession, type Session } from "./runtime/session.ts";
import { float32Value, int64Value, type Value } from "./runtime/value.ts";
import { checkState, createTurns, stepResult, type Trainer, type TrainingOptions } from "./training.ts";
import { openUpdate, shareOut, type Update } from "./update.ts";
import { checkWeights } from "./weights.ts";

export type { OptimizerOptions } from "./update.ts";

export interface TrainerOptions extends TrainingOptions {
  /** Every tensor of the architecture by name, row-major. Those that are not trained are not copied, and must stay as they are. */
  readonly weights: ReadonlyMap<string, Float32Array>;
  /**
   * True (the default) has ONNX Runtime keep a copy of each frozen matrix for every product that reads it, arranged as the product wants it, where false
   * has each product arrange it anew: slower, and half or a third of the memory that frozen matrices take.
   */
  readonly packed?: boolean;
}

const lossesOutput = "losses";
/** Long enough to meet the next operator of the same step, and short beside a step. */
const spin = 100;

/** Errors: unknown-family, config-not-computable, weights-mismatch, nothing-trainable, and those of the runtime. */
export async function openTrainer(options: TrainerOptions): Promise<Trainer> {
  const { architecture, trainable, optimizer, places } = options;
  const shapes = checkWeights(architecture, options.weights, trainable);
  const { parts, sessionThreads } = shareSequences(options.batchSequences, options.threads);
  const batch: BatchShape = { sequences: options.batchSequences / parts, positions: options.sequenceLength };

  const shared = shareOut(new Map(trainable.map((name) => [name, shapes.get(name) as readonly number[]])), optimizer);
  const elementwise = flatLayout(shared.elementwise);
  const layout = besides(elementwise, flatLayout(shared.matrices));
  const [trained, m, v, gradient] = [flatTensors(layout), flatTensors(layout), flatTensors(elementwise), flatTensors(layout)];
  for (const [name, value] of Object.entries(trained.tensors)) value.float32().set(options.weights.get(name) as Float32Array);
  const weights: Record<string, Value> = { ...trained.tensors };
  for (const [name, shape] of shapes) weights[name] ??= float32Value(shape, options.weights.get(name) as Float32Array);
  const state: Record<string, Value> = { ...trained.tensors, ...prefixed("m", m.tensors), ...prefixed("v", v.tensors) };
  const stateSizes = new Map(Object.entries(state).map(([name, { shape }]) => [name, elementCount(shape)]));

  const opened: { dispose(): void }[] = [];
  const dispose = () => {
    for (const one of opened) one.dispose();
  };
  const keep = <T extends { dispose(): void }>(one: T): T => {
    opened.push(one);
    return one;
  };
  const sessionOptions = { pattern: false, spin, ...(options.threads === undefined ? {} : { threads: options.threads }) };
  let backward: Session;
  let sums: GradientSums;
  let update: Update;
  try {
    const { graph, outputs } = gradientGraph(architecture, batch, trainable);
    const frozen = options.packed === false ? new Set<string>() : ownFrozen(options.weights, trainable);
    const model = lowerGraph(graph, outputs, frozen);
    const constants = pick(
      weights,
      model.externals.map(({ name }) => name),
    );
    backward = keep(await openSession(encodeModel(model), { ...sessionOptions, threads: sessionThreads, constants }));
    sums = keep(await openGradientSums(layout.chunks, sessionOptions));
    update = keep(await openUpdate(optimizer, { chunks: elementwise.chunks, matrices: shared.matrices.values() }, sessionOptions));
  } catch (cause) {
    dispose();
    throw cause;
  }
  /** Gradients beside the sum: of the parts that are computed at the same time as the first, and of later micro-batches. */
  const further: FlatTensors[] = [];
  let steps = 0;
  const turns = createTurns();

  /** Computes the gradient of a part into `target`, and gives the sum of the tokens' losses. */
  const differentiate = async (sequences: readonly Int32Array[], target: FlatTensors): Promise<number> => {
    const { tokens, targets } = layOut(sequences, batch, architecture.vocabularySize);
    const rows = [tokens.length];
    const feeds = pick({ ...weights, [tokensInput]: int64Value(rows, tokens), [targetsInput]: int64Value(rows, targets) }, backward.inputs);
    const { [lossesOutput]: losses } = await backward.run(feeds, backward.outputs, { into: prefixed("gradient", target.tensors) });
    return sumAndDispose(losses as Value);
  };

  const step: Trainer["step"] = async (microBatches, { learningRate = optimizer.learningRate } = {}) => {
    if (microBatches.length === 0) throw new Error("a step needs at least one micro-batch");
    let losses = 0;
    for (const [micro, sequences] of microBatches.entries()) {
      const own = Array.from({ length: parts }, (_, part) => {
        const place = part - (micro === 0 ? 1 : 0);
        if (place < 0) return gradient;
        further[place] ??= flatTensors(layout);
        return further[place];
      });
      const share = (part: number) =>
        sequences.slice(part * batch.sequences, part === parts - 1 ? undefined : (part + 1) * batch.sequences);
      const computed = await Promise.allSettled(own.map((target, part) => differentiate(share(part), target)));
      for (const [part, result] of computed.entries()) {
        if (result.status === "rejected") throw result.reason;
        losses += result.value;
        const target = own[part] as FlatTensors;
        if (target !== gradient) await sums.add(gradient.chunks, target.chunks);
      }
    }
    const count = microBatches.length * parts;
    const tokens = count * batch.sequences * batch.positions;
    const result = stepResult(steps + 1, { losses, squares: await sums.squares(gradient.chunks), count, tokens });
    const at = { step: steps + 1, norm: result.gradientNorm, scale: 1 / count, learningRate };
    await turns.update(() => update.apply(at, { weight: trained, gradient, m, v }));
    for (const [name, indices] of places ?? [])
      keepToPlaces((trained.tensors[name] as Value).float32(), options.weights.get(name) as Float32Array, indices);
    steps += 1;
    return result;
  };

  return {
    step: (...parameters) => turns.call(() => step(...parameters)),
    state: () => turns.call(async () => ({ step: steps, tensors: copies(state) })),
    weights: () => turns.call(async () => copies(trained.tensors)),
    restore: (saved) =>
      turns.call(async () => {
        checkState(saved.step, new Map([...saved.tensors].map(([name, { length }]) => [name, length])), stateSizes);
        for (const [name, data] of saved.tensors) state[name]?.float32().set(data);
        steps = saved.step;
      }),
    dispose: () => turns.close(dispose),
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

/** Frozen tensors that have an array of their own: copies of zeros that stand in for many tensors would be copies of nothing. */
function ownFrozen(weights: ReadonlyMap<string, Float32Array>, trainable: readonly string[]): Set<string> {
  const [trained, seen, shared] = [new Set(trainable), new Set<Float32Array>(), new Set<Float32Array>()];
  for (const data of weights.values()) (seen.has(data) ? shared : seen).add(data);
  return new Set([...weights].flatMap(([name, data]) => (trained.has(name) || shared.has(data) ? [] : [name])));
}

function prefixed(prefix: "m" | "v" | "gradient", values: Readonly<Record<string, Value>>): Record<string, Value> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [`${prefix}.${name}`, value]));
}

function pick<T>(record: Readonly<Record<string, T>>, names: readonly string[]): Record<string, T> {
  return Object.fromEntries(names.map((name) => [name, record[name] as T]));
}

function copies(values: Readonly<Record<string, Value>>): Map<string, Float32Array> {
  return new Map(Object.entries(values).map(([name, value]) => [name, value.float32().slice()]));
}
