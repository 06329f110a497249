/**
 * AdamW (arXiv 1711.05101) as torch.optim.AdamW computes it, as graphs of elementwise operators over chunks (flat-tensors.ts): decoupled weight
 * decay, bias correction, and the clip of the global norm as one factor on every gradient. Every update reads an old value
 * before it writes the new one, so weights and moments can be updated where they lie.
 */
import { createGraph, type Graph, input, scalar, type Tensor } from "./graph/graph.ts";
import { lowerGraph } from "./graph/lower.ts";
import { add, divide, multiply, squareRoot, subtract } from "./graph/operators/elementwise.ts";
import { stack, sumOfSquares } from "./graph/operators/reduce.ts";
import type { OnnxModel } from "./onnx/model.ts";

export interface AdamWOptions {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Share of a weight that a step takes away, in units of the learning rate. */
  readonly weightDecay: number;
  /** The largest global norm of the gradient; a longer one is scaled down to it. */
  readonly clipNorm: number;
}

/** The numbers of one step, fed as scalars under these names. */
export interface StepScalars {
  /** The factor that clips the gradient, and divides a sum over micro-batches by their number. */
  readonly gradientFactor: number;
  readonly stepSize: number;
  readonly stepEpsilon: number;
  readonly decay: number;
}

/** What the optimizer's models read and write, chunk by chunk; `added` is a gradient that is to be added to another. */
export type Quantity = "gradient" | "added" | "weight" | "m" | "v";

/** The names of a chunk as an input, and of its new value as an output. */
export const chunkName = (quantity: Quantity, chunk: number) => `${quantity}.${chunk}`;
export const updatedName = (quantity: Quantity, chunk: number) => `updated.${quantity}.${chunk}`;
/** The output of `normModel`: a sum of squares for each chunk. */
export const squaresOutput = "squares";

/**
 * The scalars of step `step` (from 1) for a gradient that has the global norm `norm` after it was multiplied by `scale`.
 * The moments' corrections c_i = 1 - beta_i^step are folded in: lr / c1 * m / (sqrt(v / c2) + epsilon) = stepSize * m / (sqrt(v) + stepEpsilon).
 */
export function stepScalars(options: AdamWOptions, { step, norm, scale }: { step: number; norm: number; scale: number }): StepScalars {
  const root = Math.sqrt(1 - options.beta2 ** step);
  return {
    gradientFactor: scale * Math.min(1, options.clipNorm / (norm + 1e-6)),
    stepSize: (options.learningRate * root) / (1 - options.beta1 ** step),
    stepEpsilon: options.epsilon * root,
    decay: 1 - options.learningRate * options.weightDecay,
  };
}

/** One step: from gradient, weight, m and v of every chunk, and the scalars, the new weight, m and v. */
export function updateModel(chunks: readonly number[], options: AdamWOptions): OnnxModel {
  const graph = createGraph();
  const [factor, stepSize, stepEpsilon, decay] = ["gradientFactor", "stepSize", "stepEpsilon", "decay"].map((name) =>
    input(graph, name, "float32", []),
  ) as [Tensor, Tensor, Tensor, Tensor];
  const outputs: Record<string, Tensor> = {};
  for (const [index, length] of chunks.entries()) {
    const chunk = (quantity: Quantity) => input(graph, chunkName(quantity, index), "float32", [length]);
    const gradient = multiply(chunk("gradient"), factor);
    const m = average(graph, chunk("m"), options.beta1, gradient);
    const v = average(graph, chunk("v"), options.beta2, multiply(gradient, gradient));
    const change = multiply(divide(m, add(squareRoot(v), stepEpsilon)), stepSize);
    outputs[updatedName("m", index)] = m;
    outputs[updatedName("v", index)] = v;
    outputs[updatedName("weight", index)] = subtract(multiply(chunk("weight"), decay), change);
  }
  return lowerGraph(graph, outputs);
}

/** beta * average + (1 - beta) * value. */
function average(graph: Graph, previous: Tensor, beta: number, value: Tensor): Tensor {
  return add(multiply(previous, scalar(graph, beta)), multiply(value, scalar(graph, 1 - beta)));
}

/** The sum of squares of each chunk of the gradient. */
export function normModel(chunks: readonly number[]): OnnxModel {
  const graph = createGraph();
  const squares = chunks.map((length, index) => sumOfSquares(input(graph, chunkName("gradient", index), "float32", [length])));
  return lowerGraph(graph, { [squaresOutput]: stack(squares) });
}

/** gradient + added, chunk by chunk. */
export function additionModel(chunks: readonly number[]): OnnxModel {
  const graph = createGraph();
  const outputs: Record<string, Tensor> = {};
  for (const [index, length] of chunks.entries()) {
    const chunk = (quantity: Quantity) => input(graph, chunkName(quantity, index), "float32", [length]);
    outputs[updatedName("gradient", index)] = add(chunk("gradient"), chunk("added"));
  }
  return lowerGraph(graph, outputs);
}
