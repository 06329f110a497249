/** Phi-3.5-MoE: Mixtral's names, LayerNorms with biases, SparseMixer's router, biases of attention and head where the configuration says so. */
import * as v from "valibot";
import { plainExperts } from "./computation.ts";
import { activation, checkHeads, common, defineFamily, dimension, expertCount, flag, invalidConfig, positive } from "./config.ts";
import { readRope, rope } from "./rope.ts";
import { bias, decoderTensors, fusedExperts, linear, norm, projections, separateExperts } from "./tensors.ts";

export const phimoe = defineFamily({
  modelType: "phimoe",
  forms: ["separate", "fused"],

  settings: v.object({
    ...common,
    num_key_value_heads: dimension,
    intermediate_size: dimension,
    num_local_experts: expertCount,
    num_experts_per_tok: v.optional(expertCount, 2),
    attention_bias: v.optional(flag, false),
    lm_head_bias: v.optional(flag, false),
    ...rope,
    rms_norm_eps: v.optional(positive, 1e-5),
    sliding_window: v.nullish(dimension),
    router_jitter_noise: v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(1)), 0.01),
    hidden_act: v.optional(activation, "silu"),
  }),

  read(read) {
    const { hidden_size: hidden, num_attention_heads: heads } = read;
    if (hidden % heads !== 0) throw invalidConfig("num_attention_heads", `${heads} does not divide hidden_size ${hidden}`);
    checkHeads(heads, read.num_key_value_heads, hidden / heads);
    const turn = readRope(read, { theta: 1e6, width: hidden / heads });
    const layers = [...Array(read.num_hidden_layers).keys()];
    const { sliding_window: window } = read;
    return {
      vocabularySize: read.vocab_size,
      hiddenSize: hidden,
      layers: read.num_hidden_layers,
      expertLayers: layers,
      experts: read.num_local_experts,
      expertsPerToken: read.num_experts_per_tok,
      computation: {
        norm: { kind: "layer", epsilon: read.rms_norm_eps },
        rope: turn.rope,
        attention: {
          kind: "grouped-query",
          heads,
          keyValueHeads: read.num_key_value_heads,
          headDimension: hidden / heads,
          queryKeyNorm: "none",
        },
        ...(typeof window === "number" && { layers: layers.map(() => ({ window })) }),
        router: { kind: "sparse-mixer", tolerance: 2 * read.router_jitter_noise },
        experts: plainExperts,
        tieEmbeddings: read.tie_word_embeddings,
      },
      notComputed: [...turn.notComputed, ...(read.num_experts_per_tok === 2 ? [] : ["num_experts_per_tok"])],
    };
  },

  tensors(architecture) {
    const { settings, form, hiddenSize: hidden, vocabularySize, experts } = architecture;
    const { num_attention_heads: heads, num_key_value_heads: keyValueHeads } = settings;
    const sizes = { experts, hidden, inner: settings.intermediate_size };
    const expertRows =
      form === "fused"
        ? [linear("mlp.router", [experts, hidden], "router"), ...fusedExperts("mlp.experts", sizes)]
        : [
            linear("block_sparse_moe.gate", [experts, hidden], "router"),
            ...separateExperts("block_sparse_moe.experts", sizes, ["w1", "w3", "w2"]),
          ];
    const rows = [
      norm("input_layernorm", hidden, "attention.norm"),
      bias("input_layernorm", hidden, "attention.normBias"),
      ...projections({
        hidden,
        heads,
        keyValueHeads,
        headDimension: hidden / heads,
        biases: settings.attention_bias ? "all" : "none",
      }),
      norm("post_attention_layernorm", hidden, "feedForward.norm"),
      bias("post_attention_layernorm", hidden, "feedForward.normBias"),
      ...expertRows,
    ];
    return decoderTensors(architecture, {
      layer: () => rows,
      finalNorm: [norm("model.norm", hidden, "finalNorm"), bias("model.norm", hidden, "finalNormBias")],
      // Its head may have a bias where it is the embedding.
      tied: false,
      head: [
        ...(settings.tie_word_embeddings ? [] : [linear("lm_head", [vocabularySize, hidden], "head")]),
        ...(settings.lm_head_bias ? [bias("lm_head", vocabularySize, "headBias")] : []),
      ],
    });
  },

  newConfig: (sizes) => ({
    architectures: ["PhimoeForCausalLM"],
    vocab_size: sizes.vocabularySize,
    hidden_size: sizes.hiddenSize,
    num_hidden_layers: sizes.layers,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.keyValueHeads,
    intermediate_size: sizes.intermediateSize,
    num_local_experts: sizes.experts,
    num_experts_per_tok: sizes.expertsPerToken,
    attention_bias: true,
    lm_head_bias: true,
    router_jitter_noise: 0.01,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    tie_word_embeddings: false,
    hidden_act: "silu",
    sliding_window: null,
    max_position_embeddings: 4096,
    use_cache: true,
  }),
});
