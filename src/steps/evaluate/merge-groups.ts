/**
 * The search of docs/protocol.md section 9: per group the longest list of contributors that passes the gate, then one scale for
 * all groups together. Deterministic given the losses; the decisions are the protocol's, and no more than a few tensors are in memory.
 */

import { outerStep } from "../../kernels/merge.ts";
import { openArena } from "../../kernels/module.ts";
import { placed, type Tensors, type Values } from "../../model/tensors.ts";
import { chooseScale, type DomainLosses, gateGroups, type Measured } from "../../protocol/gate.ts";
import type { Task } from "../../protocol/task.ts";
import { aggregate } from "./aggregate.ts";

export interface Contribution {
  readonly miner: string;
  readonly deltas: Tensors;
}

/** What a group brings to the merge: who passed the gate, and the gradient that they add up to. */
export interface GroupGradient {
  readonly group: number;
  readonly contributors: readonly string[];
  readonly gradient: Tensors;
}

export interface MergeOutcome {
  readonly merged: readonly { readonly group: number; readonly contributors: readonly string[] }[];
  /** The chosen step scale; 0 when nothing was merged. */
  readonly scale: number;
  /** Of all that is merged; undefined when nothing is. */
  readonly gradient?: Tensors;
  readonly before: DomainLosses;
  readonly after: DomainLosses;
}

export interface MergeSearch {
  readonly task: Task;
  /** As far as the version has any. */
  readonly momentum: Tensors;
  /** Losses of the base, and of the base plus each of these deltas. */
  readonly measure: (candidates: readonly Tensors[]) => Promise<Measured>;
}

export const nothing: Tensors = { sizes: new Map(), read: () => Promise.reject(new Error("there are no tensors")) };

/**
 * The contributors of some groups, each in merge order, through the gate at the smallest scale: one pass a round for all groups. All miners of a
 * group train the same experts.
 */
export async function gateContributions(
  search: MergeSearch,
  groups: readonly { readonly group: number; readonly ranked: readonly Contribution[] }[],
): Promise<GroupGradient[]> {
  const { task, measure } = search;
  const smallest = Math.min(...task.merge.scales);
  const gradients = groups.map(() => nothing);
  const passed = await gateGroups(
    groups.map(({ ranked }) => ranked),
    async (tried) => {
      for (const { group, contributors } of tried) {
        const deltas = contributors.map((contribution) => contribution.deltas);
        gradients[group] = await aggregate(deltas, task.merge);
      }
      return measure(tried.map(({ group }) => move(search, gradients[group] as Tensors, smallest)));
    },
  );
  return groups.map(({ group }, index) => {
    const contributors = (passed[index] ?? []).map(({ miner }) => miner);
    return { group, contributors, gradient: contributors.length === 0 ? nothing : (gradients[index] as Tensors) };
  });
}

/** Finds what is merged, and at which scale. */
export async function mergeGroups(search: MergeSearch, groups: readonly GroupGradient[]): Promise<MergeOutcome> {
  const { task, measure } = search;
  const passed = groups.filter(({ contributors }) => contributors.length > 0);
  const gradient = joined(passed.map((one) => one.gradient));
  const { base: before, candidates } = await measure(
    passed.length === 0 ? [] : task.merge.scales.map((scale) => move(search, gradient, scale)),
  );
  const chosen = chooseScale(before, candidates);
  if (chosen === undefined) return { merged: [], scale: 0, before, after: before };
  return {
    merged: passed.map(({ group, contributors }) => ({ group, contributors })),
    scale: task.merge.scales[chosen] as number,
    gradient,
    before,
    after: candidates[chosen] as DomainLosses,
  };
}

/** New fp32 weights and momentum of a tensor, given how to read its base; valid until the next is asked for. */
export type Step = (
  name: string,
  readBase: (into: Values) => Promise<unknown>,
) => Promise<{ readonly weights: Values; readonly momentum: Values }>;

/** The outer step by a gradient, one tensor after another, in an arena that holds the largest. */
export function openStep({ task, momentum }: Pick<MergeSearch, "task" | "momentum">, gradient: Tensors, scale: number): Step {
  const { learningRate, momentum: mu } = task.outer;
  const largest = Math.max(0, ...gradient.sizes.values());
  const arena = openArena(3 * largest, 3);
  const places = [arena.take(largest), arena.take(largest), arena.take(largest)] as const;
  return async (name, readBase) => {
    const size = gradient.sizes.get(name) ?? 0;
    const [values, before, base] = [places[0].subarray(0, size), places[1].subarray(0, size), places[2].subarray(0, size)];
    await gradient.read(name, values);
    if (momentum.sizes.has(name)) await momentum.read(name, before);
    else before.fill(0);
    await readBase(base);
    return outerStep({ base, gradient: values, momentum: before, learningRate, mu, scale }, { weights: base, momentum: before });
  };
}

/** How far the step moves the weights: `scale * step`, which added to them gives the step's bits. */
function move(search: MergeSearch, gradient: Tensors, scale: number): Tensors {
  const step = openStep(search, gradient, scale);
  return {
    sizes: gradient.sizes,
    // -0 is what can be added to any value, zeros of both signs among them, and leaves it as it is.
    read: async (name, into) => placed((await step(name, async (base) => base.fill(-0))).weights, into),
  };
}

function joined(parts: readonly Tensors[]): Tensors {
  const holder = new Map(parts.flatMap((part) => [...part.sizes.keys()].map((name) => [name, part] as const)));
  return {
    sizes: new Map(parts.flatMap(({ sizes }) => [...sizes])),
    read: (name, into) => (holder.get(name) as Tensors).read(name, into),
  };
}
