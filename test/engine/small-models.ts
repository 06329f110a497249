/** Small models of both families, odd sizes included, with weights and text that are the same in every run. */
import { type Architecture, familyNamed } from "../../src/model/families/index.ts";
import { random } from "./graph/finite-differences.ts";

const shared = {
  vocabularySize: 13,
  layers: 2,
  expertLayers: [0, 1],
  denseIntermediateSize: 0,
  ropeTheta: 100,
  rmsNormEpsilon: 1e-5,
  notComputed: [],
};

/** Grouped queries, a norm for each head, an odd hidden size, renormalised gates, tied embeddings, a layer without experts. */
export const smallQwen3Moe: Architecture = {
  ...shared,
  family: "qwen3_moe",
  hiddenSize: 7,
  layers: 3,
  expertLayers: [0, 2],
  denseIntermediateSize: 9,
  heads: 4,
  keyValueHeads: 2,
  headDimension: 6,
  intermediateSize: 5,
  experts: 5,
  expertsPerToken: 2,
  normalizeTopK: true,
  queryKeyNorm: "head",
  tieEmbeddings: true,
};

/** As many key as query heads, norms over the full width, gates that are not renormalised, a head of its own. */
export const smallOlmoe: Architecture = {
  ...shared,
  family: "olmoe",
  hiddenSize: 6,
  heads: 3,
  keyValueHeads: 3,
  headDimension: 2,
  intermediateSize: 7,
  experts: 6,
  expertsPerToken: 3,
  normalizeTopK: false,
  queryKeyNorm: "full",
  tieEmbeddings: false,
};

export const smallModels: readonly Architecture[] = [smallQwen3Moe, smallOlmoe];

export function tensorNames(architecture: Architecture): string[] {
  return familyNamed(architecture.family)
    .tensors(architecture)
    .map(({ name }) => name);
}

/** Weights large enough that every part of the model matters to the loss. */
export function smallWeights(architecture: Architecture, seed = 1): Map<string, Float32Array> {
  return new Map(
    familyNamed(architecture.family)
      .tensors(architecture)
      .map(({ name, shape, part }, index) => {
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
