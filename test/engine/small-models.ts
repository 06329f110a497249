/** Small models of both families, odd sizes included, with weights and text that are the same in every run. */
import { type Architecture, listWeights, readArchitecture } from "../../src/model/families/index.ts";
import { random } from "./graph/finite-differences.ts";

const shared = { vocab_size: 13, rope_theta: 100, rms_norm_eps: 1e-5 };

/** Grouped queries, a norm for each head, an odd hidden size, renormalised gates, tied embeddings, a layer without experts. */
export const smallQwen3Moe = readArchitecture({
  ...shared,
  model_type: "qwen3_moe",
  hidden_size: 7,
  num_hidden_layers: 3,
  mlp_only_layers: [1],
  intermediate_size: 9,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 6,
  moe_intermediate_size: 5,
  num_experts: 5,
  num_experts_per_tok: 2,
  norm_topk_prob: true,
  tie_word_embeddings: true,
});

/** As many key as query heads, norms over the full width, gates that are not renormalised, a head of its own. */
export const smallOlmoe = readArchitecture({
  ...shared,
  model_type: "olmoe",
  hidden_size: 6,
  num_hidden_layers: 2,
  num_attention_heads: 3,
  intermediate_size: 7,
  num_experts: 6,
  num_experts_per_tok: 3,
  norm_topk_prob: false,
});

export const smallModels: readonly Architecture[] = [smallQwen3Moe, smallOlmoe];

export function tensorNames(architecture: Architecture): string[] {
  return listWeights(architecture).map(({ name }) => name);
}

/** Weights large enough that every part of the model matters to the loss. */
export function smallWeights(architecture: Architecture, seed = 1): Map<string, Float32Array> {
  return new Map(
    listWeights(architecture).map(({ name, shape, part = "" }, index) => {
      const values = random(
        shape.reduce((product, length) => product * length, 1),
        seed * 1000 + index + 1,
      );
      if (part.toLowerCase().includes("norm")) return [name, values.map((value) => 1 + 0.3 * value)];
      // A gentle router, so that every expert gets tokens.
      return [name, part === "router" ? values.map((value) => 0.3 * value) : values];
    }),
  );
}

/** Sequences of `length` + 1 tokens. */
export function smallSequences(architecture: Architecture, count: number, length: number, seed = 1): Int32Array[] {
  const values = random(count * (length + 1), seed + 77);
  return Array.from({ length: count }, (_, sequence) =>
    Int32Array.from({ length: length + 1 }, (_, position) =>
      Math.floor(((values[sequence * (length + 1) + position]! + 1) / 2) * architecture.vocabularySize),
    ),
  );
}

export function inFloat64(weights: ReadonlyMap<string, Float32Array>): Map<string, Float64Array> {
  return new Map([...weights].map(([name, values]) => [name, Float64Array.from(values)]));
}
