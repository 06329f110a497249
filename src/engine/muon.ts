/**
 * Muon (Keller Jordan, https://kellerjordan.github.io/posts/muon/) as torch.optim.Muon computes it, but in fp32: the momentum of a matrix's gradient, brought near to the
 * closest matrix with orthonormal rows or columns by a few Newton-Schulz iterations, is the step. Its length is that of an AdamW step, as in
 * arXiv 2502.16982, so that one learning rate and weight decay serve both. One graph for each shape updates one matrix where it lies.
 */
import { peakBytes } from "./graph/footprint.ts";
import { createGraph, type Graph, input, scalar, type Tensor } from "./graph/graph.ts";
import { lowerGraph } from "./graph/lower.ts";
import { add, clamp, divide, multiply, squareRoot, subtract } from "./graph/operators/elementwise.ts";
import { matrixProduct } from "./graph/operators/matrix.ts";
import { sumOfSquares } from "./graph/operators/reduce.ts";
import { scaledProduct } from "./graph/operators/scaled-product.ts";
import type { OnnxModel } from "./onnx/model.ts";

export interface MuonOptions {
  /** Decay of the gradient's running mean. */
  readonly momentum: number;
  /** True looks one step ahead: the mean of the momentum and the gradient itself, weighted as the next step will. */
  readonly nesterov: boolean;
  /** Newton-Schulz iterations. */
  readonly iterations: number;
  /** a, b, c of an iteration: x becomes a x + b (x x') x + c (x x')^2 x. */
  readonly coefficients: readonly [number, number, number];
  /** Root mean square of an orthogonal step's values, in units of the learning rate. */
  readonly updateSize: number;
}

/** The numbers of one step, fed as scalars under these names. */
export interface MuonScalars {
  /** What the gradient is multiplied by on its way into the momentum. */
  readonly factor: number;
  readonly stepSize: number;
  readonly decay: number;
}

/** Names of what the model reads, and writes under the same name after `updated.`. */
export type MuonQuantity = "gradient" | "weight" | "m";

/** Keeps the division by the norm finite, as in torch. */
const leastNorm = 1e-7;
const largestFloat = 3.4028234e38;

/** One step of a matrix: from gradient, weight, m and the scalars, the new weight and m. */
export function muonModel(shape: readonly [number, number], options: MuonOptions): OnnxModel {
  const { graph, outputs } = muonGraph(shape, options);
  return lowerGraph(graph, outputs);
}

/** Bytes that such a step computes on the way. */
export function muonBytes(shape: readonly [number, number], options: MuonOptions): number {
  const { graph, outputs } = muonGraph(shape, options);
  return peakBytes(graph.nodes, Object.values(outputs), () => 0);
}

function muonGraph(shape: readonly [number, number], options: MuonOptions): { graph: Graph; outputs: Record<string, Tensor> } {
  const graph = createGraph();
  const [factor, stepSize, decay] = ["factor", "stepSize", "decay"].map((name) => input(graph, name, "float32", [])) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  const [gradient, weight, before] = ["gradient", "weight", "m"].map((name) => input(graph, name, "float32", shape)) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  const scaled = multiply(gradient, factor);
  const m = add(multiply(before, scalar(graph, options.momentum)), scaled);
  const direction = options.nesterov ? add(multiply(m, scalar(graph, options.momentum)), scaled) : m;
  const change = multiply(orthogonalized(direction, shape, options), stepSize);
  return { graph, outputs: { "updated.m": m, "updated.weight": subtract(multiply(weight, decay), change) } };
}

/** x with singular values near 1: scaled to a Frobenius norm of 1 and iterated, on the shorter side. */
function orthogonalized(x: Tensor, [rows, columns]: readonly [number, number], { iterations, coefficients }: MuonOptions): Tensor {
  const [a, b, c] = coefficients;
  const wide = rows <= columns;
  let result = divide(x, clamp(squareRoot(sumOfSquares(x)), leastNorm, largestFloat));
  for (let iteration = 0; iteration < iterations; iteration++) {
    const gram = matrixProduct(result, result, wide ? { transposeB: true } : { transposeA: true });
    const polynomial = scaledProduct(gram, gram, gram, { alpha: c, beta: b });
    result = wide
      ? scaledProduct(polynomial, result, result, { alpha: 1, beta: a })
      : scaledProduct(result, polynomial, result, { alpha: 1, beta: a });
  }
  return result;
}
