/**
 * gpt-oss: grouped-query attention with biases and sinks, router with a bias, experts fused with their biases. Published with the
 * experts in MXFP4: blocks of 32 values, two to a byte, and a scale of one byte for each block. Written out in full the matrices
 * stand transposed, [in, out], gate and up in alternating columns.
 */
import * as v from "valibot";
import type { LayerRules } from "./computation.ts";
import {
  activation,
  checkHeads,
  common,
  defineFamily,
  dimension,
  expertCount,
  flag,
  invalidConfig,
  layerTypes,
  positive,
  slidingLayer,
} from "./config.ts";
import { blocksName, blockValues, scalesName } from "./mxfp4.ts";
import { readRope, rope } from "./rope.ts";
import { bias, decoderTensors, linear, norm, projections, type Row, row } from "./tensors.ts";

/** How the published models scale positions, and what transformers takes where a configuration says nothing. */
const usualScaling = {
  rope_type: "yarn",
  factor: 32,
  beta_fast: 32,
  beta_slow: 1,
  truncate: false,
  original_max_position_embeddings: 4096,
};

export const gptOss = defineFamily({
  modelType: "gpt_oss",
  forms: ["mxfp4", "unpacked"],

  settings: v.object({
    ...common,
    num_key_value_heads: dimension,
    head_dim: dimension,
    intermediate_size: dimension,
    num_local_experts: expertCount,
    num_experts_per_tok: v.optional(expertCount, 4),
    attention_bias: v.optional(flag, true),
    ...rope,
    rms_norm_eps: v.optional(positive, 1e-5),
    sliding_window: v.nullish(dimension, 128),
    layer_types: layerTypes,
    swiglu_alpha: v.optional(positive, 1.702),
    swiglu_limit: v.optional(positive, 7),
    hidden_act: v.optional(activation, "silu"),
    quantization_config: v.nullish(v.object({ quant_method: v.optional(v.string()) })),
  }),

  read(read) {
    checkHeads(read.num_attention_heads, read.num_key_value_heads, read.head_dim);
    const packed = read.quantization_config?.quant_method === "mxfp4";
    if (packed && (read.hidden_size % blockValues !== 0 || read.intermediate_size % blockValues !== 0))
      throw invalidConfig("hidden_size", `MXFP4 wants widths of whole blocks of ${blockValues} values`);
    const scaling = read.rope_parameters || read.rope_scaling ? {} : { rope_scaling: usualScaling };
    const turn = readRope({ ...read, ...scaling }, { theta: 150_000, width: read.head_dim });
    const { sliding_window: window } = read;
    const rules = (layer: number): LayerRules => {
      const kind = read.layer_types?.[layer] ?? (layer % 2 === 0 ? slidingLayer : "full_attention");
      return kind === slidingLayer && window !== null ? { window } : {};
    };
    return {
      form: packed ? "mxfp4" : "unpacked",
      vocabularySize: read.vocab_size,
      hiddenSize: read.hidden_size,
      layers: read.num_hidden_layers,
      expertLayers: [...Array(read.num_hidden_layers).keys()],
      experts: read.num_local_experts,
      expertsPerToken: read.num_experts_per_tok,
      computation: {
        norm: { kind: "root-mean-square", epsilon: read.rms_norm_eps },
        rope: turn.rope,
        attention: {
          kind: "grouped-query",
          heads: read.num_attention_heads,
          keyValueHeads: read.num_key_value_heads,
          headDimension: read.head_dim,
          queryKeyNorm: "none",
        },
        layers: Array.from({ length: read.num_hidden_layers }, (_, layer) => rules(layer)),
        router: { kind: "top-k", scores: "softmax", normalizeTopK: true, scale: 1, weighs: "result" },
        experts: { activation: { steepness: read.swiglu_alpha, limit: read.swiglu_limit }, inputFirst: true, alternating: true },
        tieEmbeddings: read.tie_word_embeddings,
      },
      notComputed: turn.notComputed,
    };
  },

  tensors(architecture) {
    const { settings, form, hiddenSize: hidden, experts } = architecture;
    const { num_attention_heads: heads, num_key_value_heads: keyValueHeads, head_dim: headDimension, intermediate_size: inner } = settings;
    const matrix = form === "mxfp4" ? packedMatrix : plainMatrix;
    const rows = [
      norm("input_layernorm", hidden, "attention.norm"),
      ...projections({ hidden, heads, keyValueHeads, headDimension, biases: settings.attention_bias ? "all" : "none" }),
      row("self_attn.sinks", [heads], "attention.sinks"),
      norm("post_attention_layernorm", hidden, "feedForward.norm"),
      linear("mlp.router", [experts, hidden], "router"),
      bias("mlp.router", experts, "routerBias"),
      ...matrix("gateUp", experts, 2 * inner, hidden),
      ...matrix("down", experts, hidden, inner),
    ];
    return decoderTensors(architecture, {
      layer: () => rows,
      tied: settings.tie_word_embeddings,
    });
  },

  newConfig: (sizes) => ({
    architectures: ["GptOssForCausalLM"],
    vocab_size: sizes.vocabularySize,
    hidden_size: sizes.hiddenSize,
    num_hidden_layers: sizes.layers,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.keyValueHeads,
    head_dim: Math.floor(sizes.hiddenSize / sizes.heads),
    intermediate_size: sizes.intermediateSize,
    num_local_experts: sizes.experts,
    num_experts_per_tok: sizes.expertsPerToken,
    attention_bias: true,
    sliding_window: 128,
    layer_types: Array.from({ length: sizes.layers }, (_, layer) => (layer % 2 === 0 ? slidingLayer : "full_attention")),
    rms_norm_eps: 1e-5,
    rope_theta: 150_000,
    rope_scaling: usualScaling,
    tie_word_embeddings: false,
    hidden_act: "silu",
    max_position_embeddings: 131_072,
    router_aux_loss_coef: 0.9,
    use_cache: true,
  }),
});

const matrixNames = { gateUp: "mlp.experts.gate_up_proj", down: "mlp.experts.down_proj" } as const;
type Matrix = keyof typeof matrixNames;

function plainMatrix(matrix: Matrix, experts: number, out: number, width: number): Row[] {
  const name = matrixNames[matrix];
  return [
    { ...row(name, [experts, width, out], `expert.${matrix}`), fusedExperts: experts },
    { ...row(`${name}_bias`, [experts, out], `expert.${matrix}Bias`), fusedExperts: experts },
  ];
}

function packedMatrix(matrix: Matrix, experts: number, out: number, width: number): Row[] {
  const name = matrixNames[matrix];
  const blocks = [experts, out, width / blockValues];
  const packed = { fusedExperts: experts, dtype: "U8" } as const;
  return [
    { ...row(blocksName(name), [...blocks, blockValues / 2]), ...packed, parametersPerElement: 2 },
    { ...row(scalesName(name), blocks), ...packed, parametersPerElement: 0 },
    { ...row(`${name}_bias`, [experts, out], `expert.${matrix}Bias`), fusedExperts: experts },
  ];
}
