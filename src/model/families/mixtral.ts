/** Mixtral: softmax router whose chosen weights are renormalised, experts in every layer, a sliding window where the configuration says so. */
import * as v from "valibot";
import { plainExperts } from "./computation.ts";
import { activation, checkHeads, common, defineFamily, dimension, expertCount, headDimension, positive } from "./config.ts";
import { readRope, rope } from "./rope.ts";
import { decoderTensors, fusedExperts, linear, norm, projections, separateExperts } from "./tensors.ts";

export const mixtral = defineFamily({
  modelType: "mixtral",
  forms: ["separate", "fused"],

  settings: v.object({
    ...common,
    ...rope,
    num_key_value_heads: v.nullish(dimension),
    head_dim: v.nullish(dimension),
    intermediate_size: dimension,
    num_local_experts: expertCount,
    num_experts_per_tok: expertCount,
    rms_norm_eps: v.optional(positive, 1e-5),
    hidden_act: v.optional(activation, "silu"),
    sliding_window: v.nullish(dimension),
  }),

  read(read) {
    const { num_attention_heads: heads, sliding_window: window } = read;
    const keyValueHeads = read.num_key_value_heads ?? heads;
    const width = headDimension(read);
    checkHeads(heads, keyValueHeads, width);
    const { rope, notComputed } = readRope(read, { theta: 1e6, width });
    const layers = [...Array(read.num_hidden_layers).keys()];
    return {
      vocabularySize: read.vocab_size,
      hiddenSize: read.hidden_size,
      layers: layers.length,
      expertLayers: layers,
      experts: read.num_local_experts,
      expertsPerToken: read.num_experts_per_tok,
      computation: {
        norm: { kind: "root-mean-square", epsilon: read.rms_norm_eps },
        rope,
        attention: { kind: "grouped-query", heads, keyValueHeads, headDimension: width, queryKeyNorm: "none" },
        ...(typeof window === "number" && { layers: layers.map(() => ({ window })) }),
        router: { kind: "top-k", scores: "softmax", normalizeTopK: true, scale: 1, weighs: "result" },
        experts: plainExperts,
        tieEmbeddings: read.tie_word_embeddings,
      },
      notComputed,
    };
  },

  tensors(architecture) {
    const { settings, form, hiddenSize: hidden, experts } = architecture;
    const { num_attention_heads: heads, intermediate_size: inner } = settings;
    const keyValueHeads = settings.num_key_value_heads ?? heads;
    const sizes = { experts, hidden, inner };
    const module = form === "fused" ? "mlp" : "block_sparse_moe";
    return decoderTensors(architecture, {
      tied: settings.tie_word_embeddings,
      layer: () => [
        norm("input_layernorm", hidden, "attention.norm"),
        ...projections({ hidden, heads, keyValueHeads, headDimension: headDimension(settings) }),
        norm("post_attention_layernorm", hidden, "feedForward.norm"),
        linear(`${module}.gate`, [experts, hidden], "router"),
        ...(form === "fused" ? fusedExperts(`${module}.experts`, sizes) : separateExperts(`${module}.experts`, sizes, ["w1", "w3", "w2"])),
      ],
    });
  },

  newConfig: (sizes) => ({
    architectures: ["MixtralForCausalLM"],
    vocab_size: sizes.vocabularySize,
    hidden_size: sizes.hiddenSize,
    num_hidden_layers: sizes.layers,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.keyValueHeads,
    intermediate_size: sizes.intermediateSize,
    num_local_experts: sizes.experts,
    num_experts_per_tok: sizes.expertsPerToken,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    tie_word_embeddings: false,
    hidden_act: "silu",
    sliding_window: null,
    max_position_embeddings: 4096,
    router_aux_loss_coef: 0.02,
    use_cache: true,
  }),
});
