/**
 * Qwen2-MoE: softmax router without renormalisation unless the configuration says so, a shared expert behind a gate of its own, biases of queries, keys and
 * values; layers without experts and sliding windows where the configuration says so.
 */
import * as v from "valibot";
import { type LayerRules, plainExperts } from "./computation.ts";
import {
  activation,
  checkHeads,
  common,
  defineFamily,
  dimension,
  expertCount,
  flag,
  layerCount,
  layerList,
  layerTypes,
  positive,
  slidingLayer,
} from "./config.ts";
import { readRope, rope } from "./rope.ts";
import { decoderTensors, denseNetwork, fusedExperts, linear, norm, projections, separateExperts, sharedNetwork } from "./tensors.ts";

export const qwen2Moe = defineFamily({
  modelType: "qwen2_moe",
  forms: ["separate", "fused"],

  settings: v.object({
    ...common,
    ...rope,
    num_key_value_heads: v.nullish(dimension),
    intermediate_size: v.optional(dimension, 5632),
    moe_intermediate_size: dimension,
    shared_expert_intermediate_size: dimension,
    num_experts: expertCount,
    num_experts_per_tok: expertCount,
    norm_topk_prob: v.optional(flag, false),
    decoder_sparse_step: v.optional(layerCount, 1),
    mlp_only_layers: v.nullish(layerList),
    rms_norm_eps: v.optional(positive, 1e-6),
    hidden_act: v.optional(activation, "silu"),
    qkv_bias: v.optional(flag, true),
    use_sliding_window: v.optional(flag, false),
    sliding_window: v.nullish(v.union([v.literal(0), dimension]), 4096),
    max_window_layers: v.optional(v.number(), 28),
    layer_types: layerTypes,
  }),

  read(read) {
    const { num_attention_heads: heads, hidden_size: hidden, max_window_layers: windowed } = read;
    const keyValueHeads = read.num_key_value_heads ?? heads;
    const headDimension = Math.floor(hidden / heads);
    checkHeads(heads, keyValueHeads, headDimension);
    const dense = new Set(read.mlp_only_layers ?? []);
    const layers = [...Array(read.num_hidden_layers).keys()];
    const { rope, notComputed } = readRope(read, { theta: 10_000, width: headDimension });
    const window = (read.use_sliding_window && read.sliding_window) || undefined;
    const usual = (layer: number) => (layer % 2 === 0 && layer < windowed ? slidingLayer : "full_attention");
    const rules = (layer: number): LayerRules =>
      window !== undefined && (read.layer_types?.[layer] ?? usual(layer)) === slidingLayer ? { window } : {};
    return {
      vocabularySize: read.vocab_size,
      hiddenSize: hidden,
      layers: layers.length,
      expertLayers: layers.filter((layer) => !dense.has(layer) && (layer + 1) % read.decoder_sparse_step === 0),
      experts: read.num_experts,
      expertsPerToken: read.num_experts_per_tok,
      computation: {
        norm: { kind: "root-mean-square", epsilon: read.rms_norm_eps },
        rope,
        attention: { kind: "grouped-query", heads, keyValueHeads, headDimension, queryKeyNorm: "none" },
        ...(window !== undefined && { layers: layers.map(rules) }),
        router: { kind: "top-k", scores: "softmax", normalizeTopK: read.norm_topk_prob, scale: 1, weighs: "result" },
        experts: plainExperts,
        tieEmbeddings: read.tie_word_embeddings,
      },
      notComputed,
    };
  },

  tensors(architecture) {
    const { settings, form, hiddenSize: hidden, expertLayers, experts } = architecture;
    const { num_attention_heads: heads, shared_expert_intermediate_size: sharedInner } = settings;
    const keyValueHeads = settings.num_key_value_heads ?? heads;
    const withExperts = new Set(expertLayers);
    const expertsOf = form === "fused" ? fusedExperts : separateExperts;
    const feedForward = [
      linear("mlp.gate", [experts, hidden], "router"),
      ...expertsOf("mlp.experts", { experts, hidden, inner: settings.moe_intermediate_size }),
      ...sharedNetwork("mlp.shared_expert", hidden, sharedInner),
      linear("mlp.shared_expert_gate", [1, hidden], "shared.weight"),
    ];
    const dense = denseNetwork("mlp", hidden, settings.intermediate_size);
    const sizes = { hidden, heads, keyValueHeads, headDimension: Math.floor(hidden / heads) };
    return decoderTensors(architecture, {
      tied: settings.tie_word_embeddings,
      layer: (layer) => [
        norm("input_layernorm", hidden, "attention.norm"),
        ...projections({ ...sizes, biases: settings.qkv_bias ? "all-but-output" : "none" }),
        norm("post_attention_layernorm", hidden, "feedForward.norm"),
        ...(withExperts.has(layer) ? feedForward : dense),
      ],
    });
  },

  newConfig: (sizes) => ({
    architectures: ["Qwen2MoeForCausalLM"],
    vocab_size: sizes.vocabularySize,
    hidden_size: sizes.hiddenSize,
    num_hidden_layers: sizes.layers,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.keyValueHeads,
    intermediate_size: sizes.intermediateSize,
    moe_intermediate_size: sizes.intermediateSize,
    shared_expert_intermediate_size: sizes.intermediateSize,
    num_experts: sizes.experts,
    num_experts_per_tok: sizes.expertsPerToken,
    norm_topk_prob: sizes.normalizeTopK,
    decoder_sparse_step: 1,
    mlp_only_layers: [],
    qkv_bias: true,
    rms_norm_eps: 1e-6,
    rope_theta: 10_000,
    tie_word_embeddings: false,
    hidden_act: "silu",
    use_sliding_window: false,
    max_position_embeddings: 4096,
    router_aux_loss_coef: 0.001,
    use_cache: true,
  }),
});
