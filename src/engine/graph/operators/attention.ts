/**
 * Causal grouped-query attention (arXiv 2305.13245), on request within a sliding window, within chunks, or with attention sinks. Rows are tokens in the
 * order position first, then sequence: row = position * sequences + sequence. In that order the keys and values of one head of one
 * sequence lie at a fixed stride, and ONNX Runtime's FusedMatMul reads them where they are; only queries and results are transposed.
 *
 * A sink (arXiv 2309.17453, one learned logit a head as in gpt-oss) takes a part of the probability that goes nowhere. With L the logarithm of the sum
 * of a row's exponentials it multiplies the row's result by f = sigmoid(L - sink); scores and probabilities here are those without it.
 */
import { apply, applyOne, type Emitter, type Operator, type Tensor, type TensorType } from "../graph.ts";
import { mismatch, sameShape } from "../shape.ts";
import { type Block, blocksOf, type Heads, visibility } from "./attention-blocks.ts";

export type { Heads } from "./attention-blocks.ts";

const shapesOf = ({ sequences, positions, heads, keyValueHeads, headDimension: d, valueDimension: v = d }: Heads) => {
  const rows = sequences * positions;
  return {
    query: [rows, heads * d],
    key: [rows, keyValueHeads * d],
    value: [rows, keyValueHeads * v],
    result: [rows, heads * v],
    sinks: [heads],
  };
};

const scaleOf = ({ scale, headDimension }: Heads) => scale ?? headDimension ** -0.5;
const valueWidth = ({ headDimension, valueDimension }: Heads) => valueDimension ?? headDimension;

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
const transposed = (emit: Emitter, x: string, order: readonly number[]) =>
  emit.node("Transpose", [x], { attributes: { perm: { ints: order } } });

/** A block's rows [positions * sequences, heads * width] to `grouped`. */
function toHeads(emit: Emitter, x: string, block: Block, width: number, output?: string): string {
  return reshaped(emit, transposed(emit, reshaped(emit, x, block.rowsByHead(width)), [1, 2, 3, 0, 4]), block.grouped(width), output);
}

/** `grouped` to a block's rows. */
function toRows(emit: Emitter, x: string, block: Block, width: number): string {
  return reshaped(emit, transposed(emit, reshaped(emit, x, block.headsByRow(width)), [3, 0, 1, 2, 4]), block.rows(width));
}

function splitRows(emit: Emitter, x: string, blocks: readonly Block[]): string[] {
  if (blocks.length === 1) return [x];
  const lengths = emit.integers(blocks.map((block) => block.rows(1)[0]));
  return emit.nodes("Split", [x, lengths], Array<undefined>(blocks.length).fill(undefined), { attributes: { axis: { int: 0 } } });
}

function joinRows(emit: Emitter, parts: readonly string[], output: string): void {
  emit.node(parts.length === 1 ? "Identity" : "Concat", parts, { output, attributes: parts.length === 1 ? {} : { axis: { int: 0 } } });
}

/** The keys or values that a block reads, by head. */
function seen(emit: Emitter, x: string, block: Block, { sequences, positions }: Heads, width: number): string {
  const [first, last] = [block.firstKey * sequences, (block.firstKey + block.keys) * sequences];
  const whole = first === 0 && last === positions * sequences;
  const part = whole ? x : emit.node("Slice", [x, emit.integers([first]), emit.integers([last]), emit.integers([0])]);
  return reshaped(emit, part, block.keysByHead(width));
}

/** Outputs: the result; then for each block the queries by head, probabilities and results by head, and with sinks f, which the gradient uses again. */
const operator: Operator<Heads> = {
  name: "causalAttention",
  outputs: ([query, key, value, sinks], heads) => {
    const shapes = shapesOf(heads);
    const given: [TensorType | undefined, number[]][] = [
      [query, shapes.query],
      [key, shapes.key],
      [value, shapes.value],
      [sinks, shapes.sinks],
    ];
    for (const [tensor, shape] of given) {
      if (tensor !== undefined && !sameShape(tensor.shape, shape)) throw mismatch("causalAttention", tensor.shape, shape);
    }
    const kept = blocksOf(heads).flatMap(({ grouped, keys }) => [
      grouped(heads.headDimension),
      grouped(keys),
      grouped(valueWidth(heads)),
      ...(sinks === undefined ? [] : [grouped(1)]),
    ]);
    return [shapes.result, ...kept].map((shape) => ({ type: "float32", shape }));
  },
  lower: (emit, [query, key, value, sinks], [result, ...kept], { attributes: heads }) => {
    const { headDimension: d, heads: count, keyValueHeads, window, chunk } = heads;
    const blocks = blocksOf(heads);
    const parts = splitRows(emit, query as string, blocks).map((rows, index) => {
      const block = blocks[index] as Block;
      const [queries, probabilities, results, factors] = kept.slice(index * (sinks === undefined ? 3 : 4));
      const byHead = toHeads(emit, rows, block, d, queries);
      const products = product(emit, byHead, seen(emit, key as string, block, heads, d), {
        transposeB: true,
        rowsFirstB: true,
        scale: scaleOf(heads),
      });
      const mask = emit.table(`visibility ${block.start} ${block.positions} ${window} ${chunk}`, () => visibility(block, heads));
      const byRow = reshaped(emit, products, block.headsByRow(block.keys));
      const scores = reshaped(emit, emit.node("Add", [byRow, mask]), block.grouped(block.keys));
      const softmax = emit.node("Softmax", [scores], { attributes: { axis: { int: -1 } }, output: probabilities });
      const values = seen(emit, value as string, block, heads, valueWidth(heads));
      if (sinks === undefined) {
        return toRows(emit, product(emit, softmax, values, { rowsFirstB: true, output: results }), block, valueWidth(heads));
      }
      const logarithms = reshaped(emit, emit.node("ReduceLogSumExp", [scores, emit.integers([-1])]), block.headsByRow(1));
      const sink = reshaped(emit, sinks, [keyValueHeads, count / keyValueHeads, 1, 1]);
      const factor = reshaped(emit, emit.node("Sigmoid", [emit.node("Sub", [logarithms, sink])]), block.grouped(1), factors);
      const scaled = emit.node("Mul", [product(emit, softmax, values, { rowsFirstB: true }), factor], { output: results });
      return toRows(emit, scaled, block, valueWidth(heads));
    });
    if (result !== undefined) joinRows(emit, parts, result);
  },
  gradient: ({ inputs, outputs, attributes }, [dy]) => [
    ...apply(gradientOperator, [dy as Tensor, inputs[1] as Tensor, inputs[2] as Tensor, ...outputs.slice(1)], {
      ...attributes,
      sinks: inputs.length === 4,
    }),
  ],
};

/**
 * With P the probabilities and O = P V: dV = P^T dO, dP = dO V^T, dS = P (dP - sum(dP P)) where the row sum equals sum(dO O), which is
 * read from the smaller matrices (as in FlashAttention, arXiv 2205.14135), dQ = dS K and dK = dS^T Q, both scaled as the scores.
 * With sinks the result is f O, and with r = sum(dy f O): dO = f dy, dS = P (dP - f r), and a row adds -(1 - f) r to its sink's gradient.
 */
const gradientOperator: Operator<Heads & { readonly sinks: boolean }> = {
  name: "causalAttentionGradient",
  outputs: (_inputs, { sinks: withSinks, ...heads }) => {
    const { query, key, value, sinks } = shapesOf(heads);
    return [query, key, value, ...(withSinks ? [sinks] : [])].map((shape) => ({ type: "float32", shape }));
  },
  lower: (emit, [dy, key, value, ...kept], [dQuery, dKey, dValue, dSinks], { attributes: heads }) => {
    const blocks = blocksOf(heads);
    const [d, v, scale] = [heads.headDimension, valueWidth(heads), scaleOf(heads)];
    const parts: Record<"query" | "key" | "value" | "sinks", string[]> = { query: [], key: [], value: [], sinks: [] };
    for (const [index, rows] of splitRows(emit, dy as string, blocks).entries()) {
      const block = blocks[index] as Block;
      const [queries, probabilities, results, factor] = kept.slice(index * (heads.sinks ? 4 : 3)) as [string, string, string, string];
      const given = toHeads(emit, rows, block, v);
      const dResults = heads.sinks ? emit.node("Mul", [given, factor]) : given;
      if (dValue !== undefined) parts.value.push(product(emit, dResults, probabilities, { transposeA: true }));
      if (dQuery === undefined && dKey === undefined && dSinks === undefined) continue;
      const sums = emit.node("ReduceSum", [emit.node("Mul", [given, results]), emit.integers([-1])]);
      if (dSinks !== undefined) {
        const lost = emit.node("Mul", [sums, emit.node("Sub", [factor, emit.float(1)])]);
        const byHead = reshaped(emit, lost, block.headsByRow(1));
        parts.sinks.push(emit.node("ReduceSum", [byHead, emit.integers([0, 3, 4])], { attributes: { keepdims: { int: 0 } } }));
      }
      if (dQuery === undefined && dKey === undefined) continue;
      const dProbabilities = product(emit, dResults, seen(emit, value as string, block, heads, v), { transposeB: true, rowsFirstB: true });
      const rowSums = heads.sinks ? emit.node("Mul", [sums, factor]) : sums;
      const dScores = emit.node("Mul", [probabilities, emit.node("Sub", [dProbabilities, rowSums])]);
      const keys = () => seen(emit, key as string, block, heads, d);
      if (dQuery !== undefined) parts.query.push(toRows(emit, product(emit, dScores, keys(), { rowsFirstB: true, scale }), block, d));
      if (dKey !== undefined) parts.key.push(product(emit, queries, dScores, { transposeA: true, scale }));
    }
    if (dQuery !== undefined) joinRows(emit, parts.query, dQuery);
    if (dKey !== undefined) addUp(emit, parts.key, heads, shapesOf(heads).key, dKey);
    if (dValue !== undefined) addUp(emit, parts.value, heads, shapesOf(heads).value, dValue);
    if (dSinks !== undefined) reshaped(emit, total(emit, parts.sinks), shapesOf(heads).sinks, dSinks);
  },
};

const total = (emit: Emitter, parts: readonly string[]) => (parts.length === 1 ? (parts[0] as string) : emit.node("Sum", parts));

/** The blocks' gradients of the keys that each read [b, k, width, keys], as rows of all keys. */
function addUp(emit: Emitter, parts: readonly string[], heads: Heads, shape: readonly number[], output: string): void {
  const blocks = blocksOf(heads);
  const whole = parts.map((part, index) => {
    const { firstKey, keys } = blocks[index] as Block;
    const after = heads.positions - firstKey - keys;
    if (firstKey === 0 && after === 0) return part;
    return emit.node("Pad", [part, emit.integers([0, 0, 0, firstKey, 0, 0, 0, after])]);
  });
  reshaped(emit, transposed(emit, total(emit, whole), [3, 0, 1, 2]), shape, output);
}

/**
 * query [rows, heads * headDimension], key [rows, keyValueHeads * headDimension], value [rows, keyValueHeads * valueDimension], sinks [heads] where there
 * are any; the result is [rows, heads * valueDimension].
 */
export function causalAttention(query: Tensor, key: Tensor, value: Tensor, heads: Heads, sinks?: Tensor): Tensor {
  return applyOne(operator, sinks === undefined ? [query, key, value] : [query, key, value, sinks], heads);
}
