/**
 * Llama 4: experts fused and transposed, [experts, in, out], gate before up; a shared expert beside them; layers without experts in
 * the larger model. Published with a vision tower, whose tensors are carried along unread; the text model alone has names without the
 * `language_model.` before them.
 */
import * as v from "valibot";
import {
  checkHeads,
  common,
  defineFamily,
  dimension,
  expertCount,
  flag,
  headDimension,
  invalidConfig,
  layerCount,
  layerList,
} from "./config.ts";
import { decoderTensors, denseNetwork, linear, norm, projections, row, sharedNetwork } from "./tensors.ts";

const text = v.object({
  ...common,
  published: flag,
  num_key_value_heads: dimension,
  head_dim: v.nullish(dimension),
  intermediate_size: dimension,
  intermediate_size_mlp: v.optional(dimension),
  num_local_experts: expertCount,
  num_experts_per_tok: v.optional(expertCount, 1),
  interleave_moe_layer_step: v.optional(layerCount, 1),
  moe_layers: v.nullish(layerList),
  attention_bias: v.optional(flag, false),
});

export const llama4 = defineFamily({
  modelType: "llama4",
  aliases: ["llama4_text"],
  forms: ["published", "text"],

  settings: v.pipe(
    v.looseObject({ text_config: v.optional(v.looseObject({})) }),
    v.transform(({ text_config: inside, ...own }) => ({ ...(inside ?? own), published: inside !== undefined })),
    text,
  ),

  read(read) {
    if (read.attention_bias) throw invalidConfig("attention_bias", "no published checkpoint of this family has attention biases");
    checkHeads(read.num_attention_heads, read.num_key_value_heads, headDimension(read));
    const layers = [...Array(read.num_hidden_layers).keys()];
    const chosen = new Set(read.moe_layers ?? layers.filter((layer) => (layer + 1) % read.interleave_moe_layer_step === 0));
    const expertLayers = layers.filter((layer) => chosen.has(layer));
    if (expertLayers.length < layers.length && read.intermediate_size_mlp === undefined)
      throw invalidConfig("intermediate_size_mlp", "missing, and some layers have no experts");
    return {
      form: read.published ? "published" : "text",
      vocabularySize: read.vocab_size,
      hiddenSize: read.hidden_size,
      layers: read.num_hidden_layers,
      expertLayers,
      experts: read.num_local_experts,
      expertsPerToken: read.num_experts_per_tok,
      notComputed: [],
    };
  },

  tensors(architecture) {
    const { settings, form, hiddenSize: hidden, vocabularySize, expertLayers, experts } = architecture;
    const { num_attention_heads: heads, num_key_value_heads: keyValueHeads, intermediate_size: inner } = settings;
    const withExperts = new Set(expertLayers);
    const dense = denseNetwork("feed_forward", hidden, settings.intermediate_size_mlp ?? 0);
    const expertRows = [
      linear("feed_forward.router", [experts, hidden], "router"),
      { ...row("feed_forward.experts.gate_up_proj", [experts, hidden, 2 * inner]), fusedExperts: experts },
      { ...row("feed_forward.experts.down_proj", [experts, inner, hidden]), fusedExperts: experts },
      ...sharedNetwork("feed_forward.shared_expert", hidden, inner),
    ];
    return decoderTensors(architecture, {
      under: form === "text" ? "" : "language_model.",
      layer: (layer) => [
        norm("input_layernorm", hidden, "attention.norm"),
        ...projections({ hidden, heads, keyValueHeads, headDimension: headDimension(settings) }),
        norm("post_attention_layernorm", hidden, "feedForward.norm"),
        ...(withExperts.has(layer) ? expertRows : dense),
      ],
      finalNorm: [norm("model.norm", hidden, "finalNorm")],
      head: settings.tie_word_embeddings ? [] : [linear("lm_head", [vocabularySize, hidden], "head")],
    });
  },

  unlisted: () => ({ carried: ["vision_model.", "multi_modal_projector."] }),
});
