/**
 * The names that the families after LLaMA share: pre-norm decoder, `self_attn` with separate projections, and experts under
 * `mlp.experts.E`. A family that deviates writes its own list.
 */
import type { Architecture, Part, TensorSpec } from "./family.ts";

/** Every tensor in the per-expert layout. Where `queryKeyNorm` is "full" the norms span all heads, where "head" one. */
export function decoderTensors(architecture: Architecture): TensorSpec[] {
  const { vocabularySize, hiddenSize, layers, heads, keyValueHeads, headDimension, experts, queryKeyNorm } = architecture;
  const { intermediateSize, denseIntermediateSize } = architecture;
  const specs: TensorSpec[] = [];
  const withExperts = new Set(architecture.expertLayers);
  const queryWidth = heads * headDimension;
  const keyValueWidth = keyValueHeads * headDimension;

  specs.push({ name: "model.embed_tokens.weight", shape: [vocabularySize, hiddenSize], role: "backbone", part: "embedding" });
  for (let layer = 0; layer < layers; layer++) {
    const backbone = (name: string, shape: number[], part: Part) => {
      specs.push({ name: `model.layers.${layer}.${name}.weight`, shape, role: "backbone", part, layer });
    };
    backbone("input_layernorm", [hiddenSize], "attention.norm");
    backbone("self_attn.q_proj", [queryWidth, hiddenSize], "attention.query");
    backbone("self_attn.k_proj", [keyValueWidth, hiddenSize], "attention.key");
    backbone("self_attn.v_proj", [keyValueWidth, hiddenSize], "attention.value");
    backbone("self_attn.o_proj", [hiddenSize, queryWidth], "attention.output");
    if (queryKeyNorm !== "none") {
      backbone("self_attn.q_norm", [queryKeyNorm === "full" ? queryWidth : headDimension], "attention.queryNorm");
      backbone("self_attn.k_norm", [queryKeyNorm === "full" ? keyValueWidth : headDimension], "attention.keyNorm");
    }
    backbone("post_attention_layernorm", [hiddenSize], "feedForward.norm");
    if (!withExperts.has(layer)) {
      backbone("mlp.gate_proj", [denseIntermediateSize, hiddenSize], "dense.gate");
      backbone("mlp.up_proj", [denseIntermediateSize, hiddenSize], "dense.up");
      backbone("mlp.down_proj", [hiddenSize, denseIntermediateSize], "dense.down");
      continue;
    }
    backbone("mlp.gate", [experts, hiddenSize], "router");
    for (let expert = 0; expert < experts; expert++) {
      const routed = (name: string, shape: number[], part: Part) => {
        specs.push({ name: `model.layers.${layer}.mlp.experts.${expert}.${name}.weight`, shape, role: "expert", part, layer, expert });
      };
      routed("gate_proj", [intermediateSize, hiddenSize], "expert.gate");
      routed("up_proj", [intermediateSize, hiddenSize], "expert.up");
      routed("down_proj", [hiddenSize, intermediateSize], "expert.down");
    }
  }
  specs.push({ name: "model.norm.weight", shape: [hiddenSize], role: "backbone", part: "finalNorm" });
  if (!architecture.tieEmbeddings) {
    specs.push({ name: "lm_head.weight", shape: [vocabularySize, hiddenSize], role: "backbone", part: "head" });
  }
  return specs;
}
