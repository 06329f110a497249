/**
 * Llama 4: experts fused and transposed, [experts, in, out], gate before up; a shared expert beside them; layers without experts in
 * the larger model. Published with a vision tower, whose tensors are carried along unread; the text model alone has names without the
 * `language_model.` before them.
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
  headDimension,
  invalidConfig,
  layerCount,
  layerList,
  layerTypes,
  positive,
} from "./config.ts";
import { readRope, rope } from "./rope.ts";
import { decoderTensors, denseNetwork, linear, norm, projections, row, sharedNetwork } from "./tensors.ts";

const chunkedLayer = "chunked_attention";

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
  ...rope,
  rms_norm_eps: v.optional(positive, 1e-5),
  hidden_act: v.optional(activation, "silu"),
  use_qk_norm: v.optional(flag, true),
  no_rope_layers: v.nullish(v.pipe(v.array(v.picklist([0, 1])), v.maxLength(4096))),
  no_rope_layer_interval: v.optional(layerCount, 4),
  layer_types: layerTypes,
  attention_chunk_size: v.nullish(dimension, 8192),
  /** Older writers put a number here. */
  attn_temperature_tuning: v.optional(v.union([flag, v.number()]), true),
  floor_scale: v.optional(dimension, 8192),
  attn_scale: v.optional(positive, 0.1),
});

/** Layers with rotary positions attend within chunks; those without, everywhere, and more sharply the further on they are. */
function rulesOf(read: v.InferOutput<typeof text>, layer: number): LayerRules {
  const given = read.no_rope_layers?.length ? read.no_rope_layers[layer] : undefined;
  const turned = (given ?? Number((layer + 1) % read.no_rope_layer_interval !== 0)) === 1;
  const chunked = (read.layer_types?.[layer] ?? (turned ? chunkedLayer : "full_attention")) === chunkedLayer;
  const { attention_chunk_size: chunk, floor_scale: length, attn_scale: scale } = read;
  return {
    ...(chunked && chunk !== null && { chunk }),
    ...(!turned && { unturned: true }),
    ...(!turned && read.attn_temperature_tuning && { temperature: { length, scale } }),
  };
}

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
    const { num_attention_heads: heads, num_key_value_heads: keyValueHeads } = read;
    checkHeads(heads, keyValueHeads, headDimension(read));
    const turn = readRope(read, { theta: 500_000, width: headDimension(read), interleaved: true });
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
      computation: {
        norm: { kind: "root-mean-square", epsilon: read.rms_norm_eps },
        rope: turn.rope,
        attention: {
          kind: "grouped-query",
          heads,
          keyValueHeads,
          headDimension: headDimension(read),
          queryKeyNorm: read.use_qk_norm ? "after-rotation" : "none",
        },
        layers: layers.map((layer) => rulesOf(read, layer)),
        router: { kind: "top-k", scores: "sigmoid", normalizeTopK: false, scale: 1, weighs: "input" },
        experts: { activation: "swiglu", inputFirst: true, alternating: false },
        tieEmbeddings: read.tie_word_embeddings,
      },
      notComputed: turn.notComputed,
    };
  },

  tensors(architecture) {
    const { settings, form, hiddenSize: hidden, expertLayers, experts } = architecture;
    const { num_attention_heads: heads, num_key_value_heads: keyValueHeads, intermediate_size: inner } = settings;
    const withExperts = new Set(expertLayers);
    const dense = denseNetwork("feed_forward", hidden, settings.intermediate_size_mlp ?? 0);
    const expertRows = [
      linear("feed_forward.router", [experts, hidden], "router"),
      { ...row("feed_forward.experts.gate_up_proj", [experts, hidden, 2 * inner], "expert.gateUp"), fusedExperts: experts },
      { ...row("feed_forward.experts.down_proj", [experts, inner, hidden], "expert.down"), fusedExperts: experts },
      ...sharedNetwork("feed_forward.shared_expert", hidden, inner),
    ];
    return decoderTensors(architecture, {
      under: form === "text" ? "" : "language_model.",
      layer: (layer) => [
        norm("input_layernorm", hidden, "attention.norm"),
        ...projections({
          hidden,
          heads,
          keyValueHeads,
          headDimension: headDimension(settings),
          biases: settings.attention_bias ? "all" : "none",
        }),
        norm("post_attention_layernorm", hidden, "feedForward.norm"),
        ...(withExperts.has(layer) ? expertRows : dense),
      ],
      tied: settings.tie_word_embeddings,
    });
  },

  unlisted: () => ({ carried: ["vision_model.", "multi_modal_projector."] }),

  newConfig: (sizes) => ({
    model_type: "llama4_text",
    architectures: ["Llama4ForCausalLM"],
    vocab_size: sizes.vocabularySize,
    hidden_size: sizes.hiddenSize,
    num_hidden_layers: sizes.layers,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.keyValueHeads,
    head_dim: Math.floor(sizes.hiddenSize / sizes.heads),
    intermediate_size: sizes.intermediateSize,
    intermediate_size_mlp: 2 * sizes.intermediateSize,
    num_local_experts: sizes.experts,
    num_experts_per_tok: sizes.expertsPerToken,
    interleave_moe_layer_step: 1,
    use_qk_norm: true,
    no_rope_layer_interval: 4,
    attention_chunk_size: 8192,
    attn_temperature_tuning: true,
    floor_scale: 8192,
    attn_scale: 0.1,
    rms_norm_eps: 1e-5,
    rope_theta: 500_000,
    tie_word_embeddings: false,
    attention_bias: false,
    hidden_act: "silu",
    max_position_embeddings: 131_072,
    router_aux_loss_coef: 0.001,
    use_cache: true,
  }),
});
