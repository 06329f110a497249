/** What the engine must know to compute a decoder, beside its tensors: rules and numbers that no shape tells. */

export interface Computation {
  readonly attention: Attention;
  readonly router: Router;
  /** Added to the mean square under RMSNorm's root. */
  readonly normEpsilon: number;
  /** Base of the rotary positions' frequencies. */
  readonly ropeTheta: number;
  /** True where the head is the embedding: there is then no `head` tensor. */
  readonly tieEmbeddings: boolean;
}

export type Attention = GroupedQueryAttention;

/** Query heads in groups that share the heads of keys and values. */
export interface GroupedQueryAttention {
  readonly kind: "grouped-query";
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDimension: number;
  /** RMSNorm of queries and keys: over each head, over the full width, or none. */
  readonly queryKeyNorm: "head" | "full" | "none";
}

export type Router = SoftmaxRouter;

/** A softmax over all experts, of which each token takes the largest few. */
export interface SoftmaxRouter {
  readonly kind: "softmax";
  /** Whether the weights of the chosen experts are scaled to sum to one. */
  readonly normalizeTopK: boolean;
}

/** How the engine knows a tensor. Linear maps are stored [out, in]; `x @ W^T`. */
export type Part =
  | "embedding"
  | "attention.norm"
  | "attention.query"
  | "attention.key"
  | "attention.value"
  | "attention.output"
  | "attention.queryNorm"
  | "attention.keyNorm"
  | "feedForward.norm"
  | "router"
  | "expert.gate"
  | "expert.up"
  | "expert.down"
  /** The gate's rows, then up's, of one expert: [2 * inner, hidden]. */
  | "expert.gateUp"
  | "dense.gate"
  | "dense.up"
  | "dense.down"
  | "finalNorm"
  | "head";
