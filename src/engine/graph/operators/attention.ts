/**
 * Causal grouped-query attention (arXiv 2305.13245). Rows are tokens in the order position first, then sequence: row = position * sequences + sequence.
 * In that order the keys and values of one head of one sequence lie at a fixed stride, and ONNX Runtime's FusedMatMul reads
 * them where they are; only queries and results are transposed.
 */
import type { OnnxTensor } from "../../onnx/model.ts";
import { apply, applyOne, type Emitter, type Operator, type Tensor, type TensorType } from "../graph.ts";
import { mismatch, sameShape } from "../shape.ts";

export interface Heads {
  readonly sequences: number;
  readonly positions: number;
  readonly heads: number;
  /** Divides `heads`: so many neighbouring heads share keys and values. */
  readonly keyValueHeads: number;
  readonly headDimension: number;
}

/** Far below any score, and finite: its exponential is 0. */
const hidden = -1e30;

/** Shapes by name. b: sequences, s: positions, k: key-value heads, g: heads that share one, d: head dimension. */
function shapesOf({ sequences: b, positions: s, heads, keyValueHeads: k, headDimension: d }: Heads) {
  const g = heads / k;
  return {
    rows: [s * b, heads * d],
    keyRows: [s * b, k * d],
    rowsByHead: [s, b, k, g, d],
    headsByRow: [b, k, g, s, d],
    /** The heads that share keys, one below the other: one product serves them all. */
    grouped: [b, k, g * s, d],
    keys: [s, b, k, d],
    scores: [b, k, g * s, s],
    scoresByHead: [b, k, g, s, s],
  };
}

interface ProductOptions {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  /** The second matrix has its rows before the batch's axes. */
  readonly rowsFirstB?: boolean;
  readonly scale?: number;
  readonly output?: string | undefined;
}

/** A product for each sequence and key-value head. */
function product(emit: Emitter, a: string, b: string, options: ProductOptions): string {
  return emit.node("FusedMatMul", [a, b], {
    domain: "com.microsoft",
    output: options.output,
    attributes: {
      transA: { int: options.transposeA ? 1 : 0 },
      transB: { int: options.transposeB ? 1 : 0 },
      transBatchB: { int: options.rowsFirstB ? 1 : 0 },
      alpha: { float: options.scale ?? 1 },
    },
  });
}

const reshaped = (emit: Emitter, x: string, shape: readonly number[], output?: string) =>
  emit.node("Reshape", [x, emit.integers(shape)], { output });
const transposed = (emit: Emitter, x: string, order: readonly number[], output?: string) =>
  emit.node("Transpose", [x], { attributes: { perm: { ints: order } }, output });

/** [rows, heads * d] to `grouped`. */
function toHeads(emit: Emitter, x: string, shapes: ReturnType<typeof shapesOf>, output?: string): string {
  return reshaped(emit, transposed(emit, reshaped(emit, x, shapes.rowsByHead), [1, 2, 3, 0, 4]), shapes.grouped, output);
}

/** `grouped` to [rows, heads * d]. */
function toRows(emit: Emitter, x: string, shapes: ReturnType<typeof shapesOf>, output?: string): string {
  return reshaped(emit, transposed(emit, reshaped(emit, x, shapes.headsByRow), [3, 0, 1, 2, 4]), shapes.rows, output);
}

/** Outputs: the result; then queries by head, probabilities and result by head, which the gradient uses again. */
const operator: Operator<Heads> = {
  name: "causalAttention",
  outputs: ([query, key, value], heads) => {
    const { rows, keyRows, grouped, scores } = shapesOf(heads);
    for (const [tensor, shape] of [
      [query, rows],
      [key, keyRows],
      [value, keyRows],
    ] as [TensorType, number[]][]) {
      if (!sameShape(tensor.shape, shape)) throw mismatch("causalAttention", tensor.shape, shape);
    }
    return [rows, grouped, scores, grouped].map((shape) => ({ type: "float32", shape }));
  },
  lower: (emit, [query, key, value], [result, queries, probabilities, results], { attributes: heads }) => {
    const shapes = shapesOf(heads);
    const byHead = toHeads(emit, query as string, shapes, queries);
    const keys = reshaped(emit, key as string, shapes.keys);
    const values = reshaped(emit, value as string, shapes.keys);
    const scores = product(emit, byHead, keys, { transposeB: true, rowsFirstB: true, scale: heads.headDimension ** -0.5 });
    const mask = emit.table(`causal mask ${heads.positions}`, () => causalMask(heads.positions));
    const masked = reshaped(emit, emit.node("Add", [reshaped(emit, scores, shapes.scoresByHead), mask]), shapes.scores);
    const softmax = emit.node("Softmax", [masked], { attributes: { axis: { int: -1 } }, output: probabilities });
    toRows(emit, product(emit, softmax, values, { rowsFirstB: true, output: results }), shapes, result);
  },
  gradient: ({ inputs, outputs, attributes }, [dy]) => [
    ...apply(gradientOperator, [dy as Tensor, inputs[1] as Tensor, inputs[2] as Tensor, ...outputs.slice(1)], attributes),
  ],
};

/**
 * With P the probabilities and O = P V: dV = P^T dO, dP = dO V^T, dS = P (dP - sum(dP P)) where the row sum equals sum(dO O), which is
 * read from the smaller matrices (as in FlashAttention, arXiv 2205.14135), dQ = dS K and dK = dS^T Q, both scaled as the scores.
 */
const gradientOperator: Operator<Heads> = {
  name: "causalAttentionGradient",
  outputs: (_inputs, heads) => {
    const { rows, keyRows } = shapesOf(heads);
    return [rows, keyRows, keyRows].map((shape) => ({ type: "float32", shape }));
  },
  lower: (emit, names, [dQuery, dKey, dValue], { attributes: heads }) => {
    const [dy, key, value, queries, probabilities, results] = names as [string, string, string, string, string, string];
    const shapes = shapesOf(heads);
    const scale = heads.headDimension ** -0.5;
    const dResults = toHeads(emit, dy, shapes);
    const toKeyRows = (x: string, output: string) => reshaped(emit, transposed(emit, x, [2, 0, 1, 3]), shapes.keyRows, output);
    if (dQuery !== undefined || dKey !== undefined) {
      const dProbabilities = product(emit, dResults, reshaped(emit, value, shapes.keys), { transposeB: true, rowsFirstB: true });
      const sums = emit.node("ReduceSum", [emit.node("Mul", [dResults, results]), emit.integers([-1])]);
      const dScores = emit.node("Mul", [probabilities, emit.node("Sub", [dProbabilities, sums])]);
      if (dQuery !== undefined)
        toRows(emit, product(emit, dScores, reshaped(emit, key, shapes.keys), { rowsFirstB: true, scale }), shapes, dQuery);
      if (dKey !== undefined) toKeyRows(product(emit, dScores, queries, { transposeA: true, scale }), dKey);
    }
    if (dValue !== undefined) toKeyRows(product(emit, probabilities, dResults, { transposeA: true }), dValue);
  },
};

/** Added to the scores: 0 for keys up to the query's own position, `hidden` for later ones. */
function causalMask(positions: number): OnnxTensor {
  const data = new Float32Array(positions * positions);
  for (let query = 0; query < positions; query++) data.fill(hidden, query * positions + query + 1, (query + 1) * positions);
  return { type: "float32", shape: [positions, positions], data };
}

/** query [rows, heads * headDimension], key and value [rows, keyValueHeads * headDimension]; the result has the query's shape. */
export function causalAttention(query: Tensor, key: Tensor, value: Tensor, heads: Heads): Tensor {
  return applyOne(operator, [query, key, value], heads);
}
