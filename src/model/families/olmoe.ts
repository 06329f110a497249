/** OLMoE: softmax router without renormalisation, query and key norms over the full width, experts in every layer. */
import * as v from "valibot";
import {
  activation,
  checkArchitecture,
  dimension,
  expertCount,
  flag,
  invalidConfig,
  layerCount,
  positive,
  readRope,
  readSettings,
  rope,
} from "./config.ts";
import { decoderTensors } from "./decoder.ts";
import type { Family } from "./family.ts";

const modelType = "olmoe";

const settings = v.looseObject({
  ...rope,
  vocab_size: dimension,
  hidden_size: dimension,
  num_hidden_layers: layerCount,
  num_attention_heads: dimension,
  num_key_value_heads: v.nullish(dimension),
  intermediate_size: dimension,
  num_experts: expertCount,
  num_experts_per_tok: expertCount,
  norm_topk_prob: v.optional(flag, false),
  rms_norm_eps: v.optional(positive, 1e-5),
  tie_word_embeddings: v.optional(flag, false),
  hidden_act: v.optional(activation, "silu"),
  attention_bias: v.optional(flag, false),
  clip_qkv: v.nullish(positive),
});

export const olmoe: Family = {
  modelType,

  architecture(config) {
    const read = readSettings(settings, config);
    if (read.attention_bias) throw invalidConfig("attention_bias", "no published checkpoint of this family has attention biases");
    if (read.hidden_size % read.num_attention_heads !== 0) {
      throw invalidConfig("num_attention_heads", `${read.num_attention_heads} does not divide hidden_size ${read.hidden_size}`);
    }
    const { theta, scaled } = readRope(read, 10_000);
    return checkArchitecture({
      family: modelType,
      vocabularySize: read.vocab_size,
      hiddenSize: read.hidden_size,
      layers: read.num_hidden_layers,
      heads: read.num_attention_heads,
      keyValueHeads: read.num_key_value_heads ?? read.num_attention_heads,
      headDimension: read.hidden_size / read.num_attention_heads,
      intermediateSize: read.intermediate_size,
      denseIntermediateSize: 0,
      expertLayers: [...Array(read.num_hidden_layers).keys()],
      experts: read.num_experts,
      expertsPerToken: read.num_experts_per_tok,
      normalizeTopK: read.norm_topk_prob,
      queryKeyNorm: "full",
      ropeTheta: theta,
      rmsNormEpsilon: read.rms_norm_eps,
      tieEmbeddings: read.tie_word_embeddings,
      notComputed: [...(scaled ? ["rope_scaling"] : []), ...(typeof read.clip_qkv === "number" ? ["clip_qkv"] : [])],
    });
  },

  tensors: decoderTensors,

  config(architecture) {
    return {
      architectures: ["OlmoeForCausalLM"],
      model_type: modelType,
      vocab_size: architecture.vocabularySize,
      hidden_size: architecture.hiddenSize,
      num_hidden_layers: architecture.layers,
      num_attention_heads: architecture.heads,
      num_key_value_heads: architecture.keyValueHeads,
      intermediate_size: architecture.intermediateSize,
      num_experts: architecture.experts,
      num_experts_per_tok: architecture.expertsPerToken,
      norm_topk_prob: architecture.normalizeTopK,
      rms_norm_eps: architecture.rmsNormEpsilon,
      rope_theta: architecture.ropeTheta,
      tie_word_embeddings: architecture.tieEmbeddings,
      hidden_act: "silu",
      attention_bias: false,
      attention_dropout: 0,
      clip_qkv: null,
      max_position_embeddings: 4096,
      router_aux_loss_coef: 0.01,
      use_cache: true,
    };
  },
};
