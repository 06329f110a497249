/**
 * DeepSeek-V3: multi-head latent attention, sigmoid router with a correction bias and groups of experts, shared experts, dense layers
 * first. Published in FP8 with a scale for each block of 128 by 128. The layer after the last, which predicts a further token, belongs
 * to no version.
 */
import * as v from "valibot";
import { common, defineFamily, dimension, expertCount, flag, layerCount } from "./config.ts";
import {
  decoderTensors,
  denseNetwork,
  fusedExperts,
  latentProjections,
  linear,
  norm,
  row,
  separateExperts,
  sharedNetwork,
} from "./tensors.ts";

export const deepseekV3 = defineFamily({
  modelType: "deepseek_v3",
  forms: ["separate", "fused"],

  settings: v.object({
    ...common,
    intermediate_size: dimension,
    moe_intermediate_size: dimension,
    n_routed_experts: expertCount,
    n_shared_experts: v.optional(expertCount, 1),
    num_experts_per_tok: expertCount,
    first_k_dense_replace: v.optional(v.union([v.literal(0), layerCount]), 0),
    moe_layer_freq: v.optional(layerCount, 1),
    q_lora_rank: v.nullish(dimension),
    kv_lora_rank: dimension,
    qk_nope_head_dim: dimension,
    qk_rope_head_dim: dimension,
    v_head_dim: dimension,
    attention_bias: v.optional(flag, false),
  }),

  read(read) {
    const layers = [...Array(read.num_hidden_layers).keys()];
    return {
      vocabularySize: read.vocab_size,
      hiddenSize: read.hidden_size,
      layers: read.num_hidden_layers,
      expertLayers: layers.filter((layer) => layer >= read.first_k_dense_replace && layer % read.moe_layer_freq === 0),
      experts: read.n_routed_experts,
      expertsPerToken: read.num_experts_per_tok,
      notComputed: [],
    };
  },

  tensors(architecture) {
    const { settings, form, hiddenSize: hidden, vocabularySize, expertLayers, experts } = architecture;
    const inner = settings.moe_intermediate_size;
    const withExperts = new Set(expertLayers);
    const dense = denseNetwork("mlp", hidden, settings.intermediate_size);
    const expertRows = [
      linear("mlp.gate", [experts, hidden], "router"),
      row("mlp.gate.e_score_correction_bias", [experts]),
      ...(form === "fused" ? fusedExperts : separateExperts)("mlp.experts", { experts, hidden, inner }),
      ...sharedNetwork("mlp.shared_experts", hidden, inner * settings.n_shared_experts),
    ];
    const attention = latentProjections({
      hidden,
      heads: settings.num_attention_heads,
      queryRank: settings.q_lora_rank ?? undefined,
      keyValueRank: settings.kv_lora_rank,
      plain: settings.qk_nope_head_dim,
      rotary: settings.qk_rope_head_dim,
      value: settings.v_head_dim,
      biased: settings.attention_bias,
    });
    return decoderTensors(architecture, {
      layer: (layer) => [
        norm("input_layernorm", hidden, "attention.norm"),
        ...attention,
        norm("post_attention_layernorm", hidden, "feedForward.norm"),
        ...(withExperts.has(layer) ? expertRows : dense),
      ],
      finalNorm: [norm("model.norm", hidden, "finalNorm")],
      head: settings.tie_word_embeddings ? [] : [linear("lm_head", [vocabularySize, hidden], "head")],
    });
  },

  unlisted: ({ layers }) => ({ leftOut: [`model.layers.${layers}.`] }),
});
