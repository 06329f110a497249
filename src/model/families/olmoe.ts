/** OLMoE: softmax router without renormalisation, query and key norms over the full width, experts in every layer. */
import * as v from "valibot";
import { plainExperts } from "./computation.ts";
import { activation, checkHeads, common, defineFamily, dimension, expertCount, flag, invalidConfig, positive } from "./config.ts";
import { readRope, rope } from "./rope.ts";
import { decoderTensors, fusedExperts, linear, norm, projections, separateExperts } from "./tensors.ts";

export const olmoe = defineFamily({
  modelType: "olmoe",
  forms: ["separate", "fused"],

  settings: v.object({
    ...common,
    ...rope,
    num_key_value_heads: v.nullish(dimension),
    intermediate_size: dimension,
    num_experts: expertCount,
    num_experts_per_tok: expertCount,
    norm_topk_prob: v.optional(flag, false),
    rms_norm_eps: v.optional(positive, 1e-5),
    hidden_act: v.optional(activation, "silu"),
    attention_bias: v.optional(flag, false),
    clip_qkv: v.nullish(positive),
  }),

  read(read) {
    const { hidden_size: hidden, num_attention_heads: heads } = read;
    if (hidden % heads !== 0) throw invalidConfig("num_attention_heads", `${heads} does not divide hidden_size ${hidden}`);
    const keyValueHeads = read.num_key_value_heads ?? heads;
    checkHeads(heads, keyValueHeads, hidden / heads);
    const { rope, notComputed } = readRope(read, { theta: 10_000, width: hidden / heads });
    return {
      vocabularySize: read.vocab_size,
      hiddenSize: hidden,
      layers: read.num_hidden_layers,
      expertLayers: [...Array(read.num_hidden_layers).keys()],
      experts: read.num_experts,
      expertsPerToken: read.num_experts_per_tok,
      computation: {
        norm: { kind: "root-mean-square", epsilon: read.rms_norm_eps },
        rope,
        attention: {
          kind: "grouped-query",
          heads,
          keyValueHeads,
          headDimension: hidden / heads,
          queryKeyNorm: "full",
          ...(typeof read.clip_qkv === "number" && { clip: read.clip_qkv }),
        },
        router: { kind: "top-k", scores: "softmax", normalizeTopK: read.norm_topk_prob, scale: 1, weighs: "result" },
        experts: plainExperts,
        tieEmbeddings: read.tie_word_embeddings,
      },
      notComputed,
    };
  },

  tensors(architecture) {
    const { settings, form, hiddenSize: hidden, experts } = architecture;
    const { num_attention_heads: heads, intermediate_size: inner, attention_bias: biased } = settings;
    const keyValueHeads = settings.num_key_value_heads ?? heads;
    const headDimension = hidden / heads;
    const expertsOf = form === "fused" ? fusedExperts : separateExperts;
    return decoderTensors(architecture, {
      tied: settings.tie_word_embeddings,
      layer: () => [
        norm("input_layernorm", hidden, "attention.norm"),
        ...projections({ hidden, heads, keyValueHeads, headDimension, biases: biased ? "all" : "none" }),
        norm("self_attn.q_norm", hidden, "attention.queryNorm"),
        norm("self_attn.k_norm", keyValueHeads * headDimension, "attention.keyNorm"),
        norm("post_attention_layernorm", hidden, "feedForward.norm"),
        linear("mlp.gate", [experts, hidden], "router"),
        ...expertsOf("mlp.experts", { experts, hidden, inner }),
      ],
    });
  },

  newConfig: (sizes) => ({
    architectures: ["OlmoeForCausalLM"],
    vocab_size: sizes.vocabularySize,
    hidden_size: sizes.hiddenSize,
    num_hidden_layers: sizes.layers,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.keyValueHeads,
    intermediate_size: sizes.intermediateSize,
    num_experts: sizes.experts,
    num_experts_per_tok: sizes.expertsPerToken,
    norm_topk_prob: sizes.normalizeTopK,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    tie_word_embeddings: false,
    hidden_act: "silu",
    attention_bias: false,
    clip_qkv: null,
    max_position_embeddings: 4096,
    router_aux_loss_coef: 0.01,
    use_cache: true,
  }),
});
