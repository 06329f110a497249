/**
 * The search of docs/protocol.md section 9: per group the longest list of contributors that passes the gate, then one scale for
 * all groups together. Deterministic given the losses; the decisions are the protocol's, and no more than a few tensors are in memory.
 */

import { outerStep } from "../../kernels/merge.ts";
import { placed, type Tensors, type Values } from "../../model/tensors.ts";
import { type Assessment, chooseScale, chooseStep, type DomainLosses, gateGroups } from "../../protocol/gate.ts";
import type { Task } from "../../protocol/task.ts";
import { aggregate, aggregationPlace } from "./aggregate.ts";
import { largestOf, openWorkplace, type Workplace } from "./workplace.ts";

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
  /** Of all that is merged, and the momentum that it is stepped with; undefined when nothing is. */
  readonly gradient?: Tensors;
  readonly momentum?: Tensors;
  readonly before: DomainLosses;
  readonly after: DomainLosses;
}

export interface MergeSearch {
  readonly task: Task;
  /** As far as the version has any. */
  readonly momentum: Tensors;
  /** Losses of the base, and what the base plus each of these deltas is to it. */
  readonly measure: (steps: readonly Tensors[]) => Promise<{ readonly before: DomainLosses; readonly assessed: readonly Assessment[] }>;
}

export const nothing: Tensors = { sizes: new Map(), read: () => Promise.reject(new Error("there are no tensors")) };

/**
 * The contributors of some groups, each in merge order, through the gate at the smallest scale: one pass a round for all groups. All miners of a
 * group train the same experts. They are tried from rest: where earlier cycles were going is not their doing.
 */
export async function gateContributions(
  search: MergeSearch,
  groups: readonly { readonly group: number; readonly ranked: readonly Contribution[] }[],
): Promise<GroupGradient[]> {
  const { task, measure } = search;
  const fromRest = { task, momentum: nothing };
  const smallest = Math.min(...task.merge.scales);
  const largest = Math.max(0, ...groups.flatMap(({ ranked }) => ranked.slice(0, 1).map(({ deltas }) => largestOf(deltas.sizes))));
  const most = Math.max(0, ...groups.map(({ ranked }) => ranked.length));
  // All groups take turns in the same memory.
  const place = aggregationPlace(most, largest);
  const steps = openWorkplace(3, largest);
  const gradients = groups.map(() => nothing);
  const passed = await gateGroups(
    groups.map(({ ranked }) => ranked),
    async (tried) => {
      for (const { group, contributors } of tried) {
        const deltas = contributors.map((contribution) => contribution.deltas);
        gradients[group] = await aggregate(deltas, task.merge, place);
      }
      const { assessed } = await measure(tried.map(({ group }) => move(fromRest, gradients[group] as Tensors, smallest, steps)));
      return assessed.map(({ gain }) => gain);
    },
  );
  return groups.map(({ group }, index) => {
    const contributors = (passed[index] ?? []).map(({ miner }) => miner);
    return { group, contributors, gradient: contributors.length === 0 ? nothing : (gradients[index] as Tensors) };
  });
}

/** Finds what is merged, at which scale, and with which momentum. */
export async function mergeGroups(search: MergeSearch, groups: readonly GroupGradient[]): Promise<MergeOutcome> {
  const { task, measure } = search;
  const passed = groups.filter(({ contributors }) => contributors.length > 0);
  const gradient = joined(passed.map((one) => one.gradient));
  const place = stepPlace(gradient.sizes);
  const scales = passed.length === 0 ? [] : task.merge.scales;
  const moving = task.outer.momentum > 0 && [...gradient.sizes.keys()].some((name) => search.momentum.sizes.has(name));
  const tryFrom = (momentum: Tensors) => measure(scales.map((scale) => move({ task, momentum }, gradient, scale, place)));
  const { before, assessed } = await tryFrom(search.momentum);
  const gainsOf = (list: readonly Assessment[]) => list.map(({ gain }) => gain);
  const isStuck = moving && chooseScale(gainsOf(assessed)) === undefined;
  const resting = isStuck ? (await tryFrom(nothing)).assessed : [];
  const chosen = chooseStep(gainsOf(assessed), gainsOf(resting));
  if (chosen === undefined) return { merged: [], scale: 0, before, after: before };
  const { losses } = (chosen.fromRest ? resting : assessed)[chosen.place] as Assessment;
  return {
    merged: passed.map(({ group, contributors }) => ({ group, contributors })),
    scale: scales[chosen.place] as number,
    gradient,
    momentum: chosen.fromRest ? nothing : search.momentum,
    before,
    after: losses,
  };
}

export type Stepped = { readonly weights: Values; readonly momentum: Values };

/** The arrays that a step works in. */
export function stepPlace(sizes: ReadonlyMap<string, number>): Workplace {
  return openWorkplace(3, largestOf(sizes));
}

export type OuterState = Pick<MergeSearch, "task" | "momentum">;

/** New fp32 weights and momentum of one tensor, given how to read its base; `work` has them for as long as it runs. */
export function step<T>(
  { task, momentum }: OuterState,
  { gradient, scale, place }: { readonly gradient: Tensors; readonly scale: number; readonly place: Workplace },
  name: string,
  readBase: (into: Values) => Promise<unknown>,
  work: (stepped: Stepped) => T | Promise<T>,
): Promise<T> {
  const { learningRate, momentum: mu } = task.outer;
  return place.use(gradient.sizes.get(name) ?? 0, async (places) => {
    const [values, before, base] = places as readonly [Values, Values, Values];
    await gradient.read(name, values);
    if (momentum.sizes.has(name)) await momentum.read(name, before);
    else before.fill(0);
    await readBase(base);
    return work(outerStep({ base, gradient: values, momentum: before, learningRate, mu, scale }, { weights: base, momentum: before }));
  });
}

/** How far the step moves the weights: `scale * step`, which added to them gives the step's bits. */
function move(state: OuterState, gradient: Tensors, scale: number, place: Workplace): Tensors {
  return {
    sizes: gradient.sizes,
    // -0 is what can be added to any value, zeros of both signs among them, and leaves it as it is.
    read: (name, into) => {
      const noBase = async (base: Values) => base.fill(-0);
      return step(state, { gradient, scale, place }, name, noBase, ({ weights }) =>
        placed(weights, into ?? new Float32Array(weights.length)),
      );
    },
  };
}

function joined(parts: readonly Tensors[]): Tensors {
  const holder = new Map(parts.flatMap((part) => [...part.sizes.keys()].map((name) => [name, part] as const)));
  return {
    sizes: new Map(parts.flatMap(({ sizes }) => [...sizes])),
    read: (name, into) => (holder.get(name) as Tensors).read(name, into),
  };
}
