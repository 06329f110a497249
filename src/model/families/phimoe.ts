/** Phi-3.5-MoE: Mixtral's names, LayerNorms with biases, SparseMixer's router, biases of attention and head where the configuration says so. */
import * as v from "valibot";
import { checkHeads, common, defineFamily, dimension, expertCount, flag, invalidConfig } from "./config.ts";
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
  }),

  read(read) {
    const { hidden_size: hidden, num_attention_heads: heads } = read;
    if (hidden % heads !== 0) throw invalidConfig("num_attention_heads", `${heads} does not divide hidden_size ${hidden}`);
    checkHeads(heads, read.num_key_value_heads, hidden / heads);
    return {
      vocabularySize: read.vocab_size,
      hiddenSize: hidden,
      layers: read.num_hidden_layers,
      expertLayers: [...Array(read.num_hidden_layers).keys()],
      experts: read.num_local_experts,
      expertsPerToken: read.num_experts_per_tok,
      notComputed: [],
    };
  },

  tensors(architecture) {
    const { settings, form, hiddenSize: hidden, vocabularySize, experts } = architecture;
    const { num_attention_heads: heads, num_key_value_heads: keyValueHeads } = settings;
    const sizes = { experts, hidden, inner: settings.intermediate_size };
    const keyValueWidth = (keyValueHeads * hidden) / heads;
    const biases = [
      bias("self_attn.q_proj", hidden),
      bias("self_attn.k_proj", keyValueWidth),
      bias("self_attn.v_proj", keyValueWidth),
      bias("self_attn.o_proj", hidden),
    ];
    const expertRows =
      form === "fused"
        ? [linear("mlp.router", [experts, hidden], "router"), ...fusedExperts("mlp.experts", sizes)]
        : [
            linear("block_sparse_moe.gate", [experts, hidden], "router"),
            ...separateExperts("block_sparse_moe.experts", sizes, ["w1", "w3", "w2"]),
          ];
    const rows = [
      norm("input_layernorm", hidden, "attention.norm"),
      bias("input_layernorm", hidden),
      ...projections({ hidden, heads, keyValueHeads, headDimension: hidden / heads }),
      ...(settings.attention_bias ? biases : []),
      norm("post_attention_layernorm", hidden, "feedForward.norm"),
      bias("post_attention_layernorm", hidden),
      ...expertRows,
    ];
    return decoderTensors(architecture, {
      layer: () => rows,
      finalNorm: [norm("model.norm", hidden, "finalNorm"), bias("model.norm", hidden)],
      head: [
        ...(settings.tie_word_embeddings ? [] : [linear("lm_head", [vocabularySize, hidden], "head")]),
        ...(settings.lm_head_bias ? [bias("lm_head", vocabularySize)] : []),
      ],
    });
  },
});
