/** Jamba: Mamba layers with a layer of grouped-query attention now and then, experts in every second layer and dense networks between. */
import * as v from "valibot";
import { checkHeads, common, defineFamily, dimension, expertCount, flag, invalidConfig, layerCount } from "./config.ts";
import { bias, decoderTensors, denseNetwork, fusedExperts, linear, norm, projections, row, separateExperts } from "./tensors.ts";

const offset = v.union([v.literal(0), layerCount]);

export const jamba = defineFamily({
  modelType: "jamba",
  forms: ["separate", "fused"],

  settings: v.object({
    ...common,
    num_key_value_heads: dimension,
    intermediate_size: dimension,
    num_experts: expertCount,
    num_experts_per_tok: expertCount,
    expert_layer_period: layerCount,
    expert_layer_offset: offset,
    attn_layer_period: layerCount,
    attn_layer_offset: offset,
    mamba_d_state: dimension,
    mamba_d_conv: dimension,
    mamba_expand: dimension,
    mamba_dt_rank: v.union([v.literal("auto"), dimension], "neither auto nor a size"),
    mamba_conv_bias: v.optional(flag, true),
    mamba_proj_bias: v.optional(flag, false),
  }),

  read(read) {
    const { hidden_size: hidden, num_attention_heads: heads } = read;
    if (hidden % heads !== 0) throw invalidConfig("num_attention_heads", `${heads} does not divide hidden_size ${hidden}`);
    checkHeads(heads, read.num_key_value_heads, hidden / heads);
    if (read.mamba_expand > 1024) throw invalidConfig("mamba_expand", `${read.mamba_expand} is too wide`);
    return {
      vocabularySize: read.vocab_size,
      hiddenSize: hidden,
      layers: read.num_hidden_layers,
      expertLayers: [...Array(read.num_hidden_layers).keys()].filter(
        (layer) => layer % read.expert_layer_period === read.expert_layer_offset,
      ),
      experts: read.num_experts,
      expertsPerToken: read.num_experts_per_tok,
      notComputed: [],
    };
  },

  tensors(architecture) {
    const { settings, form, hiddenSize: hidden, expertLayers, experts } = architecture;
    const { num_attention_heads: heads, num_key_value_heads: keyValueHeads, intermediate_size: inner } = settings;
    const { mamba_d_state: state, mamba_conv_bias: convolutionBias, mamba_proj_bias: projectionBias } = settings;
    const width = settings.mamba_expand * hidden;
    const rank = settings.mamba_dt_rank === "auto" ? Math.ceil(hidden / 16) : settings.mamba_dt_rank;
    const withExperts = new Set(expertLayers);
    const mamba = [
      row("mamba.A_log", [width, state]),
      row("mamba.D", [width]),
      linear("mamba.in_proj", [2 * width, hidden]),
      row("mamba.conv1d.weight", [width, 1, settings.mamba_d_conv]),
      ...(convolutionBias ? [bias("mamba.conv1d", width)] : []),
      linear("mamba.x_proj", [rank + 2 * state, width]),
      linear("mamba.dt_proj", [width, rank]),
      bias("mamba.dt_proj", width),
      norm("mamba.dt_layernorm", rank),
      norm("mamba.b_layernorm", state),
      norm("mamba.c_layernorm", state),
      linear("mamba.out_proj", [hidden, width]),
      ...(projectionBias ? [bias("mamba.in_proj", 2 * width), bias("mamba.out_proj", hidden)] : []),
    ];
    const attention = projections({ hidden, heads, keyValueHeads, headDimension: hidden / heads });
    const dense = denseNetwork("feed_forward", hidden, inner);
    const expertRows = [
      linear("feed_forward.router", [experts, hidden], "router"),
      ...(form === "fused" ? fusedExperts : separateExperts)("feed_forward.experts", { experts, hidden, inner }),
    ];
    return decoderTensors(architecture, {
      layer: (layer) => [
        norm("input_layernorm", hidden, "attention.norm"),
        ...(layer % settings.attn_layer_period === settings.attn_layer_offset ? attention : mamba),
        norm("pre_ff_layernorm", hidden, "feedForward.norm"),
        ...(withExperts.has(layer) ? expertRows : dense),
      ],
      finalNorm: [norm("model.final_layernorm", hidden, "finalNorm")],
      tied: settings.tie_word_embeddings,
    });
  },
});
