/**
 * The search of docs/protocol.md section 9: per group the longest list of contributors that passes the gate, then one scale for
 * all groups together. Deterministic given the losses; the arithmetic and the decisions are the protocol's.
 */

import { aggregateDeltas } from "../../protocol/aggregate.ts";
import { chooseScale, type DomainLosses, gateGroup } from "../../protocol/gate.ts";
import { outerStep } from "../../protocol/outer-step.ts";
import type { Task } from "../../protocol/task.ts";
import type { Deltas } from "./candidates.ts";
import type { Tensors } from "./losses.ts";

export interface Contribution {
  readonly miner: string;
  readonly deltas: Deltas;
}

/** What a group brings to the merge: who passed the gate, and the gradient that they add up to, by tensor name. */
export interface GroupGradient {
  readonly group: number;
  readonly contributors: readonly string[];
  readonly gradient: Tensors;
}

/** New fp32 weights and momentum of each changed tensor, by name. */
export type Updates = Map<string, { readonly weights: Float32Array; readonly momentum: Float32Array }>;

export interface MergeOutcome {
  readonly merged: readonly { readonly group: number; readonly contributors: readonly string[] }[];
  /** The chosen step scale; 0 when nothing was merged. */
  readonly scale: number;
  readonly updates: Updates;
  readonly after: DomainLosses;
}

export interface MergeSearch {
  readonly task: Task;
  readonly base: Tensors;
  readonly momentum: Tensors;
  /** Losses of the base. */
  readonly before: DomainLosses;
  /** Losses of the base with these tensors replaced. */
  readonly measure: (weights: Tensors) => Promise<DomainLosses>;
}

/** One group's contributors, in merge order, through the gate at the smallest scale. All its miners train the same experts. */
export async function gateContributions(search: MergeSearch, group: number, ranked: readonly Contribution[]): Promise<GroupGradient> {
  const { task, before, measure } = search;
  const smallest = Math.min(...task.merge.scales);
  let gradient: Tensors = new Map();
  const { contributors } = await gateGroup(before, ranked, (tried) => {
    gradient = gradientOf(task, tried);
    return measure(weightsOf(step(search, gradient, smallest)));
  });
  if (contributors.length === 0) return { group, contributors: [], gradient: new Map() };
  return { group, contributors: contributors.map(({ miner }) => miner), gradient };
}

/** Finds and computes what is merged; `updates` is empty when nothing passes. */
export async function mergeGroups(search: MergeSearch, groups: readonly GroupGradient[]): Promise<MergeOutcome> {
  const { task, before, measure } = search;
  const passed = groups.filter(({ contributors }) => contributors.length > 0);
  const stepAll = (scale: number): Updates => new Map(passed.flatMap(({ gradient }) => [...step(search, gradient, scale)]));

  const losses: DomainLosses[] = [];
  if (passed.length > 0) for (const scale of task.merge.scales) losses.push(await measure(weightsOf(stepAll(scale))));
  const chosen = chooseScale(before, losses);
  if (chosen === undefined) return { merged: [], scale: 0, updates: new Map(), after: before };
  const scale = task.merge.scales[chosen] as number;
  return {
    merged: passed.map(({ group, contributors }) => ({ group, contributors })),
    scale,
    updates: stepAll(scale),
    after: losses[chosen] as DomainLosses,
  };
}

function gradientOf(task: Task, contributors: readonly Contribution[]): Tensors {
  const names = [...(contributors[0]?.deltas.keys() ?? [])];
  const deltas = contributors.map(({ deltas: own }) => names.map((name) => own.get(name) as Float32Array));
  const tensors = aggregateDeltas(deltas, task.merge);
  return new Map(names.map((name, index) => [name, tensors[index] as Float32Array]));
}

function step({ task, base, momentum }: MergeSearch, gradient: Tensors, scale: number): Updates {
  const { learningRate, momentum: mu } = task.outer;
  return new Map(
    [...gradient].map(([name, values]) => [
      name,
      outerStep({ base: base.get(name) as Float32Array, gradient: values, momentum: momentum.get(name), learningRate, mu, scale }),
    ]),
  );
}

function weightsOf(updates: Updates): Tensors {
  return new Map([...updates].map(([name, { weights }]) => [name, weights]));
}
