/**
 * GLM-4.5: grouped-query attention with biases (and, in the large model, norms of each head's queries and keys), DeepSeek-V3's router
 * with one group, shared experts, dense layers first. The layer after the last, which predicts a further token, belongs to no version.
 */
import * as v from "valibot";
import { plainExperts } from "./computation.ts";
import {
  activation,
  checkHeads,
  common,
  defineFamily,
  dimension,
  expertCount,
  flag,
  headDimension,
  invalidConfig,
  layerCount,
  positive,
} from "./config.ts";
import { readRope, rope } from "./rope.ts";
import { correctedRouter, routerSettings } from "./routers.ts";
import { decoderTensors, denseNetwork, fusedExperts, linear, norm, projections, row, separateExperts, sharedNetwork } from "./tensors.ts";

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
    partial_rotary_factor: v.optional(positive, 0.5),
    ...rope,
    ...routerSettings,
    rms_norm_eps: v.optional(positive, 1e-5),
    hidden_act: v.optional(activation, "silu"),
  }),

  read(read) {
    const { num_attention_heads: heads, num_key_value_heads: keyValueHeads } = read;
    const width = headDimension(read);
    checkHeads(heads, keyValueHeads, width);
    const turned = Math.floor(width * (read.rope_parameters?.partial_rotary_factor ?? read.partial_rotary_factor));
    if (turned < 2 || turned > width || turned % 2 !== 0)
      throw invalidConfig("partial_rotary_factor", `turns ${turned} of a head's ${width} columns, where an even number is needed`);
    const turn = readRope(read, { theta: 10_000, width: turned });
    const { router, notComputed } = correctedRouter({ ...read, n_group: read.n_group ?? 1, topk_group: read.topk_group ?? 1 });
    return {
      vocabularySize: read.vocab_size,
      hiddenSize: read.hidden_size,
      layers: read.num_hidden_layers,
      expertLayers: [...Array(read.num_hidden_layers).keys()].filter((layer) => layer >= read.first_k_dense_replace),
      experts: read.n_routed_experts,
      expertsPerToken: read.num_experts_per_tok,
      computation: {
        norm: { kind: "root-mean-square", epsilon: read.rms_norm_eps },
        rope: turn.rope,
        attention: {
          kind: "grouped-query",
          heads,
          keyValueHeads,
          headDimension: width,
          queryKeyNorm: read.use_qk_norm ? "head" : "none",
        },
        router,
        experts: plainExperts,
        tieEmbeddings: read.tie_word_embeddings,
      },
      notComputed: [...turn.notComputed, ...notComputed],
    };
  },

  tensors(architecture) {
    const { settings, form, hiddenSize: hidden, expertLayers, experts } = architecture;
    const { num_attention_heads: heads, num_key_value_heads: keyValueHeads, moe_intermediate_size: inner } = settings;
    const width = headDimension(settings);
    const withExperts = new Set(expertLayers);
    const dense = denseNetwork("mlp", hidden, settings.intermediate_size);
    const expertRows = [
      linear("mlp.gate", [experts, hidden], "router"),
      row("mlp.gate.e_score_correction_bias", [experts], "router.correction"),
      ...(form === "fused" ? fusedExperts : separateExperts)("mlp.experts", { experts, hidden, inner }),
      ...sharedNetwork("mlp.shared_experts", hidden, inner * settings.n_shared_experts),
    ];
    const headNorms = [norm("self_attn.q_norm", width, "attention.queryNorm"), norm("self_attn.k_norm", width, "attention.keyNorm")];
    return decoderTensors(architecture, {
      layer: (layer) => [
        norm("input_layernorm", hidden, "attention.norm"),
        ...projections({
          hidden,
          heads,
          keyValueHeads,
          headDimension: width,
          biases: settings.attention_bias ? "all-but-output" : "none",
        }),
        ...(settings.use_qk_norm ? headNorms : []),
        norm("post_attention_layernorm", hidden, "feedForward.norm"),
        ...(withExperts.has(layer) ? expertRows : dense),
      ],
      tied: settings.tie_word_embeddings,
    });
  },

  unlisted: ({ layers }) => ({ leftOut: [`model.layers.${layers}.`] }),

  newConfig: (sizes) => ({
    architectures: ["Glm4MoeForCausalLM"],
    vocab_size: sizes.vocabularySize,
    hidden_size: sizes.hiddenSize,
    num_hidden_layers: sizes.layers,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.keyValueHeads,
    head_dim: Math.floor(sizes.hiddenSize / sizes.heads),
    partial_rotary_factor: Math.floor(sizes.hiddenSize / sizes.heads) % 4 === 0 ? 0.5 : 1,
    intermediate_size: 2 * sizes.intermediateSize,
    moe_intermediate_size: sizes.intermediateSize,
    n_routed_experts: sizes.experts,
    n_shared_experts: 1,
    num_experts_per_tok: sizes.expertsPerToken,
    first_k_dense_replace: sizes.layers > 1 ? 1 : 0,
    n_group: 1,
    topk_group: 1,
    norm_topk_prob: true,
    use_qk_norm: true,
    attention_bias: true,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    tie_word_embeddings: false,
    hidden_act: "silu",
    max_position_embeddings: 4096,
    num_nextn_predict_layers: 0,
    use_cache: true,
  }),
});
