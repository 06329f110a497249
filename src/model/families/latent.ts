/**
 * Multi-head latent attention (arXiv 2405.04434), as DeepSeek-V2 and V3 spell it: its settings, what the engine must know of it, its tensors, and the
 * configuration of a new model that has it.
 */
import * as v from "valibot";
import type { LatentAttention, Part } from "./computation.ts";
import { checkHeads, dimension, flag } from "./config.ts";
import type { NewModel } from "./family.ts";
import { type ReadRope, type RopeSettings, readRope } from "./rope.ts";
import { bias, linear, norm, type Row } from "./tensors.ts";

export const latentSettings = {
  num_attention_heads: dimension,
  /** Width of the queries' latent; without one, queries are made of the layer's input. */
  q_lora_rank: v.nullish(dimension),
  kv_lora_rank: dimension,
  qk_nope_head_dim: dimension,
  qk_rope_head_dim: dimension,
  v_head_dim: dimension,
  /** Whether the maps to the latents and the output's have biases. */
  attention_bias: v.optional(flag, false),
};
const settings = v.object(latentSettings);
type LatentSettings = v.InferOutput<typeof settings>;

/** What transformers and the authors give the latents' norms, whatever the configuration says for the others. */
const latentEpsilon = 1e-6;

/** The attention and its positions, which scale the products of queries and keys as well. Throws `config-invalid`. */
export function readLatent(
  read: LatentSettings & RopeSettings,
  interleaved: boolean,
): Omit<ReadRope, "productScale"> & { readonly attention: LatentAttention } {
  const { num_attention_heads: heads, qk_nope_head_dim: plainDimension, qk_rope_head_dim: turnedDimension } = read;
  // Before a frequency is reckoned for each pair of columns.
  checkHeads(heads, heads, turnedDimension);
  const { rope, notComputed, productScale } = readRope(read, { theta: 10_000, width: turnedDimension, interleaved });
  const scale = productScale / Math.sqrt(plainDimension + turnedDimension);
  const attention = {
    kind: "latent",
    heads,
    plainDimension,
    turnedDimension,
    valueDimension: read.v_head_dim,
    latentEpsilon,
    scale,
  } as const;
  return { rope, notComputed, attention };
}

/** `self_attn`: keys and values, and often queries, through a narrow latent. */
export function latentProjections(read: LatentSettings, hidden: number): Row[] {
  const { num_attention_heads: heads, q_lora_rank: queryRank, kv_lora_rank: keyValueRank, attention_bias: biased } = read;
  const { qk_nope_head_dim: plain, qk_rope_head_dim: turned, v_head_dim: value } = read;
  const biasOf = (name: string, width: number, part: Part) => (biased ? [bias(`self_attn.${name}`, width, part)] : []);
  const queries =
    typeof queryRank !== "number"
      ? [linear("self_attn.q_proj", [heads * (plain + turned), hidden], "attention.query")]
      : [
          linear("self_attn.q_a_proj", [queryRank, hidden], "attention.queryDown"),
          ...biasOf("q_a_proj", queryRank, "attention.queryDownBias"),
          norm("self_attn.q_a_layernorm", queryRank, "attention.queryDownNorm"),
          linear("self_attn.q_b_proj", [heads * (plain + turned), queryRank], "attention.query"),
        ];
  return [
    ...queries,
    linear("self_attn.kv_a_proj_with_mqa", [keyValueRank + turned, hidden], "attention.latent"),
    ...biasOf("kv_a_proj_with_mqa", keyValueRank + turned, "attention.latentBias"),
    norm("self_attn.kv_a_layernorm", keyValueRank, "attention.latentNorm"),
    linear("self_attn.kv_b_proj", [heads * (plain + value), keyValueRank], "attention.keyValue"),
    linear("self_attn.o_proj", [hidden, heads * value], "attention.output"),
    ...biasOf("o_proj", hidden, "attention.outputBias"),
  ];
}

/** The settings of a new model that DeepSeek-V2 and V3 share. */
export function newLatentConfig(sizes: NewModel): Record<string, unknown> {
  const headDimension = Math.floor(sizes.hiddenSize / sizes.heads);
  const turned = 2 * Math.max(1, Math.floor(headDimension / 4));
  return {
    vocab_size: sizes.vocabularySize,
    hidden_size: sizes.hiddenSize,
    num_hidden_layers: sizes.layers,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.heads,
    q_lora_rank: null,
    kv_lora_rank: Math.max(1, Math.floor(sizes.hiddenSize / 2)),
    qk_nope_head_dim: Math.max(1, headDimension - turned),
    qk_rope_head_dim: turned,
    v_head_dim: headDimension,
    intermediate_size: 2 * sizes.intermediateSize,
    moe_intermediate_size: sizes.intermediateSize,
    n_routed_experts: sizes.experts,
    n_shared_experts: 1,
    num_experts_per_tok: sizes.expertsPerToken,
    first_k_dense_replace: sizes.layers > 1 ? 1 : 0,
    moe_layer_freq: 1,
    rms_norm_eps: 1e-6,
    rope_theta: 10_000,
    tie_word_embeddings: false,
    attention_bias: false,
    hidden_act: "silu",
    max_position_embeddings: 4096,
    use_cache: true,
  };
}
