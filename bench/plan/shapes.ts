/** The models of `npm run bench -- plan`: what is trained of them, and with what batches. */
import type { OptimizerOptions } from "../../src/engine/trainer.ts";
import { type Architecture, familyNamed, listWeights, readArchitecture } from "../../src/model/families/index.ts";
import { muonDefaults } from "../../src/protocol/task-defaults.ts";

export interface Shape {
  readonly architecture: Architecture;
  readonly sequenceLength: number;
  readonly batchSequences: number;
  readonly accumulation: number;
  /** Experts of each layer that are trained. */
  readonly trainedExperts: number;
}

const size = (layers: number, hiddenSize: number, intermediateSize: number, experts: number, expertsPerToken: number) =>
  readArchitecture(
    familyNamed("qwen3_moe").newConfig?.({
      ...{ vocabularySize: 2048, layers, hiddenSize, intermediateSize, experts, expertsPerToken },
      ...{ heads: hiddenSize / 64, keyValueHeads: hiddenSize / 128, normalizeTopK: true },
    }) as Record<string, unknown>,
  );

export const shapes: Readonly<Record<string, Shape>> = {
  "long sequences": { architecture: size(4, 256, 512, 8, 2), sequenceLength: 1024, batchSequences: 1, accumulation: 1, trainedExperts: 2 },
  "many experts": { architecture: size(4, 256, 256, 64, 8), sequenceLength: 128, batchSequences: 4, accumulation: 2, trainedExperts: 8 },
  "large weights": { architecture: size(6, 512, 1024, 16, 2), sequenceLength: 128, batchSequences: 1, accumulation: 1, trainedExperts: 2 },
};

/** The optimizers that the plan is held to. */
const adamw = { learningRate: 1e-4, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0, clipNorm: 1 };
export const optimizers: Readonly<Record<string, OptimizerOptions>> = { adamw, muon: { ...adamw, muon: muonDefaults } };
export const threads = 2;

export function trainableOf({ architecture, trainedExperts }: Shape): string[] {
  return listWeights(architecture).flatMap(({ name, expert }) => (expert !== undefined && expert < trainedExperts ? [name] : []));
}
