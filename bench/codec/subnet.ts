/**
 * A group of a subnet, without chain and files: in each cycle its miners train its experts on shares of their own, say what they changed through a codec, and
 * what they said is gated, averaged and stepped by the code of the product's merge. What comes of it is the held-out loss after each cycle.
 */

import { openEvaluator } from "../../src/engine/evaluator.ts";
import { placeRate } from "../../src/engine/places.ts";
import { type OptimizerOptions, openTrainer } from "../../src/engine/trainer.ts";
import type { Codec } from "../../src/model/codecs/index.ts";
import type { TensorSpec } from "../../src/model/families/index.ts";
import { submissionPlaces } from "../../src/model/submission.ts";
import { type Tensors, tensorsOf } from "../../src/model/tensors.ts";
import { assess, domainLosses } from "../../src/protocol/gate.ts";
import { hashFields, u16 } from "../../src/protocol/hash.ts";
import { placesSeed } from "../../src/protocol/places.ts";
import type { Task } from "../../src/protocol/task.ts";
import { outerOfPlaces, taskDefaults } from "../../src/protocol/task-defaults.ts";
import { createWalk } from "../../src/protocol/walk.ts";
import {
  type Contribution,
  gateContributions,
  type MergeSearch,
  mergeGroups,
  step,
  stepPlace,
} from "../../src/steps/evaluate/merge-groups.ts";
import { batchSequences } from "../transfer/base.ts";
import type { Domain, TrainedBase } from "../transfer/experiment.ts";

type Named = ReadonlyMap<string, Float32Array>;

export const inner = { learningRate: 5e-4, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.01, clipNorm: 1 };
/** The part of a task that says how to merge and to measure, as a task of this codec has it unless the subnet differs. */
export const rulesOf = ({ places: { outer, scales } }: Subnet, policy: Policy) => {
  const { merge, evaluation } = taskDefaults;
  if (!stepsAsPlaces(policy)) return { outer: taskDefaults.outer, merge, evaluation };
  return { outer: { ...taskDefaults.outer, ...outer }, merge: { ...merge, scales }, evaluation };
};
const taskHash = hashFields("connito/bench-codec/1");
const gateSequences = taskDefaults.evaluation.sequencesPerDomain * 2 ** (taskDefaults.evaluation.stages - 1);

/** A way of sending. */
export interface Policy {
  readonly name: string;
  /** Everything in fp32 where left out. */
  readonly codec?: Codec;
  /** Trains everything, and sends the codec's places of it. */
  readonly dense?: boolean;
  /** What a cycle's submission could not say is added to the next one's change. */
  readonly feedback?: boolean;
  /** Everything is trained and sent, and stepped as places are. */
  readonly outerOfPlaces?: boolean;
}

/** Whether only the codec's places are trained, and others in each cycle. */
export const trainsPlaces = ({ codec, dense }: Policy) => codec?.place !== undefined && !dense;
export const stepsAsPlaces = (policy: Policy) => trainsPlaces(policy) || policy.outerOfPlaces === true;

/** How codecs of places are used. */
export interface PlaceUse {
  /** What the learning rate is multiplied by. */
  readonly rate: number;
  readonly outer: { readonly learningRate: number; readonly momentum: number };
  readonly scales: readonly number[];
  /** Cycles that share places; momentum goes on where they are. */
  readonly period: number;
  /** What signs could not say is added to the next change at the same places. */
  readonly feedback: boolean;
}

/** As a task has it by default. */
export const placeUse: PlaceUse = {
  rate: placeRate,
  outer: outerOfPlaces,
  scales: taskDefaults.merge.scales,
  period: 1,
  feedback: false,
};

export interface Subnet {
  readonly base: TrainedBase;
  readonly domain: Domain;
  readonly optimizer: OptimizerOptions;
  readonly miners: number;
  /** Of a cycle. */
  readonly steps: number;
  readonly places: PlaceUse;
  readonly threads: number;
  /** One miner's change is added as it is: what a cycle of training is worth, whatever becomes of it in a merge. */
  readonly alone?: boolean;
}

/** The mean held-out loss in nats per token, before the first cycle and after each. */
export async function* losses(subnet: Subnet, policy: Policy): AsyncGenerator<number, never> {
  const { base, domain, miners, threads } = subnet;
  const { architecture, sequenceLength } = base;
  const task = rulesOf(subnet, policy) as unknown as Task;
  const trained = base.specs.filter(({ role, expert }) => role === "expert" && (expert as number) < architecture.experts / 2);
  const evaluator = await openEvaluator({ architecture, weights: base.weights, sequenceLength, batchSequences: 16, threads });
  const lossOf = async (weights: Named, sequences: readonly Int32Array[]) => {
    evaluator.replace(weights);
    return mean(await evaluator.losses(sequences));
  };
  let version: Named = new Map(trained.map(({ name }) => [name, base.weights.get(name) as Float32Array]));
  let momentum: Named = new Map();
  const owed: Map<string, Float32Array>[] = Array.from({ length: miners }, () => new Map());
  try {
    yield await lossOf(version, domain.heldOut);
    for (let cycle = 0; ; cycle++) {
      const drawn = placesIn(subnet, policy, trained, cycle);
      if (drawn !== undefined) momentum = new Map([...momentum].map(([name, values]) => [name, only(values, drawn.get(name))]));
      if (drawn !== undefined && drawnIn(subnet, cycle) === cycle) for (const own of owed) own.clear();
      const contributions: Contribution[] = [];
      for (let miner = 0; miner < miners; miner++) {
        const change = await learn(subnet, { version, cycle, miner, ...(drawn && { places: drawn }) });
        const said = say(subnet, policy, { change, cycle, owed: owed[miner] as Map<string, Float32Array> });
        contributions.push({ miner: `${miner}`, deltas: tensorsOf(said) });
      }
      if (subnet.alone) {
        version = await moved(version, contributions[0]?.deltas);
        yield await lossOf(version, domain.heldOut);
        continue;
      }
      const gate = Array.from(
        { length: gateSequences },
        (_, i) => domain.pool[(cycle * gateSequences + i) % domain.pool.length] as Int32Array,
      );
      const rules = { drawn: gate.map((_, index) => ({ domain: 0, index })), domains: 1, errorRate: taskDefaults.merge.errorRate };
      const measured = async (delta?: Tensors) => {
        evaluator.replace(await moved(version, delta));
        return evaluator.losses(gate);
      };
      const base = await measured();
      const measure: MergeSearch["measure"] = async (candidates) => {
        const assessed = [];
        for (const candidate of candidates) assessed.push(assess(rules, base, await measured(candidate)));
        return { before: domainLosses(base, rules.drawn, 1), assessed };
      };
      const search: MergeSearch = { task, momentum: tensorsOf(momentum), measure };
      const outcome = await mergeGroups(search, await gateContributions(search, [{ group: 0, ranked: contributions }]));
      const { gradient, scale } = outcome;
      if (gradient !== undefined) {
        const [weights, velocity] = [new Map<string, Float32Array>(), new Map<string, Float32Array>()];
        const how = { gradient, scale, place: stepPlace(gradient.sizes) };
        for (const [name, values] of version) {
          await step(
            { task, momentum: outcome.momentum as Tensors },
            how,
            name,
            async (into) => into.set(values),
            (stepped) => {
              weights.set(name, stepped.weights.slice());
              velocity.set(name, stepped.momentum.slice());
            },
          );
        }
        [version, momentum] = [weights, velocity];
      }
      yield await lossOf(version, domain.heldOut);
    }
  } finally {
    evaluator.dispose();
  }
}

interface Turn {
  readonly version: Named;
  readonly cycle: number;
  readonly miner: number;
  readonly places?: ReadonlyMap<string, Uint32Array>;
}

/** What a miner's training in a cycle changes. */
async function learn({ base, domain, optimizer, miners, steps, places: { rate }, threads }: Subnet, turn: Turn): Promise<Named> {
  const { version, cycle, miner, places } = turn;
  const { architecture, sequenceLength } = base;
  const options = { architecture, trainable: [...version.keys()], optimizer, sequenceLength, batchSequences, threads };
  const weights = new Map([...base.weights, ...version]);
  const trainer = await openTrainer({ ...options, weights, ...(places && { places }) });
  const sequences = Math.floor(domain.train.length / miners);
  const walk = createWalk([[{ shard: 0, first: miner * sequences, sequences }]], hashFields("connito/bench-codec/1", u16(miner)));
  try {
    for (let turns = 0; turns < steps; turns++) {
      const first = (cycle * steps + turns) * batchSequences;
      const batch = Array.from({ length: batchSequences }, (_, place) => domain.train[walk.at(first + place).index] as Int32Array);
      await trainer.step([batch], { learningRate: optimizer.learningRate * (1 - turns / steps) * (places ? rate : 1) });
    }
    const after = await trainer.weights();
    return new Map([...version].map(([name, values]) => [name, difference(after.get(name) as Float32Array, values)]));
  } finally {
    trainer.dispose();
  }
}

/** The cycle whose places this one has. */
const drawnIn = ({ places: { period } }: Subnet, cycle: number) => cycle - (cycle % period);

/** The values that a cycle's miners train, by tensor; undefined where they train all. */
function placesIn(subnet: Subnet, policy: Policy, trained: readonly TensorSpec[], cycle: number): Map<string, Uint32Array> | undefined {
  // What is not rounded has the places of signs.
  if (!trainsPlaces(policy)) return undefined;
  return submissionPlaces("signs-10", { task: taskHash, cycle: drawnIn(subnet, cycle), group: 0 }, trained);
}

/** The values at some places, and zeros elsewhere. */
function only(values: Float32Array, places: Uint32Array | undefined): Float32Array {
  const kept = new Float32Array(values.length);
  for (const place of places ?? []) kept[place] = values[place] as number;
  return kept;
}

interface Saying {
  readonly change: Named;
  readonly cycle: number;
  /** What earlier submissions could not say, and from now on this one. */
  readonly owed: Map<string, Float32Array>;
}

/** What the others read of a change. */
function say(subnet: Subnet, policy: Policy, { change, cycle, owed }: Saying): Named {
  const { codec } = policy;
  if (codec === undefined) return change;
  const feedback = policy.feedback ?? (trainsPlaces(policy) && subnet.places.feedback);
  return new Map(
    [...change].map(([name, values]) => {
      const seed = placesSeed({ task: taskHash, cycle: drawnIn(subnet, cycle), group: 0 }, name);
      const wanted = feedback ? sum(values, owed.get(name)) : values;
      const said = codec.decode(codec.encode(wanted, seed), wanted.length, seed);
      if (feedback) owed.set(name, difference(wanted, said));
      return [name, said];
    }),
  );
}

async function moved(version: Named, delta: Tensors | undefined): Promise<Named> {
  if (delta === undefined) return version;
  const result = new Map<string, Float32Array>();
  for (const [name, values] of version) result.set(name, sum(values, await delta.read(name)));
  return result;
}

function sum(a: Float32Array, b: Float32Array | undefined): Float32Array {
  return b === undefined ? a : a.map((value, index) => value + (b[index] as number));
}

function difference(a: Float32Array, b: Float32Array): Float32Array {
  return a.map((value, index) => value - (b[index] as number));
}

const mean = (values: Float64Array) => values.reduce((total, value) => total + value, 0) / values.length;
