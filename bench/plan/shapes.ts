/** The models of `npm run bench -- plan`: what is trained of them, and with what batches. */
import type { PlannedTraining } from "../../src/engine/plan.ts";
import type { OptimizerOptions } from "../../src/engine/trainer.ts";
import { type Architecture, familyNamed, listWeights, readArchitecture } from "../../src/model/families/index.ts";
import { submissionPlaces } from "../../src/model/submission.ts";
import { muonDefaults } from "../../src/protocol/task-defaults.ts";

export interface Shape {
  readonly architecture: Architecture;
  readonly sequenceLength: number;
  readonly batchSequences: number;
  readonly accumulation: number;
  /** Experts of each layer that are trained. */
  readonly trainedExperts: number;
  /** Only one value in ten can change. */
  readonly places?: boolean;
  /** All experts but the trained ones are stand-ins by use: two in five have no bits, the others 2 a value, packed until they are asked for. */
  readonly standIns?: boolean;
}

const size = (layers: number, hiddenSize: number, intermediateSize: number, experts: number, expertsPerToken: number) =>
  readArchitecture(
    familyNamed("qwen3_moe").newConfig?.({
      ...{ vocabularySize: 2048, layers, hiddenSize, intermediateSize, experts, expertsPerToken },
      ...{ heads: hiddenSize / 64, keyValueHeads: hiddenSize / 128, normalizeTopK: true },
    }) as Record<string, unknown>,
  );

const common = { torch_dtype: "float32", vocab_size: 2048, rms_norm_eps: 1e-6, max_position_embeddings: 2048 };

/** The first three are those that the plan's constants were measured on; the others tell whether they hold elsewhere. */
export const shapes: Readonly<Record<string, Shape>> = {
  "long sequences": { architecture: size(4, 256, 512, 8, 2), sequenceLength: 1024, batchSequences: 1, accumulation: 1, trainedExperts: 2 },
  "many experts": { architecture: size(4, 256, 256, 64, 8), sequenceLength: 128, batchSequences: 4, accumulation: 2, trainedExperts: 8 },
  "large weights": { architecture: size(6, 512, 1024, 16, 2), sequenceLength: 128, batchSequences: 1, accumulation: 1, trainedExperts: 2 },
  "all experts": { architecture: size(4, 512, 512, 8, 2), sequenceLength: 128, batchSequences: 1, accumulation: 1, trainedExperts: 8 },
  "stand-ins": {
    architecture: size(32, 512, 512, 16, 2),
    ...{ sequenceLength: 128, batchSequences: 1, accumulation: 1, trainedExperts: 2, standIns: true },
  },
  "deepseek_v2, shared experts": {
    architecture: readArchitecture({
      ...{ ...common, model_type: "deepseek_v2", hidden_size: 256, num_hidden_layers: 4, num_attention_heads: 4, num_key_value_heads: 4 },
      ...{ intermediate_size: 1024, moe_intermediate_size: 256, n_routed_experts: 16, num_experts_per_tok: 4, n_shared_experts: 2 },
      ...{ first_k_dense_replace: 1, q_lora_rank: null, kv_lora_rank: 64, qk_nope_head_dim: 64, qk_rope_head_dim: 32, v_head_dim: 64 },
      ...{ topk_method: "greedy", routed_scaling_factor: 1, norm_topk_prob: false, rope_theta: 10_000 },
    }),
    ...{ sequenceLength: 256, batchSequences: 4, accumulation: 1, trainedExperts: 4, places: true },
  },
  "qwen2_moe, shared expert": {
    architecture: readArchitecture({
      ...{ ...common, model_type: "qwen2_moe", hidden_size: 384, num_hidden_layers: 4, num_attention_heads: 6, num_key_value_heads: 2 },
      ...{
        intermediate_size: 512,
        moe_intermediate_size: 512,
        shared_expert_intermediate_size: 512,
        num_experts: 8,
        num_experts_per_tok: 2,
      },
    }),
    ...{ sequenceLength: 512, batchSequences: 2, accumulation: 2, trainedExperts: 2 },
  },
  "mixtral, one in ten": {
    architecture: readArchitecture({
      ...{ ...common, model_type: "mixtral", hidden_size: 512, num_hidden_layers: 4, num_attention_heads: 8, num_key_value_heads: 2 },
      ...{ intermediate_size: 1024, num_local_experts: 8, num_experts_per_tok: 2, rope_theta: 10_000 },
    }),
    ...{ sequenceLength: 256, batchSequences: 1, accumulation: 1, trainedExperts: 4, places: true },
  },
};

/** The optimizers that the plan is held to. */
const adamw = { learningRate: 1e-4, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0, clipNorm: 1 };
export const optimizers: Readonly<Record<string, OptimizerOptions>> = { adamw, muon: { ...adamw, muon: muonDefaults } };
export const threads = 2;

export function trainableOf({ architecture, trainedExperts }: Shape): string[] {
  return listWeights(architecture).flatMap(({ name, expert }) => (expert !== undefined && expert < trainedExperts ? [name] : []));
}

/** The only values that can change, by tensor, where not all can. */
export function placesOf(shape: Shape): Map<string, Uint32Array> | undefined {
  if (shape.places !== true) return undefined;
  const wanted = new Set(trainableOf(shape));
  const trained = listWeights(shape.architecture).filter(({ name }) => wanted.has(name));
  return submissionPlaces("signs-10", { task: "00".repeat(32), cycle: 0, group: 0 }, trained);
}

/** Whether an expert's tensors are a stand-in, and one of bits. */
export function standInOf({ standIns, trainedExperts }: Shape, expert: number | undefined): "none" | "packed" | undefined {
  if (standIns !== true || expert === undefined || expert < trainedExperts) return undefined;
  return expert % 5 < 2 ? "none" : "packed";
}

export function plannedOf(shape: Shape, optimizer: OptimizerOptions): PlannedTraining {
  const places = [...(placesOf(shape)?.values() ?? [])].reduce((sum, { length }) => sum + length, 0);
  const absent = listWeights(shape.architecture).flatMap(({ name, expert }) => (standInOf(shape, expert) === "none" ? [name] : []));
  return { ...shape, trainable: trainableOf(shape), optimizer, threads, places, absent: new Set(absent) };
}
