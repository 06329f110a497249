/** Qwen3-MoE: softmax router over all experts, query and key norms over each head, layers without experts where the configuration says so. */
import * as v from "valibot";
import {
  activation,
  checkArchitecture,
  dimension,
  expertCount,
  flag,
  invalidConfig,
  layerCount,
  layerList,
  positive,
  readRope,
  readSettings,
  rope,
} from "./config.ts";
import { decoderTensors } from "./decoder.ts";
import type { Family } from "./family.ts";

const modelType = "qwen3_moe";

const settings = v.looseObject({
  ...rope,
  vocab_size: dimension,
  hidden_size: dimension,
  num_hidden_layers: layerCount,
  num_attention_heads: dimension,
  num_key_value_heads: dimension,
  head_dim: v.nullish(dimension),
  moe_intermediate_size: dimension,
  intermediate_size: v.optional(dimension),
  num_experts: expertCount,
  num_experts_per_tok: expertCount,
  norm_topk_prob: v.optional(flag, false),
  decoder_sparse_step: v.optional(layerCount, 1),
  mlp_only_layers: v.nullish(layerList),
  rms_norm_eps: v.optional(positive, 1e-6),
  tie_word_embeddings: v.optional(flag, false),
  hidden_act: v.optional(activation, "silu"),
  attention_bias: v.optional(flag, false),
  use_sliding_window: v.optional(flag, false),
});

export const qwen3Moe: Family = {
  modelType,

  architecture(config) {
    const read = readSettings(settings, config);
    if (read.attention_bias) throw invalidConfig("attention_bias", "no published checkpoint of this family has attention biases");
    const dense = new Set(read.mlp_only_layers ?? []);
    const layers = [...Array(read.num_hidden_layers).keys()];
    const expertLayers = layers.filter((layer) => !dense.has(layer) && (layer + 1) % read.decoder_sparse_step === 0);
    if (expertLayers.length < layers.length && read.intermediate_size === undefined) {
      throw invalidConfig("intermediate_size", "missing, and some layers have no experts");
    }
    const headDimension = read.head_dim ?? Math.floor(read.hidden_size / read.num_attention_heads);
    const { theta, scaled } = readRope(read, 10_000);
    return checkArchitecture({
      family: modelType,
      vocabularySize: read.vocab_size,
      hiddenSize: read.hidden_size,
      layers: read.num_hidden_layers,
      heads: read.num_attention_heads,
      keyValueHeads: read.num_key_value_heads,
      headDimension,
      intermediateSize: read.moe_intermediate_size,
      denseIntermediateSize: expertLayers.length < layers.length ? (read.intermediate_size ?? 0) : 0,
      expertLayers,
      experts: read.num_experts,
      expertsPerToken: read.num_experts_per_tok,
      normalizeTopK: read.norm_topk_prob,
      queryKeyNorm: "head",
      ropeTheta: theta,
      rmsNormEpsilon: read.rms_norm_eps,
      tieEmbeddings: read.tie_word_embeddings,
      notComputed: [...(scaled ? ["rope_scaling"] : []), ...(read.use_sliding_window ? ["use_sliding_window"] : [])],
    });
  },

  tensors: decoderTensors,

  config(architecture) {
    const withExperts = new Set(architecture.expertLayers);
    return {
      architectures: ["Qwen3MoeForCausalLM"],
      model_type: modelType,
      vocab_size: architecture.vocabularySize,
      hidden_size: architecture.hiddenSize,
      num_hidden_layers: architecture.layers,
      num_attention_heads: architecture.heads,
      num_key_value_heads: architecture.keyValueHeads,
      head_dim: architecture.headDimension,
      moe_intermediate_size: architecture.intermediateSize,
      intermediate_size: architecture.denseIntermediateSize || architecture.intermediateSize,
      num_experts: architecture.experts,
      num_experts_per_tok: architecture.expertsPerToken,
      norm_topk_prob: architecture.normalizeTopK,
      decoder_sparse_step: 1,
      mlp_only_layers: [...Array(architecture.layers).keys()].filter((layer) => !withExperts.has(layer)),
      rms_norm_eps: architecture.rmsNormEpsilon,
      rope_theta: architecture.ropeTheta,
      tie_word_embeddings: architecture.tieEmbeddings,
      hidden_act: "silu",
      attention_bias: false,
      attention_dropout: 0,
      max_position_embeddings: 4096,
      router_aux_loss_coef: 0.001,
      use_cache: true,
    };
  },
};
