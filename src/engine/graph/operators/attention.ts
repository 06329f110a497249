/**
 * Causal grouped-query attention (arXiv 2305.13245). Rows are tokens in the order position first, then sequence: row = position * sequences + sequence.
 * In that order the keys and values of one head of one sequence lie at a fixed stride, and ONNX Runtime's FusedMatMul reads
 * them where they are; only queries and results are transposed.
 *
 * Queries are taken in blocks, and a block sees only the keys up to its own end: with n blocks a share of (n - 1) / 2n of the products and
 * exponentials, which a mask would only throw away, is never computed.
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
/** Positions in a block at least, and blocks at most: smaller products would be less efficient, and more of them too many operators. */
const blockPositions = 64;
const mostBlocks = 8;

/** Shapes by name, of one block of queries. b: sequences, s: positions, k: key-value heads, g: heads that share one, d: head dimension. */
interface Block {
  /** Positions of the block, and keys that it sees: all up to its end. */
  readonly positions: number;
  readonly keys: number;
  readonly rows: readonly [number, number];
  readonly rowsByHead: readonly number[];
  readonly headsByRow: readonly number[];
  /** The heads that share keys, one below the other: one product serves them all. */
  readonly grouped: readonly number[];
  readonly keysByHead: readonly number[];
  readonly scores: readonly number[];
  readonly scoresByHead: readonly number[];
}

function blocksOf({ sequences: b, positions: all, heads, keyValueHeads: k, headDimension: d }: Heads): Block[] {
  const g = heads / k;
  const count = Math.min(mostBlocks, Math.max(1, Math.floor(all / blockPositions)));
  const ends = Array.from({ length: count }, (_, index) => Math.floor(((index + 1) * all) / count));
  return ends.map((keys, index) => {
    const s = keys - (ends[index - 1] ?? 0);
    return {
      positions: s,
      keys,
      rows: [s * b, heads * d],
      rowsByHead: [s, b, k, g, d],
      headsByRow: [b, k, g, s, d],
      grouped: [b, k, g * s, d],
      keysByHead: [keys, b, k, d],
      scores: [b, k, g * s, keys],
      scoresByHead: [b, k, g, s, keys],
    };
  });
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

/** A block's rows [positions * sequences, heads * d] to `grouped`. */
function toHeads(emit: Emitter, x: string, block: Block, output?: string): string {
  return reshaped(emit, transposed(emit, reshaped(emit, x, block.rowsByHead), [1, 2, 3, 0, 4]), block.grouped, output);
}

/** `grouped` to a block's rows. */
function toRows(emit: Emitter, x: string, block: Block): string {
  return reshaped(emit, transposed(emit, reshaped(emit, x, block.headsByRow), [3, 0, 1, 2, 4]), block.rows);
}

function splitRows(emit: Emitter, x: string, blocks: readonly Block[]): string[] {
  if (blocks.length === 1) return [x];
  const lengths = emit.integers(blocks.map(({ rows }) => rows[0]));
  return emit.nodes("Split", [x, lengths], Array<undefined>(blocks.length).fill(undefined), { attributes: { axis: { int: 0 } } });
}

function joinRows(emit: Emitter, parts: readonly string[], output: string): void {
  emit.node(parts.length === 1 ? "Identity" : "Concat", parts, { output, attributes: parts.length === 1 ? {} : { axis: { int: 0 } } });
}

/** The keys or values that a block sees, by head. */
function prefix(emit: Emitter, x: string, { keysByHead }: Block, { sequences, positions }: Heads): string {
  const rows = (keysByHead[0] as number) * sequences;
  const part = rows === positions * sequences ? x : emit.node("Slice", [x, emit.integers([0]), emit.integers([rows]), emit.integers([0])]);
  return reshaped(emit, part, keysByHead);
}

const headShapes = ({ sequences, positions, heads, keyValueHeads, headDimension }: Heads) => ({
  rows: [sequences * positions, heads * headDimension],
  keyRows: [sequences * positions, keyValueHeads * headDimension],
});

/** Outputs: the result; then for each block the queries by head, probabilities and results by head, which the gradient uses again. */
const operator: Operator<Heads> = {
  name: "causalAttention",
  outputs: ([query, key, value], heads) => {
    const { rows, keyRows } = headShapes(heads);
    const expected: [TensorType, number[]][] = [
      [query as TensorType, rows],
      [key as TensorType, keyRows],
      [value as TensorType, keyRows],
    ];
    for (const [tensor, shape] of expected) if (!sameShape(tensor.shape, shape)) throw mismatch("causalAttention", tensor.shape, shape);
    const kept = blocksOf(heads).flatMap(({ grouped, scores }) => [grouped, scores, grouped]);
    return [rows, ...kept].map((shape) => ({ type: "float32", shape }));
  },
  lower: (emit, [query, key, value], [result, ...kept], { attributes: heads }) => {
    const blocks = blocksOf(heads);
    const parts = splitRows(emit, query as string, blocks).map((rows, index) => {
      const block = blocks[index] as Block;
      const [queries, probabilities, results] = kept.slice(3 * index);
      const byHead = toHeads(emit, rows, block, queries);
      const scale = heads.headDimension ** -0.5;
      const scores = product(emit, byHead, prefix(emit, key as string, block, heads), { transposeB: true, rowsFirstB: true, scale });
      const mask = emit.table(`causal mask ${block.positions} ${block.keys}`, () => causalMask(block));
      const masked = reshaped(emit, emit.node("Add", [reshaped(emit, scores, block.scoresByHead), mask]), block.scores);
      const softmax = emit.node("Softmax", [masked], { attributes: { axis: { int: -1 } }, output: probabilities });
      const attended = product(emit, softmax, prefix(emit, value as string, block, heads), { rowsFirstB: true, output: results });
      return toRows(emit, attended, block);
    });
    if (result !== undefined) joinRows(emit, parts, result);
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
    const { rows, keyRows } = headShapes(heads);
    return [rows, keyRows, keyRows].map((shape) => ({ type: "float32", shape }));
  },
  lower: (emit, [dy, key, value, ...kept], [dQuery, dKey, dValue], { attributes: heads }) => {
    const blocks = blocksOf(heads);
    const scale = heads.headDimension ** -0.5;
    const parts: { query: string[]; key: string[]; value: string[] } = { query: [], key: [], value: [] };
    for (const [index, rows] of splitRows(emit, dy as string, blocks).entries()) {
      const block = blocks[index] as Block;
      const [queries, probabilities, results] = kept.slice(3 * index) as [string, string, string];
      const dResults = toHeads(emit, rows, block);
      if (dValue !== undefined) parts.value.push(product(emit, dResults, probabilities, { transposeA: true }));
      if (dQuery === undefined && dKey === undefined) continue;
      const dProbabilities = product(emit, dResults, prefix(emit, value as string, block, heads), { transposeB: true, rowsFirstB: true });
      const sums = emit.node("ReduceSum", [emit.node("Mul", [dResults, results]), emit.integers([-1])]);
      const dScores = emit.node("Mul", [probabilities, emit.node("Sub", [dProbabilities, sums])]);
      const keys = () => prefix(emit, key as string, block, heads);
      if (dQuery !== undefined) parts.query.push(toRows(emit, product(emit, dScores, keys(), { rowsFirstB: true, scale }), block));
      if (dKey !== undefined) parts.key.push(product(emit, queries, dScores, { transposeA: true, scale }));
    }
    if (dQuery !== undefined) joinRows(emit, parts.query, dQuery);
    if (dKey !== undefined) addUp(emit, parts.key, heads, dKey);
    if (dValue !== undefined) addUp(emit, parts.value, heads, dValue);
  },
};

/** The blocks' gradients of the keys that each sees [b, k, d, keys], as rows of all keys. */
function addUp(emit: Emitter, parts: readonly string[], heads: Heads, output: string): void {
  const blocks = blocksOf(heads);
  const whole = parts.map((part, index) => {
    const byRow = transposed(emit, part, [3, 0, 1, 2]);
    const missing = heads.positions - (blocks[index] as Block).keys;
    return missing === 0 ? byRow : emit.node("Pad", [byRow, emit.integers([0, 0, 0, 0, missing, 0, 0, 0])]);
  });
  reshaped(emit, whole.length === 1 ? (whole[0] as string) : emit.node("Sum", whole), headShapes(heads).keyRows, output);
}

/** Added to a block's scores: 0 for keys up to the query's own position, `hidden` for later ones. */
function causalMask({ positions, keys }: Block): OnnxTensor {
  const data = new Float32Array(positions * keys);
  for (let query = 0; query < positions; query++) data.fill(hidden, query * keys + (keys - positions) + query + 1, (query + 1) * keys);
  return { type: "float32", shape: [positions, keys], data };
}

/** query [rows, heads * headDimension], key and value [rows, keyValueHeads * headDimension]; the result has the query's shape. */
export function causalAttention(query: Tensor, key: Tensor, value: Tensor, heads: Heads): Tensor {
  return applyOne(operator, [query, key, value], heads);
}
