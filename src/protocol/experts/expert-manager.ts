/**
 * The expert manager knows a model's experts, splits them into groups and assigns miners to groups (docs/protocol.md, section 5,
 * levels 0 and 1). It knows nothing of tensors: a layout says which layers have experts, and how many.
 */
import { ConnitoError } from "../../errors.ts";
import type { Hash } from "../hash.ts";
import type { Task } from "../task.ts";
import { type Assignment, assignMiners, type Candidate } from "./assignment.ts";
import { checkGrouping, type ExpertGrouping, evenGroups } from "./grouping.ts";

export type { Assignment, Candidate } from "./assignment.ts";

/** The layers that have routed experts, rising. */
export interface ExpertLayout {
  readonly layers: readonly { readonly layer: number; readonly experts: number }[];
}

/** Experts of one layer, rising. */
export interface LayerExperts {
  readonly layer: number;
  readonly experts: readonly number[];
}

export interface ExpertManager {
  readonly layout: ExpertLayout;
  readonly groups: number;
  /** The group of an expert. Throws `no-such-expert`. */
  groupOf(layer: number, expert: number): number;
  /** The group of every expert, layer by layer. */
  layers(): { readonly layer: number; readonly groupOf: readonly number[] }[];
  /** A group's experts, every layer of the layout, rising. Throws `no-such-group`. */
  expertsOf(group: number): LayerExperts[];
  /** Level 1: which miner trains which group in a cycle. */
  assign(input: {
    readonly cycle: number;
    readonly task: Pick<Task, "cycle" | "assignment">;
    readonly seed: Hash;
    readonly miners: readonly Candidate[];
  }): Assignment;
}

function invalid(code: string, message: string, hint: string): ConnitoError {
  return new ConnitoError(message, { code, exit: "invalidInput", hint });
}

function checkLayout(layout: ExpertLayout): void {
  const rising = layout.layers.every(({ layer }, index) => index === 0 || layer > (layout.layers[index - 1]?.layer ?? 0));
  const whole = layout.layers.every(
    ({ layer, experts }) => Number.isSafeInteger(layer) && layer >= 0 && Number.isSafeInteger(experts) && experts > 0,
  );
  if (layout.layers.length > 0 && rising && whole) return;
  throw invalid(
    "expert-layout-invalid",
    "The model's expert layout has no layers, layers out of order, or a layer without experts",
    "Use a Mixture-of-Experts checkpoint of a known family; `connito model inspect` shows what is in it.",
  );
}

/** Numbers of groups that divide every layer's experts. */
export function possibleGroups(layout: ExpertLayout): number[] {
  const fewest = Math.min(...layout.layers.map(({ experts }) => experts));
  const counts = Array.from({ length: fewest }, (_, index) => index + 1);
  return counts.filter((groups) => layout.layers.every(({ experts }) => experts % groups === 0));
}

/**
 * Splits a model's experts into groups: evenly, or as a grouping says. Throws `expert-layout-invalid`, `groups-do-not-divide` naming the
 * numbers of groups that would do, or `grouping-invalid`.
 */
export function createExpertManager(layout: ExpertLayout, groups: number, grouping?: ExpertGrouping): ExpertManager {
  checkLayout(layout);
  const possible = possibleGroups(layout);
  if (!possible.includes(groups)) {
    const counts = [...new Set(layout.layers.map(({ experts }) => experts))].join(" and ");
    throw invalid(
      "groups-do-not-divide",
      `${groups} groups do not divide the ${counts} experts of every layer evenly`,
      `Choose one of ${possible.join(", ")}.`,
    );
  }
  if (grouping !== undefined) checkGrouping(grouping, layout.layers, groups);
  const counts = new Map(layout.layers.map(({ layer, experts }) => [layer, experts]));
  const groupsOf = new Map(
    layout.layers.map(({ layer, experts }, place) => [layer, grouping?.layers[place]?.groupOf ?? evenGroups(experts, groups)]),
  );
  return {
    layout,
    groups,
    groupOf(layer, expert) {
      const experts = counts.get(layer);
      if (experts === undefined || !Number.isInteger(expert) || expert < 0 || expert >= experts) {
        throw invalid(
          "no-such-expert",
          `Layer ${layer} has no expert ${expert}`,
          experts === undefined ? `Layers with experts are ${[...counts.keys()].join(", ")}.` : `Its experts are 0 to ${experts - 1}.`,
        );
      }
      return groupsOf.get(layer)?.[expert] as number;
    },
    layers: () => layout.layers.map(({ layer }) => ({ layer, groupOf: groupsOf.get(layer) as number[] })),
    expertsOf(group) {
      if (!Number.isInteger(group) || group < 0 || group >= groups) {
        throw invalid("no-such-group", `There is no group ${group}`, `The task's groups are 0 to ${groups - 1}.`);
      }
      return layout.layers.map(({ layer }) => ({
        layer,
        experts: [...(groupsOf.get(layer) as number[]).keys()].filter((expert) => groupsOf.get(layer)?.[expert] === group),
      }));
    },
    assign(input) {
      return assignMiners({ ...input, groups });
    },
  };
}
