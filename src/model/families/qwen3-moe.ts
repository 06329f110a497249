/** Qwen3-MoE: softmax router over all experts, query and key norms over each head, layers without experts where the configuration says so. */
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
  layerList,
  positive,
} from "./config.ts";
import { readRope, rope } from "./rope.ts";
import { decoderTensors, denseNetwork, fusedExperts, linear, norm, projections, separateExperts } from "./tensors.ts";

export const qwen3Moe = defineFamily({
  modelType: "qwen3_moe",
  forms: ["separate", "fused"],

  // transformers writes the one, published checkpoints have the other.
  spellings: { num_local_experts: "num_experts" },
  settings: v.object({
    ...common,
    ...rope,
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
    hidden_act: v.optional(activation, "silu"),
    attention_bias: v.optional(flag, false),
    use_sliding_window: v.optional(flag, false),
    sliding_window: v.nullish(dimension, 4096),
  }),

  read(read) {
    const dense = new Set(read.mlp_only_layers ?? []);
    const layers = [...Array(read.num_hidden_layers).keys()];
    const expertLayers = layers.filter((layer) => !dense.has(layer) && (layer + 1) % read.decoder_sparse_step === 0);
    if (expertLayers.length < layers.length && read.intermediate_size === undefined) {
      throw invalidConfig("intermediate_size", "missing, and some layers have no experts");
    }
    const { num_attention_heads: heads, num_key_value_heads: keyValueHeads } = read;
    const width = headDimension(read);
    checkHeads(heads, keyValueHeads, width);
    const { rope, notComputed } = readRope(read, { theta: 10_000, width });
    const window = read.use_sliding_window ? read.sliding_window : null;
    return {
      vocabularySize: read.vocab_size,
      hiddenSize: read.hidden_size,
      layers: read.num_hidden_layers,
      expertLayers,
      experts: read.num_experts,
      expertsPerToken: read.num_experts_per_tok,
      computation: {
        norm: { kind: "root-mean-square", epsilon: read.rms_norm_eps },
        rope,
        attention: { kind: "grouped-query", heads, keyValueHeads, headDimension: width, queryKeyNorm: "head" },
        ...(typeof window === "number" && { layers: layers.map(() => ({ window })) }),
        router: { kind: "top-k", scores: "softmax", normalizeTopK: read.norm_topk_prob, scale: 1, weighs: "result" },
        experts: plainExperts,
        tieEmbeddings: read.tie_word_embeddings,
      },
      notComputed,
    };
  },

  tensors(architecture) {
    const { settings, form, hiddenSize: hidden, expertLayers, experts } = architecture;
    const { num_attention_heads: heads, num_key_value_heads: keyValueHeads, attention_bias: biased } = settings;
    const width = headDimension(settings);
    const withExperts = new Set(expertLayers);
    const expertsOf = form === "fused" ? fusedExperts : separateExperts;
    const feedForward = [
      linear("mlp.gate", [experts, hidden], "router"),
      ...expertsOf("mlp.experts", { experts, hidden, inner: settings.moe_intermediate_size }),
    ];
    const dense = denseNetwork("mlp", hidden, settings.intermediate_size ?? 0);
    return decoderTensors(architecture, {
      tied: settings.tie_word_embeddings,
      layer: (layer) => [
        norm("input_layernorm", hidden, "attention.norm"),
        ...projections({ hidden, heads, keyValueHeads, headDimension: width, biases: biased ? "all" : "none" }),
        norm("self_attn.q_norm", width, "attention.queryNorm"),
        norm("self_attn.k_norm", width, "attention.keyNorm"),
        norm("post_attention_layernorm", hidden, "feedForward.norm"),
        ...(withExperts.has(layer) ? feedForward : dense),
      ],
    });
  },

  newConfig: (sizes) => ({
    architectures: ["Qwen3MoeForCausalLM"],
    vocab_size: sizes.vocabularySize,
    hidden_size: sizes.hiddenSize,
    num_hidden_layers: sizes.layers,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.keyValueHeads,
    head_dim: Math.floor(sizes.hiddenSize / sizes.heads),
    moe_intermediate_size: sizes.intermediateSize,
    intermediate_size: sizes.intermediateSize,
    num_experts: sizes.experts,
    num_experts_per_tok: sizes.expertsPerToken,
    norm_topk_prob: sizes.normalizeTopK,
    decoder_sparse_step: 1,
    mlp_only_layers: [],
    rms_norm_eps: 1e-6,
    rope_theta: 10_000,
    tie_word_embeddings: false,
    hidden_act: "silu",
    attention_bias: false,
    max_position_embeddings: 4096,
    router_aux_loss_coef: 0.001,
    use_cache: true,
  }),
});
