/**
 * One measurement of transfer: a slice (backbone, one group's experts, something in place of all others) is trained on a domain, and what it
 * learned is put into the whole model. Transfer is the whole model's gain for each nat that the slice gained.
 */

import { type Evaluator, openEvaluator } from "../../src/engine/evaluator.ts";
import { openTrainer } from "../../src/engine/trainer.ts";
import type { Architecture, TensorSpec } from "../../src/model/families/index.ts";
import type { LayerMoments } from "../../src/model/make-stand-ins.ts";
import type { ExpertScores } from "../../src/protocol/experts/esft.ts";
import type { RouterStatistics } from "../../src/protocol/experts/router-statistics.ts";
import { hashFields } from "../../src/protocol/hash.ts";
import { createWalk } from "../../src/protocol/walk.ts";

export interface Domain {
  readonly name: string;
  readonly train: readonly Int32Array[];
  readonly heldOut: readonly Int32Array[];
  /** Held out as well, for choices that must not be made by `heldOut`. */
  readonly pool: readonly Int32Array[];
  readonly scores: ExpertScores;
}

export interface TrainedBase {
  readonly architecture: Architecture;
  readonly specs: readonly TensorSpec[];
  readonly weights: ReadonlyMap<string, Float32Array>;
  readonly domains: readonly Domain[];
  readonly sequenceLength: number;
}

export interface Base extends TrainedBase {
  /** What the experts do with both domains, as the owner of a task would measure it. */
  readonly statistics: RouterStatistics;
  readonly moments: readonly LayerMoments[];
}

/** Which experts a group has, by layer. */
export type Group = (layer: number, expert: number) => boolean;

export interface StandIns {
  readonly values: ReadonlyMap<string, Float32Array>;
  /** Bits a parameter of the missing experts. */
  readonly bits: number;
}

export interface Policy {
  readonly name: string;
  standIns(base: Base, missing: readonly TensorSpec[], domain: Domain, group: Group): StandIns;
}

export interface Outcome {
  readonly sliceBefore: number;
  readonly sliceAfter: number;
  readonly wholeBefore: number;
  readonly wholeAfter: number;
  readonly bits: number;
}

export interface Training {
  readonly steps: number;
  readonly learningRate: number;
  readonly batchSequences: number;
  readonly threads: number;
}

const mean = (values: Float64Array) => values.reduce((sum, value) => sum + value, 0) / values.length;
const optimizer = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0, clipNorm: 1 };

export async function measure(base: Base, domain: Domain, group: Group, policy: Policy, training: Training): Promise<Outcome> {
  const { architecture, specs, weights, sequenceLength } = base;
  const experts = specs.filter(({ role }) => role === "expert");
  const own = experts.filter(({ layer, expert }) => group(layer as number, expert as number));
  const missing = experts.filter(({ layer, expert }) => !group(layer as number, expert as number));
  const { values, bits } = policy.standIns(base, missing, domain, group);
  const slice = new Map([...weights, ...values]);
  const names = own.map(({ name }) => name);
  const learned = await train(base, slice, names, [domain.train], training);
  const after = new Map([...slice, ...learned]);
  const merged = new Map(
    [...learned].map(([name, tensor]) => {
      const [from, to] = [slice.get(name) as Float32Array, weights.get(name) as Float32Array];
      return [name, tensor.map((value, index) => (to[index] as number) + value - (from[index] as number))];
    }),
  );
  const evaluator = await openEvaluator({ architecture, weights, sequenceLength, batchSequences: 8, threads: training.threads });
  try {
    const loss = async (tensors: ReadonlyMap<string, Float32Array>) => {
      evaluator.replace(tensors);
      return mean(await (evaluator as Evaluator).losses(domain.heldOut));
    };
    return {
      wholeBefore: await loss(weights),
      wholeAfter: await loss(new Map([...weights, ...merged])),
      sliceBefore: await loss(slice),
      sliceAfter: await loss(after),
      bits,
    };
  } finally {
    evaluator.dispose();
  }
}

async function train(
  { architecture, sequenceLength }: Base,
  weights: ReadonlyMap<string, Float32Array>,
  trainable: readonly string[],
  texts: readonly (readonly Int32Array[])[],
  { steps, learningRate, batchSequences, threads }: Training,
): Promise<Map<string, Float32Array>> {
  const trainer = await openTrainer({
    architecture,
    weights,
    trainable,
    optimizer: { ...optimizer, learningRate },
    sequenceLength,
    batchSequences,
    threads,
  });
  try {
    const walk = createWalk(
      texts.map(({ length }) => [{ shard: 0, first: 0, sequences: length }]),
      hashFields("connito/bench-transfer/1"),
    );
    for (let step = 0; step < steps; step++) {
      const batch = Array.from({ length: batchSequences }, (_, place) => {
        const { domain, index } = walk.at(step * batchSequences + place);
        return texts[domain]?.[index] as Int32Array;
      });
      await trainer.step([batch], { learningRate: learningRate * (1 - step / steps) });
    }
    return await trainer.weights();
  } finally {
    trainer.dispose();
  }
}
