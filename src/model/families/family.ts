/**
 * What the rest of the project knows about a model: its numbers (`Architecture`) and the list of its tensors (`TensorSpec`).
 * A family of checkpoints is one file beside this one that turns a `config.json` into both, and back. Nothing outside this
 * folder knows a tensor's name or a configuration's spelling.
 */

/** The numbers of one decoder with experts. Sizes count elements. */
export interface Architecture {
  /** `model_type` of the family. */
  readonly family: string;
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDimension: number;
  /** Inner width of one expert. */
  readonly intermediateSize: number;
  /** Inner width of the feed-forward part of layers without experts; 0 where every layer has experts. */
  readonly denseIntermediateSize: number;
  /** Layers that have experts, rising. */
  readonly expertLayers: readonly number[];
  /** Routed experts in each of `expertLayers`. */
  readonly experts: number;
  readonly expertsPerToken: number;
  /** Whether the weights of the chosen experts are scaled to sum to one. */
  readonly normalizeTopK: boolean;
  /** RMSNorm of queries and keys: over each head, over the full width, or none. */
  readonly queryKeyNorm: "head" | "full" | "none";
  readonly ropeTheta: number;
  readonly rmsNormEpsilon: number;
  /** True where the head is the embedding: there is then no `head` tensor. */
  readonly tieEmbeddings: boolean;
  /** Settings of the configuration that slices do not care about but that the engine does not compute, e.g. `rope_scaling`. */
  readonly notComputed: readonly string[];
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
  | "dense.gate"
  | "dense.up"
  | "dense.down"
  | "finalNorm"
  | "head";

export interface TensorSpec {
  /** Name in the checkpoint. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly role: "backbone" | "expert";
  readonly part: Part;
  /** Absent for tensors outside the layers. */
  readonly layer?: number;
  /** Of an expert tensor in the per-expert layout: its expert. */
  readonly expert?: number;
  /** Of an expert tensor in a fused layout: how many experts lie one after another along its leading dimension. */
  readonly fusedExperts?: number;
}

export interface Family {
  /** `model_type` in config.json. */
  readonly modelType: string;
  /** Reads a parsed config.json. Throws ConnitoError `config-invalid` that names the setting. */
  architecture(config: unknown): Architecture;
  /** Every tensor of a checkpoint of this architecture, layer by layer. */
  tensors(architecture: Architecture): TensorSpec[];
  /** The config.json of an architecture, such that `architecture(config(a))` equals `a` where the family can express it. */
  config(architecture: Architecture): Record<string, unknown>;
}
