/**
 * Qwen3-Next: three layers of linear attention (gated delta rule) to one of gated grouped-query attention, a shared expert with a
 * sigmoid gate. The modules that predict further tokens (`mtp.`) belong to no version.
 */
import * as v from "valibot";
import { checkHeads, common, defineFamily, dimension, expertCount, flag, invalidConfig, layerCount, layerList } from "./config.ts";
import { decoderTensors, denseNetwork, fusedExperts, linear, norm, projections, row, separateExperts, sharedNetwork } from "./tensors.ts";

export const qwen3Next = defineFamily({
  modelType: "qwen3_next",
  forms: ["separate", "fused"],

  settings: v.object({
    ...common,
    num_key_value_heads: dimension,
    head_dim: dimension,
    intermediate_size: v.optional(dimension),
    moe_intermediate_size: dimension,
    shared_expert_intermediate_size: dimension,
    num_experts: expertCount,
    num_experts_per_tok: expertCount,
    decoder_sparse_step: v.optional(layerCount, 1),
    mlp_only_layers: v.nullish(layerList),
    layer_types: v.nullish(v.pipe(v.array(v.picklist(["linear_attention", "full_attention"])), v.maxLength(4096))),
    full_attention_interval: v.optional(layerCount, 4),
    linear_conv_kernel_dim: dimension,
    linear_key_head_dim: dimension,
    linear_value_head_dim: dimension,
    linear_num_key_heads: dimension,
    linear_num_value_heads: dimension,
    attention_bias: v.optional(flag, false),
  }),

  read(read) {
    if (read.attention_bias) throw invalidConfig("attention_bias", "no published checkpoint of this family has attention biases");
    checkHeads(read.num_attention_heads, read.num_key_value_heads, read.head_dim);
    if (read.layer_types && read.layer_types.length !== read.num_hidden_layers)
      throw invalidConfig("layer_types", `${read.layer_types.length} types for ${read.num_hidden_layers} layers`);
    const dense = new Set(read.mlp_only_layers ?? []);
    const layers = [...Array(read.num_hidden_layers).keys()];
    const expertLayers = layers.filter((layer) => !dense.has(layer) && (layer + 1) % read.decoder_sparse_step === 0);
    if (expertLayers.length < layers.length && read.intermediate_size === undefined)
      throw invalidConfig("intermediate_size", "missing, and some layers have no experts");
    return {
      vocabularySize: read.vocab_size,
      hiddenSize: read.hidden_size,
      layers: read.num_hidden_layers,
      expertLayers,
      experts: read.num_experts,
      expertsPerToken: read.num_experts_per_tok,
      notComputed: [],
    };
  },

  tensors(architecture) {
    const { settings, form, hiddenSize: hidden, expertLayers, experts } = architecture;
    const { num_attention_heads: heads, num_key_value_heads: keyValueHeads, head_dim: headDimension } = settings;
    const { linear_num_value_heads: valueHeads, linear_value_head_dim: valueWidth } = settings;
    const keys = settings.linear_num_key_heads * settings.linear_key_head_dim;
    const values = valueHeads * valueWidth;
    const withExperts = new Set(expertLayers);
    const isFull = (layer: number) =>
      settings.layer_types ? settings.layer_types[layer] === "full_attention" : (layer + 1) % settings.full_attention_interval === 0;
    const linearAttention = [
      linear("linear_attn.in_proj_qkvz", [2 * keys + 2 * values, hidden]),
      linear("linear_attn.in_proj_ba", [2 * valueHeads, hidden]),
      row("linear_attn.conv1d.weight", [2 * keys + values, 1, settings.linear_conv_kernel_dim]),
      row("linear_attn.A_log", [valueHeads]),
      row("linear_attn.dt_bias", [valueHeads]),
      norm("linear_attn.norm", valueWidth),
      linear("linear_attn.out_proj", [hidden, values]),
    ];
    const [, ...others] = projections({ hidden, heads, keyValueHeads, headDimension });
    const fullAttention = [
      // Queries and, beside each, the gate of its head's output.
      linear("self_attn.q_proj", [2 * heads * headDimension, hidden]),
      ...others,
      norm("self_attn.q_norm", headDimension, "attention.queryNorm"),
      norm("self_attn.k_norm", headDimension, "attention.keyNorm"),
    ];
    const expertRows = [
      linear("mlp.gate", [experts, hidden], "router"),
      ...(form === "fused" ? fusedExperts : separateExperts)("mlp.experts", { experts, hidden, inner: settings.moe_intermediate_size }),
      ...sharedNetwork("mlp.shared_expert", hidden, settings.shared_expert_intermediate_size),
      linear("mlp.shared_expert_gate", [1, hidden]),
    ];
    const dense = denseNetwork("mlp", hidden, settings.intermediate_size ?? 0);
    return decoderTensors(architecture, {
      layer: (layer) => [
        norm("input_layernorm", hidden, "attention.norm"),
        ...(isFull(layer) ? fullAttention : linearAttention),
        norm("post_attention_layernorm", hidden, "feedForward.norm"),
        ...(withExperts.has(layer) ? expertRows : dense),
      ],
      tied: settings.tie_word_embeddings,
    });
  },

  unlisted: () => ({ leftOut: ["mtp."] }),
});
