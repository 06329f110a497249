/**
 * What the engine must know to compute a decoder, beside its tensors: rules and numbers that no shape tells. What a checkpoint's tensors tell by being there
 * or not (biases, sinks, shared experts, a latent of the queries) is not said again.
 */

export interface Computation {
  readonly norm: Norm;
  readonly rope: Rope;
  readonly attention: Attention;
  /** One for each layer where not all are plain causal attention with rotary positions. */
  readonly layers?: readonly LayerRules[];
  readonly router: Router;
  readonly experts: Experts;
  /** True where the head is the embedding: there is then no `head` tensor. */
  readonly tieEmbeddings: boolean;
}

export interface Norm {
  /** RMSNorm, or LayerNorm with a bias. */
  readonly kind: "root-mean-square" | "layer";
  /** Added to the mean square, or the variance, under the root. */
  readonly epsilon: number;
}

/** Rotary positions. */
export interface Rope {
  /** Radians a position, of each pair of columns. As many pairs as there are, of each head's columns that are turned. */
  readonly frequencies: readonly number[];
  /** What turned columns are multiplied by as well. */
  readonly scale: number;
  /** Whether a pair are neighbours; else a column and the one half the turned width further. */
  readonly interleaved: boolean;
  /** The longest sequence for which the frequencies hold, where there is one. */
  readonly mostPositions?: number;
}

export type Attention = GroupedQueryAttention | LatentAttention;

/** Query heads in groups that share the heads of keys and values. */
export interface GroupedQueryAttention {
  readonly kind: "grouped-query";
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDimension: number;
  /** RMSNorm of queries and keys before they are turned: over each head, over the full width, or none. After it: over each head, without weights. */
  readonly queryKeyNorm: "head" | "full" | "none" | "after-rotation";
  /** Queries, keys and values are bounded to this on both sides of zero before they are turned. */
  readonly clip?: number;
}

/**
 * Multi-head latent attention (arXiv 2405.04434): keys and values are unfolded from a narrow latent, and the part of a key that is turned is one for all heads.
 * A head's query and key are `plainDimension` columns that are not turned, then those that are.
 */
export interface LatentAttention {
  readonly kind: "latent";
  readonly heads: number;
  readonly plainDimension: number;
  readonly turnedDimension: number;
  readonly valueDimension: number;
  /** Epsilon of the latents' RMSNorms. */
  readonly latentEpsilon: number;
  /** Factor on the products of queries and keys. */
  readonly scale: number;
}

/** What one layer's attention does in its own way. */
export interface LayerRules {
  /** A query sees so many positions at most, its own among them. */
  readonly window?: number;
  /** A query sees only the positions of its own chunk of this length. */
  readonly chunk?: number;
  /** Without rotary positions. */
  readonly unturned?: boolean;
  /** Queries at position p are multiplied by 1 + scale * ln(1 + floor((p + 1) / length)). */
  readonly temperature?: { readonly length: number; readonly scale: number };
}

export type Router = TopKRouter | SparseMixerRouter;

/** Each token takes the experts with the largest scores; a correction bias, where there is one, counts for the choice only. */
export interface TopKRouter {
  readonly kind: "top-k";
  /** A softmax over all experts, or a sigmoid of each. */
  readonly scores: "softmax" | "sigmoid";
  /** Whether the weights of the chosen experts are scaled to sum to one. */
  readonly normalizeTopK: boolean;
  /** Factor on the weights, after that. */
  readonly scale: number;
  /** The choice is from the best groups of neighbouring experts only, ranked by their largest score or the sum of their two largest. */
  readonly groups?: { readonly groups: number; readonly kept: number; readonly by: "largest" | "two-largest" };
  /** What an expert's weight multiplies. */
  readonly weighs: "result" | "input";
}

/** SparseMixer (arXiv 2409.12136): two picks in turn, each weighed against the scores in its reach; computed without noise, in training too. */
export interface SparseMixerRouter {
  readonly kind: "sparse-mixer";
  readonly tolerance: number;
}

export interface Experts {
  /** SwiGLU; or gpt-oss's, whose gate is steeper and which is bounded. */
  readonly activation: "swiglu" | { readonly steepness: number; readonly limit: number };
  /** Whether experts' matrices are stored [in, out], x @ W, unlike all others. */
  readonly inputFirst: boolean;
  /** Whether gate and up alternate where they lie in one matrix; else all of the gate comes first. */
  readonly alternating: boolean;
}

/** How most families compute their experts. */
export const plainExperts: Experts = { activation: "swiglu", inputFirst: false, alternating: false };

/** How the engine knows a tensor. Linear maps are stored [out, in], x @ W^T, but for experts' that `Experts.inputFirst` tells of. */
export type Part =
  | "embedding"
  | "attention.norm"
  | "attention.normBias"
  | "attention.query"
  | "attention.queryBias"
  | "attention.key"
  | "attention.keyBias"
  | "attention.value"
  | "attention.valueBias"
  | "attention.output"
  | "attention.outputBias"
  | "attention.queryNorm"
  | "attention.keyNorm"
  /** One logit a head, of a key that nobody has. */
  | "attention.sinks"
  /** Latent attention: from the layer's input to the latent that `attention.query` reads; absent where it reads the input itself. */
  | "attention.queryDown"
  | "attention.queryDownBias"
  | "attention.queryDownNorm"
  /** Latent attention: to the latent of keys and values, and after it the turned part of the key. */
  | "attention.latent"
  | "attention.latentBias"
  | "attention.latentNorm"
  /** Latent attention: from the latent to each head's plain key and, after it, its value. */
  | "attention.keyValue"
  | "feedForward.norm"
  | "feedForward.normBias"
  | "router"
  | "routerBias"
  /** Added to the scores for the choice only; the loss does not depend on it. */
  | "router.correction"
  | "expert.gate"
  | "expert.up"
  | "expert.down"
  | "expert.downBias"
  /** Gate and up of one expert in one matrix: [2 * inner, hidden]. */
  | "expert.gateUp"
  | "expert.gateUpBias"
  /** A network that every token goes through beside its experts. */
  | "shared.gate"
  | "shared.up"
  | "shared.down"
  /** [1, hidden]: the sigmoid of its product with a token weighs the shared network's result. */
  | "shared.weight"
  | "dense.gate"
  | "dense.up"
  | "dense.down"
  | "finalNorm"
  | "finalNormBias"
  | "head"
  | "headBias";
