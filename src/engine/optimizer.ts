/**
 * AdamW (arXiv 1711.05101) as torch.optim.AdamW computes it, as graphs of elementwise operators over chunks (flat-tensors.ts): decoupled weight
 * decay, bias correction, and the clip of the global norm as one factor on every gradient. Every update reads an old value
 * before it writes the new one, so weights and moments can be updated where they lie.
 */
import { createGraph, input, scalar, type Tensor } from "./graph/graph.ts";
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
  /** What the gradient is multiplied by on its way into m, and before it is squared on its way into v. */
  readonly factorM: number;
  readonly factorV: number;
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
  const factor = clipFactor(options, { norm, scale });
  return {
    factorM: factor * (1 - options.beta1),
    factorV: factor * Math.sqrt(1 - options.beta2),
    stepSize: (options.learningRate * root) / (1 - options.beta1 ** step),
    stepEpsilon: options.epsilon * root,
    decay: 1 - options.learningRate * options.weightDecay,
  };
}

/** What a gradient is multiplied by so that it is of the wanted scale, and no longer than the clip. */
export function clipFactor({ clipNorm }: Pick<AdamWOptions, "clipNorm">, { norm, scale }: { norm: number; scale: number }): number {
  return scale * Math.min(1, clipNorm / (norm + 1e-6));
}

/** One step: from gradient, weight, m and v of every chunk, and the scalars, the new weight, m and v. */
export function updateModel(chunks: readonly number[], options: AdamWOptions): OnnxModel {
  const graph = createGraph();
  const [factorM, factorV, stepSize, stepEpsilon, decay] = ["factorM", "factorV", "stepSize", "stepEpsilon", "decay"].map((name) =>
    input(graph, name, "float32", []),
  ) as [Tensor, Tensor, Tensor, Tensor, Tensor];
  const outputs: Record<string, Tensor> = {};
  for (const [index, length] of chunks.entries()) {
    const chunk = (quantity: Quantity) => input(graph, chunkName(quantity, index), "float32", [length]);
    const gradient = chunk("gradient");
    const m = add(multiply(chunk("m"), scalar(graph, options.beta1)), multiply(gradient, factorM));
    const scaled = multiply(gradient, factorV);
    const v = add(multiply(chunk("v"), scalar(graph, options.beta2)), multiply(scaled, scaled));
    const change = multiply(divide(m, add(squareRoot(v), stepEpsilon)), stepSize);
    outputs[updatedName("m", index)] = m;
    outputs[updatedName("v", index)] = v;
    outputs[updatedName("weight", index)] = subtract(multiply(chunk("weight"), decay), change);
  }
  return lowerGraph(graph, outputs);
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
