/**
 * DeepSeek-V2: latent attention, first layers without experts, shared experts, and a softmax router that chooses among all experts (the Lite model) or among
 * those of the best groups.
 */
import * as v from "valibot";
import { plainExperts } from "./computation.ts";
import { activation, common, defineFamily, dimension, expertCount, layerCount, positive } from "./config.ts";
import { latentProjections, latentSettings, newLatentConfig, readLatent } from "./latent.ts";
import { rope } from "./rope.ts";
import { expertGroups, routerSettings } from "./routers.ts";
import { decoderTensors, denseNetwork, fusedExperts, linear, norm, separateExperts, sharedNetwork } from "./tensors.ts";

export const deepseekV2 = defineFamily({
  modelType: "deepseek_v2",
  forms: ["separate", "fused"],

  settings: v.object({
    ...common,
    ...latentSettings,
    ...rope,
    ...routerSettings,
    intermediate_size: dimension,
    moe_intermediate_size: dimension,
    n_routed_experts: expertCount,
    n_shared_experts: v.nullish(expertCount),
    num_experts_per_tok: expertCount,
    first_k_dense_replace: v.optional(v.union([v.literal(0), layerCount]), 0),
    moe_layer_freq: v.optional(layerCount, 1),
    rms_norm_eps: v.optional(positive, 1e-6),
    hidden_act: v.optional(activation, "silu"),
  }),

  read(read) {
    const layers = [...Array(read.num_hidden_layers).keys()];
    const { rope, notComputed, attention } = readLatent(read, true);
    const method = read.topk_method ?? "greedy";
    const groups = method === "group_limited_greedy" ? expertGroups(read, "largest") : undefined;
    return {
      vocabularySize: read.vocab_size,
      hiddenSize: read.hidden_size,
      layers: layers.length,
      expertLayers: layers.filter((layer) => layer >= read.first_k_dense_replace && layer % read.moe_layer_freq === 0),
      experts: read.n_routed_experts,
      expertsPerToken: read.num_experts_per_tok,
      computation: {
        norm: { kind: "root-mean-square", epsilon: read.rms_norm_eps },
        rope,
        attention,
        router: {
          kind: "top-k",
          scores: "softmax",
          normalizeTopK: false,
          scale: read.routed_scaling_factor,
          ...(groups && { groups }),
          weighs: "result",
        },
        experts: plainExperts,
        tieEmbeddings: read.tie_word_embeddings,
      },
      // What the authors' own code and transformers' disagree on, or only one of them has.
      notComputed: [
        ...notComputed,
        ...(["greedy", "group_limited_greedy"].includes(method) ? [] : ["topk_method"]),
        ...((read.scoring_func ?? "softmax") === "softmax" ? [] : ["scoring_func"]),
        ...(read.norm_topk_prob ? ["norm_topk_prob"] : []),
        ...(read.moe_layer_freq === 1 ? [] : ["moe_layer_freq"]),
      ],
    };
  },

  tensors(architecture) {
    const { settings, form, hiddenSize: hidden, expertLayers, experts } = architecture;
    const { moe_intermediate_size: inner, n_shared_experts: shared } = settings;
    const withExperts = new Set(expertLayers);
    const expertsOf = form === "fused" ? fusedExperts : separateExperts;
    const feedForward = [
      linear("mlp.gate", [experts, hidden], "router"),
      ...expertsOf("mlp.experts", { experts, hidden, inner }),
      ...(shared ? sharedNetwork("mlp.shared_experts", hidden, inner * shared) : []),
    ];
    const dense = denseNetwork("mlp", hidden, settings.intermediate_size);
    const attention = latentProjections(settings, hidden);
    return decoderTensors(architecture, {
      tied: settings.tie_word_embeddings,
      layer: (layer) => [
        norm("input_layernorm", hidden, "attention.norm"),
        ...attention,
        norm("post_attention_layernorm", hidden, "feedForward.norm"),
        ...(withExperts.has(layer) ? feedForward : dense),
      ],
    });
  },

  newConfig: (sizes) => ({
    architectures: ["DeepseekV2ForCausalLM"],
    ...newLatentConfig(sizes),
    topk_method: "greedy",
    scoring_func: "softmax",
    norm_topk_prob: false,
  }),
});
