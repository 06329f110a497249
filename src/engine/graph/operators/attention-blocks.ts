/**
 * How attention is cut into blocks of queries. A block reads only the keys between the first and the last that one of its queries sees: with n blocks of
 * plain causal attention a share of (n - 1) / 2n of the products and exponentials, which a mask would only throw away, is never computed.
 */
import type { OnnxTensor } from "../../onnx/model.ts";

export interface Heads {
  readonly sequences: number;
  readonly positions: number;
  readonly heads: number;
  /** Divides `heads`: so many neighbouring heads share keys and values. */
  readonly keyValueHeads: number;
  /** Width of a head's query and key. */
  readonly headDimension: number;
  /** Width of a head's value, where it is not that of its key. */
  readonly valueDimension?: number | undefined;
  /** Factor on the products of queries and keys; 1 / sqrt(headDimension) where left out. */
  readonly scale?: number | undefined;
  /** So many positions are seen at most, a query's own among them. */
  readonly window?: number | undefined;
  /** Only positions of the query's own chunk of this length are seen. */
  readonly chunk?: number | undefined;
}

/** Positions in a block at least, and blocks at most: smaller products would be less efficient, and more of them too many operators. */
const blockPositions = 64;
const mostBlocks = 8;
/** Far below any score, and finite: its exponential is 0. */
const hidden = -1e30;

/**
 * One block of queries, and its shapes for a width w of a head. b: sequences, s: the block's positions, k: key-value heads, g: heads that share one.
 */
export interface Block {
  /** Its positions, from `start` on. */
  readonly start: number;
  readonly positions: number;
  /** The keys that it reads, from `firstKey` on. */
  readonly firstKey: number;
  readonly keys: number;
  /** [s * b, heads * w] */
  rows(width: number): readonly [number, number];
  /** [s, b, k, g, w] */
  rowsByHead(width: number): readonly number[];
  /** [b, k, g, s, w] */
  headsByRow(width: number): readonly number[];
  /** [b, k, g * s, w]: the heads that share keys, one below the other: one product serves them all. */
  grouped(width: number): readonly number[];
  /** [keys, b, k, w] */
  keysByHead(width: number): readonly number[];
}

export function blocksOf({ sequences: b, positions: all, heads, keyValueHeads: k, window, chunk }: Heads): Block[] {
  const g = heads / k;
  const count = Math.min(mostBlocks, Math.max(1, Math.floor(all / blockPositions)));
  const ends = Array.from({ length: count }, (_, index) => Math.floor(((index + 1) * all) / count));
  return ends.map((end, index) => {
    const start = ends[index - 1] ?? 0;
    const s = end - start;
    const firstKey = firstSeen(start, window, chunk);
    return {
      start,
      positions: s,
      firstKey,
      keys: end - firstKey,
      rows: (w) => [s * b, heads * w],
      rowsByHead: (w) => [s, b, k, g, w],
      headsByRow: (w) => [b, k, g, s, w],
      grouped: (w) => [b, k, g * s, w],
      keysByHead: (w) => [end - firstKey, b, k, w],
    };
  });
}

/** The first position that a query at `position` sees; the last is its own. */
function firstSeen(position: number, window = Number.POSITIVE_INFINITY, chunk = Number.POSITIVE_INFINITY): number {
  const inChunk = chunk === Number.POSITIVE_INFINITY ? 0 : position - (position % chunk);
  return Math.max(0, position - window + 1, inChunk);
}

/** [s, keys], added to a block's scores: 0 for a key that the query sees, and far below any score for all others. */
export function visibility({ start, positions, firstKey, keys }: Block, { window, chunk }: Heads): OnnxTensor {
  const data = new Float32Array(positions * keys).fill(hidden);
  for (let row = 0; row < positions; row++) {
    const own = start + row;
    data.fill(0, row * keys + firstSeen(own, window, chunk) - firstKey, row * keys + own - firstKey + 1);
  }
  return { type: "float32", shape: [positions, keys], data };
}
