/**
 * GLM-4.5: grouped-query attention with biases (and, in the large model, norms of each head's queries and keys), DeepSeek-V3's router
 * with one group, shared experts, dense layers first. The layer after the last, which predicts a further token, belongs to no version.
 */
import * as v from "valibot";
import { checkHeads, common, defineFamily, dimension, expertCount, flag, headDimension, layerCount } from "./config.ts";
import {
  bias,
  decoderTensors,
  denseNetwork,
  fusedExperts,
  linear,
  norm,
  projections,
  row,
  separateExperts,
  sharedNetwork,
} from "./tensors.ts";

export const glm4Moe = defineFamily({
  modelType: "glm4_moe",
  forms: ["separate", "fused"],

  settings: v.object({
    ...common,
    num_key_value_heads: dimension,
    head_dim: v.nullish(dimension),
    intermediate_size: dimension,
    moe_intermediate_size: dimension,
    n_routed_experts: expertCount,
    n_shared_experts: v.optional(expertCount, 1),
    num_experts_per_tok: expertCount,
    first_k_dense_replace: v.optional(v.union([v.literal(0), layerCount]), 0),
    attention_bias: v.optional(flag, false),
    use_qk_norm: v.optional(flag, false),
  }),

  read(read) {
    checkHeads(read.num_attention_heads, read.num_key_value_heads, headDimension(read));
    return {
      vocabularySize: read.vocab_size,
      hiddenSize: read.hidden_size,
      layers: read.num_hidden_layers,
      expertLayers: [...Array(read.num_hidden_layers).keys()].filter((layer) => layer >= read.first_k_dense_replace),
      experts: read.n_routed_experts,
      expertsPerToken: read.num_experts_per_tok,
      notComputed: [],
    };
  },

  tensors(architecture) {
    const { settings, form, hiddenSize: hidden, vocabularySize, expertLayers, experts } = architecture;
    const { num_attention_heads: heads, num_key_value_heads: keyValueHeads, moe_intermediate_size: inner } = settings;
    const width = headDimension(settings);
    const withExperts = new Set(expertLayers);
    const dense = denseNetwork("mlp", hidden, settings.intermediate_size);
    const expertRows = [
      linear("mlp.gate", [experts, hidden], "router"),
      row("mlp.gate.e_score_correction_bias", [experts]),
      ...(form === "fused" ? fusedExperts : separateExperts)("mlp.experts", { experts, hidden, inner }),
      ...sharedNetwork("mlp.shared_experts", hidden, inner * settings.n_shared_experts),
    ];
    const biases = [
      bias("self_attn.q_proj", heads * width),
      bias("self_attn.k_proj", keyValueHeads * width),
      bias("self_attn.v_proj", keyValueHeads * width),
    ];
    const headNorms = [norm("self_attn.q_norm", width, "attention.queryNorm"), norm("self_attn.k_norm", width, "attention.keyNorm")];
    return decoderTensors(architecture, {
      layer: (layer) => [
        norm("input_layernorm", hidden, "attention.norm"),
        ...projections({ hidden, heads, keyValueHeads, headDimension: width }),
        ...(settings.attention_bias ? biases : []),
        ...(settings.use_qk_norm ? headNorms : []),
        norm("post_attention_layernorm", hidden, "feedForward.norm"),
        ...(withExperts.has(layer) ? expertRows : dense),
      ],
      finalNorm: [norm("model.norm", hidden, "finalNorm")],
      head: settings.tie_word_embeddings ? [] : [linear("lm_head", [vocabularySize, hidden], "head")],
    });
  },

  unlisted: ({ layers }) => ({ leftOut: [`model.layers.${layers}.`] }),
});
