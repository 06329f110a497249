/**
 * gpt-oss: grouped-query attention with biases and sinks, router with a bias, experts fused with their biases. Published with the
 * experts in MXFP4: blocks of 32 values, two to a byte, and a scale of one byte for each block. Written out in full the matrices
 * stand transposed, [in, out], gate and up in alternating columns.
 */
import * as v from "valibot";
import { checkHeads, common, defineFamily, dimension, expertCount, flag, invalidConfig } from "./config.ts";
import { bias, decoderTensors, linear, norm, projections, type Row, row } from "./tensors.ts";

const blockValues = 32;

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
    quantization_config: v.nullish(v.object({ quant_method: v.optional(v.string()) })),
  }),

  read(read) {
    checkHeads(read.num_attention_heads, read.num_key_value_heads, read.head_dim);
    const packed = read.quantization_config?.quant_method === "mxfp4";
    if (packed && (read.hidden_size % blockValues !== 0 || read.intermediate_size % blockValues !== 0))
      throw invalidConfig("hidden_size", `MXFP4 wants widths of whole blocks of ${blockValues} values`);
    return {
      form: packed ? "mxfp4" : "unpacked",
      vocabularySize: read.vocab_size,
      hiddenSize: read.hidden_size,
      layers: read.num_hidden_layers,
      expertLayers: [...Array(read.num_hidden_layers).keys()],
      experts: read.num_local_experts,
      expertsPerToken: read.num_experts_per_tok,
      notComputed: [],
    };
  },

  tensors(architecture) {
    const { settings, form, hiddenSize: hidden, vocabularySize, experts } = architecture;
    const { num_attention_heads: heads, num_key_value_heads: keyValueHeads, head_dim: headDimension, intermediate_size: inner } = settings;
    const matrix = form === "mxfp4" ? packedMatrix : plainMatrix;
    const biases = [
      bias("self_attn.q_proj", heads * headDimension),
      bias("self_attn.k_proj", keyValueHeads * headDimension),
      bias("self_attn.v_proj", keyValueHeads * headDimension),
      bias("self_attn.o_proj", hidden),
    ];
    const rows = [
      norm("input_layernorm", hidden, "attention.norm"),
      ...projections({ hidden, heads, keyValueHeads, headDimension }),
      ...(settings.attention_bias ? biases : []),
      row("self_attn.sinks", [heads]),
      norm("post_attention_layernorm", hidden, "feedForward.norm"),
      linear("mlp.router", [experts, hidden], "router"),
      bias("mlp.router", experts),
      ...matrix("mlp.experts.gate_up_proj", experts, 2 * inner, hidden),
      ...matrix("mlp.experts.down_proj", experts, hidden, inner),
    ];
    return decoderTensors(architecture, {
      layer: () => rows,
      finalNorm: [norm("model.norm", hidden, "finalNorm")],
      head: settings.tie_word_embeddings ? [] : [linear("lm_head", [vocabularySize, hidden], "head")],
    });
  },
});

function plainMatrix(name: string, experts: number, out: number, width: number): Row[] {
  return [
    { ...row(name, [experts, width, out]), fusedExperts: experts },
    { ...row(`${name}_bias`, [experts, out]), fusedExperts: experts },
  ];
}

function packedMatrix(name: string, experts: number, out: number, width: number): Row[] {
  const blocks = [experts, out, width / blockValues];
  const packed = { fusedExperts: experts, dtype: "U8" } as const;
  return [
    { ...row(`${name}_blocks`, [...blocks, blockValues / 2]), ...packed, parametersPerElement: 2 },
    { ...row(`${name}_scales`, blocks), ...packed, parametersPerElement: 0 },
    { ...row(`${name}_bias`, [experts, out]), fusedExperts: experts },
  ];
}
