/**
 * The search of docs/protocol.md section 9: per group the longest list of contributors that passes the gate, then one scale for
 * all groups together. Deterministic given the losses; the arithmetic and the decisions are the protocol's.
 */

import { chooseScale, type DomainLosses, gateGroup } from "../../protocol/gate.ts";
import { averageDeltas, outerStep } from "../../protocol/outer-step.ts";
import type { Task } from "../../protocol/task.ts";
import type { Deltas } from "./candidates.ts";

export interface Contribution {
  readonly miner: string;
  readonly deltas: Deltas;
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

type Tensors = ReadonlyMap<string, Float32Array>;

export interface MergeSearch {
  readonly task: Task;
  readonly base: Tensors;
  readonly momentum: Tensors;
  /** By group, in merge order. */
  readonly contributions: readonly (readonly Contribution[])[];
  /** Losses of the base. */
  readonly before: DomainLosses;
  /** Losses of the base with these tensors replaced. */
  readonly measure: (weights: Tensors) => Promise<DomainLosses>;
}

/** Finds and computes what is merged; `updates` is empty when nothing passes. */
export async function mergeGroups(search: MergeSearch): Promise<MergeOutcome> {
  const { task, before, measure } = search;
  const smallest = Math.min(...task.merge.scales);
  const passed: { group: number; contributors: readonly Contribution[] }[] = [];
  for (const [group, ranked] of search.contributions.entries()) {
    const { contributors } = await gateGroup(before, ranked, (tried) => measure(weightsOf(step(search, tried, smallest))));
    if (contributors.length > 0) passed.push({ group, contributors });
  }
  const stepAll = (scale: number): Updates => new Map(passed.flatMap(({ contributors }) => [...step(search, contributors, scale)]));

  const losses: DomainLosses[] = [];
  if (passed.length > 0) for (const scale of task.merge.scales) losses.push(await measure(weightsOf(stepAll(scale))));
  const chosen = chooseScale(before, losses);
  if (chosen === undefined) return { merged: [], scale: 0, updates: new Map(), after: before };
  const scale = task.merge.scales[chosen] as number;
  return {
    merged: passed.map(({ group, contributors }) => ({ group, contributors: contributors.map((contributor) => contributor.miner) })),
    scale,
    updates: stepAll(scale),
    after: losses[chosen] as DomainLosses,
  };
}

/** One group's outer step. All its miners train the same experts, so every contribution has the same tensors. */
function step({ task, base, momentum }: MergeSearch, contributors: readonly Contribution[], scale: number): Updates {
  const { learningRate, momentum: mu } = task.outer;
  const names = [...(contributors[0]?.deltas.keys() ?? [])];
  return new Map(
    names.map((name) => {
      const gradient = averageDeltas(contributors.map(({ deltas }) => deltas.get(name) as Float32Array));
      return [name, outerStep({ base: base.get(name) as Float32Array, gradient, momentum: momentum.get(name), learningRate, mu, scale })];
    }),
  );
}

function weightsOf(updates: Updates): Tensors {
  return new Map([...updates].map(([name, { weights }]) => [name, weights]));
}
