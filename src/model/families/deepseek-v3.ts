/**
 * DeepSeek-V3: multi-head latent attention, sigmoid router with a correction bias and groups of experts, shared experts, dense layers
 * first. Published in FP8 with a scale for each block of 128 by 128. The layer after the last, which predicts a further token, belongs
 * to no version.
 */
import * as v from "valibot";
import { plainExperts } from "./computation.ts";
import { activation, common, defineFamily, dimension, expertCount, flag, layerCount, positive } from "./config.ts";
import { latentProjections, latentSettings, newLatentConfig, readLatent } from "./latent.ts";
import { rope } from "./rope.ts";
import { correctedRouter, routerSettings } from "./routers.ts";
import { decoderTensors, denseNetwork, fusedExperts, linear, norm, row, separateExperts, sharedNetwork } from "./tensors.ts";

export const deepseekV3 = defineFamily({
  modelType: "deepseek_v3",
  forms: ["separate", "fused"],

  settings: v.object({
    ...common,
    ...latentSettings,
    intermediate_size: dimension,
    moe_intermediate_size: dimension,
    n_routed_experts: expertCount,
    n_shared_experts: v.optional(expertCount, 1),
    num_experts_per_tok: expertCount,
    first_k_dense_replace: v.optional(v.union([v.literal(0), layerCount]), 0),
    moe_layer_freq: v.optional(layerCount, 1),
    rope_interleave: v.nullish(flag, true),
    ...rope,
    ...routerSettings,
    rms_norm_eps: v.optional(positive, 1e-6),
    hidden_act: v.optional(activation, "silu"),
  }),

  read(read) {
    const layers = [...Array(read.num_hidden_layers).keys()];
    const { rope, attention, notComputed: ofRope } = readLatent(read, read.rope_interleave ?? true);
    const { router, notComputed } = correctedRouter(read);
    return {
      vocabularySize: read.vocab_size,
      hiddenSize: read.hidden_size,
      layers: read.num_hidden_layers,
      expertLayers: layers.filter((layer) => layer >= read.first_k_dense_replace && layer % read.moe_layer_freq === 0),
      experts: read.n_routed_experts,
      expertsPerToken: read.num_experts_per_tok,
      computation: {
        norm: { kind: "root-mean-square", epsilon: read.rms_norm_eps },
        rope,
        attention,
        router,
        experts: plainExperts,
        tieEmbeddings: read.tie_word_embeddings,
      },
      notComputed: [...ofRope, ...notComputed, ...(read.moe_layer_freq === 1 ? [] : ["moe_layer_freq"])],
    };
  },

  tensors(architecture) {
    const { settings, form, hiddenSize: hidden, expertLayers, experts } = architecture;
    const inner = settings.moe_intermediate_size;
    const withExperts = new Set(expertLayers);
    const dense = denseNetwork("mlp", hidden, settings.intermediate_size);
    const expertRows = [
      linear("mlp.gate", [experts, hidden], "router"),
      row("mlp.gate.e_score_correction_bias", [experts], "router.correction"),
      ...(form === "fused" ? fusedExperts : separateExperts)("mlp.experts", { experts, hidden, inner }),
      ...sharedNetwork("mlp.shared_experts", hidden, inner * settings.n_shared_experts),
    ];
    const attention = latentProjections(settings, hidden);
    return decoderTensors(architecture, {
      layer: (layer) => [
        norm("input_layernorm", hidden, "attention.norm"),
        ...attention,
        norm("post_attention_layernorm", hidden, "feedForward.norm"),
        ...(withExperts.has(layer) ? expertRows : dense),
      ],
      tied: settings.tie_word_embeddings,
    });
  },

  unlisted: ({ layers }) => ({ leftOut: [`model.layers.${layers}.`] }),

  newConfig: (sizes) => ({
    architectures: ["DeepseekV3ForCausalLM"],
    ...newLatentConfig(sizes),
    n_group: 1,
    topk_group: 1,
    topk_method: "noaux_tc",
    scoring_func: "sigmoid",
    norm_topk_prob: true,
    routed_scaling_factor: 2.5,
    num_nextn_predict_layers: 0,
  }),
});
