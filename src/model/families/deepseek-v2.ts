/**
 * DeepSeek-V2: latent attention, first layers without experts, shared experts, and a softmax router that chooses among all experts (the Lite model) or among
 * those of the best groups.
 */
import * as v from "valibot";
import { latentNormEpsilon, plainExperts } from "./computation.ts";
import { activation, checkHeads, defineFamily, dimension, expertCount, flag, layerCount, positive } from "./config.ts";
import type { NewModel } from "./family.ts";
import { readRope, rope } from "./rope.ts";
import { expertGroups, routerSettings } from "./routers.ts";
import { decoderTensors, denseNetwork, fusedExperts, latentProjections, linear, norm, separateExperts, sharedNetwork } from "./tensors.ts";

const settings = v.object({
  ...rope,
  vocab_size: dimension,
  hidden_size: dimension,
  num_hidden_layers: layerCount,
  num_attention_heads: dimension,
  q_lora_rank: v.nullish(dimension),
  kv_lora_rank: dimension,
  qk_nope_head_dim: dimension,
  qk_rope_head_dim: dimension,
  v_head_dim: dimension,
  intermediate_size: dimension,
  moe_intermediate_size: dimension,
  n_routed_experts: expertCount,
  n_shared_experts: v.nullish(expertCount),
  num_experts_per_tok: expertCount,
  first_k_dense_replace: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(4096)), 0),
  moe_layer_freq: v.optional(layerCount, 1),
  ...routerSettings,
  rms_norm_eps: v.optional(positive, 1e-6),
  tie_word_embeddings: v.optional(flag, false),
  attention_bias: v.optional(flag, false),
  hidden_act: v.optional(activation, "silu"),
});

export const deepseekV2 = defineFamily({
  modelType: "deepseek_v2",
  forms: ["separate", "fused"],
  settings,

  read(read) {
    const {
      num_attention_heads: heads,
      qk_nope_head_dim: plainDimension,
      qk_rope_head_dim: turnedDimension,
      v_head_dim: valueDimension,
    } = read;
    checkHeads(heads, heads, turnedDimension);
    const layers = [...Array(read.num_hidden_layers).keys()];
    const { rope, notComputed, productScale } = readRope(read, { theta: 10_000, width: turnedDimension, interleaved: true });
    const method = read.topk_method ?? "greedy";
    const groups = method === "group_limited_greedy" ? expertGroups(read, "largest") : undefined;
    return {
      vocabularySize: read.vocab_size,
      hiddenSize: read.hidden_size,
      layers: layers.length,
      expertLayers: layers.filter((layer) => layer >= read.first_k_dense_replace && layer % read.moe_layer_freq === 0),
      experts: read.n_routed_experts,
      expertsPerToken: read.num_experts_per_tok,
      computation: {
        norm: { kind: "root-mean-square", epsilon: read.rms_norm_eps },
        rope,
        attention: {
          kind: "latent",
          heads,
          plainDimension,
          turnedDimension,
          valueDimension,
          latentEpsilon: latentNormEpsilon,
          scale: productScale / Math.sqrt(plainDimension + turnedDimension),
        },
        router: {
          kind: "top-k",
          scores: "softmax",
          normalizeTopK: false,
          scale: read.routed_scaling_factor,
          ...(groups && { groups }),
          weighs: "result",
        },
        experts: plainExperts,
        tieEmbeddings: read.tie_word_embeddings,
      },
      // What the authors' own code and transformers' disagree on, or only one of them has.
      notComputed: [
        ...notComputed,
        ...(["greedy", "group_limited_greedy"].includes(method) ? [] : ["topk_method"]),
        ...((read.scoring_func ?? "softmax") === "softmax" ? [] : ["scoring_func"]),
        ...(read.norm_topk_prob ? ["norm_topk_prob"] : []),
        ...(read.moe_layer_freq === 1 ? [] : ["moe_layer_freq"]),
      ],
    };
  },

  tensors(architecture) {
    const { settings, form, hiddenSize: hidden, expertLayers, experts } = architecture;
    const { num_attention_heads: heads, moe_intermediate_size: inner, n_shared_experts: shared } = settings;
    const withExperts = new Set(expertLayers);
    const expertsOf = form === "fused" ? fusedExperts : separateExperts;
    const feedForward = [
      linear("mlp.gate", [experts, hidden], "router"),
      ...expertsOf("mlp.experts", { experts, hidden, inner }),
      ...(shared ? sharedNetwork("mlp.shared_experts", hidden, inner * shared) : []),
    ];
    const dense = denseNetwork("mlp", hidden, settings.intermediate_size);
    const attention = latentProjections({
      hidden,
      heads,
      queryRank: settings.q_lora_rank ?? undefined,
      keyValueRank: settings.kv_lora_rank,
      plain: settings.qk_nope_head_dim,
      rotary: settings.qk_rope_head_dim,
      value: settings.v_head_dim,
      biased: settings.attention_bias,
    });
    return decoderTensors(architecture, {
      tied: settings.tie_word_embeddings,
      layer: (layer) => [
        norm("input_layernorm", hidden, "attention.norm"),
        ...attention,
        norm("post_attention_layernorm", hidden, "feedForward.norm"),
        ...(withExperts.has(layer) ? feedForward : dense),
      ],
    });
  },

  newConfig: (sizes) => ({
    architectures: ["DeepseekV2ForCausalLM"],
    ...newLatentConfig(sizes),
    topk_method: "greedy",
    scoring_func: "softmax",
    norm_topk_prob: false,
  }),
});

/** The settings of a new model that DeepSeek-V3 shares. */
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
