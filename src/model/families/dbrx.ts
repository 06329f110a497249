/**
 * DBRX: queries, keys and values in one projection, LayerNorms without biases, experts flat: the rows of all experts of a layer one
 * after another, [experts * inner, hidden], for the gate (`w1`), up (`v1`) and, transposed, down (`w2`).
 */
import * as v from "valibot";
import { checkHeads, defineFamily, dimension, expertCount, flag, invalidConfig, layerCount } from "./config.ts";
import { inLayers, linear, norm, outside, row } from "./tensors.ts";

export const dbrx = defineFamily({
  modelType: "dbrx",

  settings: v.object({
    vocab_size: dimension,
    d_model: dimension,
    n_layers: layerCount,
    n_heads: dimension,
    attn_config: v.object({ kv_n_heads: dimension }),
    ffn_config: v.object({ ffn_hidden_size: dimension, moe_num_experts: expertCount, moe_top_k: expertCount }),
    tie_word_embeddings: v.optional(flag, false),
  }),

  read(read) {
    const { d_model: hidden, n_heads: heads } = read;
    if (hidden % heads !== 0) throw invalidConfig("n_heads", `${heads} does not divide d_model ${hidden}`);
    checkHeads(heads, read.attn_config.kv_n_heads, hidden / heads);
    return {
      vocabularySize: read.vocab_size,
      hiddenSize: hidden,
      layers: read.n_layers,
      expertLayers: [...Array(read.n_layers).keys()],
      experts: read.ffn_config.moe_num_experts,
      expertsPerToken: read.ffn_config.moe_top_k,
      notComputed: [],
    };
  },

  tensors({ settings, hiddenSize: hidden, vocabularySize, layers, experts }) {
    const inner = settings.ffn_config.ffn_hidden_size;
    const keyValueWidth = (settings.attn_config.kv_n_heads * hidden) / settings.n_heads;
    const flat = (name: string) => ({ ...row(`ffn.experts.mlp.${name}`, [experts * inner, hidden]), fusedExperts: experts });
    const rows = [
      norm("norm_attn_norm.norm_1", hidden, "attention.norm"),
      linear("norm_attn_norm.attn.Wqkv", [hidden + 2 * keyValueWidth, hidden]),
      linear("norm_attn_norm.attn.out_proj", [hidden, hidden], "attention.output"),
      norm("norm_attn_norm.norm_2", hidden, "feedForward.norm"),
      linear("ffn.router.layer", [experts, hidden], "router"),
      flat("w1"),
      flat("v1"),
      flat("w2"),
    ];
    return [
      ...outside([row("transformer.wte.weight", [vocabularySize, hidden], "embedding")]),
      ...inLayers("transformer.blocks", layers, () => rows),
      ...outside([
        norm("transformer.norm_f", hidden, "finalNorm"),
        ...(settings.tie_word_embeddings ? [] : [linear("lm_head", [vocabularySize, hidden], "head")]),
      ]),
    ];
  },
});
