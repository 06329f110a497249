/**
 * The expert mapping records which miner trains which experts in a cycle: for each layer the pairs (slice-local index, original
 * index), and the way back. Local indices count a group's experts in rising order, layer by layer.
 */
import * as v from "valibot";
import { ConnitoError } from "../../errors.ts";
import { type Hotkey, isHotkey } from "../hotkey.ts";
import type { Assignment, ExpertManager } from "./expert-manager.ts";

/** (slice-local index, original index) */
export type ExpertPair = readonly [local: number, original: number];

export interface GroupMapping {
  readonly group: number;
  readonly layers: readonly { readonly layer: number; readonly pairs: readonly ExpertPair[] }[];
  /** The slice-local index of an original expert, or `undefined` when it is not of this group. */
  toLocal(layer: number, original: number): number | undefined;
  /** The original index of a slice-local expert, or `undefined` when the slice has none of that index. */
  toOriginal(layer: number, local: number): number | undefined;
}

export interface ExpertMappingDocument {
  readonly format: "connito/expert-mapping/1";
  readonly cycle: number;
  readonly groups: readonly {
    readonly group: number;
    readonly miners: readonly Hotkey[];
    readonly layers: GroupMapping["layers"];
  }[];
}

export interface ExpertMapping {
  readonly cycle: number;
  /** The mapping of the group that a miner is assigned to; `undefined` for a hotkey that is not assigned. */
  forMiner(hotkey: Hotkey): GroupMapping | undefined;
  /** The mapping of a group; `undefined` when there is no such group. */
  forGroup(group: number): GroupMapping | undefined;
  toDocument(): ExpertMappingDocument;
}

function groupMapping(group: number, layers: GroupMapping["layers"]): GroupMapping {
  const pairsOf = (layer: number) => layers.find((entry) => entry.layer === layer)?.pairs;
  return {
    group,
    layers,
    toLocal: (layer, original) => pairsOf(layer)?.find((pair) => pair[1] === original)?.[0],
    toOriginal: (layer, local) => pairsOf(layer)?.find((pair) => pair[0] === local)?.[1],
  };
}

function fromDocument(document: ExpertMappingDocument): ExpertMapping {
  const groups = document.groups.map(({ group, layers }) => groupMapping(group, layers));
  const groupOfMiner = new Map(document.groups.flatMap(({ group, miners }) => miners.map((miner) => [miner, group] as const)));
  const forGroup = (group: number) => groups[group];
  return {
    cycle: document.cycle,
    forGroup,
    forMiner(hotkey) {
      const group = groupOfMiner.get(hotkey);
      return group === undefined ? undefined : forGroup(group);
    },
    toDocument: () => document,
  };
}

export function createExpertMapping(assignment: Assignment, manager: ExpertManager): ExpertMapping {
  if (assignment.groups.length !== manager.groups) {
    throw new Error(`an assignment to ${assignment.groups.length} groups against ${manager.groups} of the model`);
  }
  const groups = assignment.groups.map((miners, group) => ({
    group,
    miners,
    layers: manager.expertsOf(group).map(({ layer, experts }) => ({
      layer,
      pairs: experts.map((original, local): ExpertPair => [local, original]),
    })),
  }));
  return fromDocument({ format: "connito/expert-mapping/1", cycle: assignment.cycle, groups });
}

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

const documentSchema = v.strictObject({
  format: v.literal("connito/expert-mapping/1"),
  cycle: count,
  groups: v.array(
    v.strictObject({
      group: count,
      miners: v.array(
        v.pipe(
          v.string(),
          v.check((text) => isHotkey(text)),
        ),
      ),
      layers: v.array(v.strictObject({ layer: count, pairs: v.array(v.strictTuple([count, count])) })),
    }),
  ),
});

/** Local indices count from 0, originals rise, groups stand at their own place, and no miner stands twice. */
function isConsistent(document: ExpertMappingDocument): boolean {
  const miners = document.groups.flatMap((entry) => entry.miners);
  return (
    new Set(miners).size === miners.length &&
    document.groups.every(({ group, layers }, place) => {
      const layersRise = layers.every(({ layer }, index) => index === 0 || layer > (layers[index - 1]?.layer ?? 0));
      const pairsRise = layers.every(({ pairs }) =>
        pairs.every(([local, original], index) => local === index && (index === 0 || original > (pairs[index - 1]?.[1] ?? 0))),
      );
      return group === place && layersRise && pairsRise;
    })
  );
}

/** A mapping from its JSON document. Throws `expert-mapping-invalid`. */
export function parseExpertMapping(value: unknown): ExpertMapping {
  const result = v.safeParse(documentSchema, value);
  if (result.success && isConsistent(result.output)) return fromDocument(result.output);
  const issue = result.success ? undefined : result.issues[0];
  const reason =
    issue === undefined ? "its groups, miners or pairs contradict each other" : `${v.getDotPath(issue) ?? "it"}: ${issue.message}`;
  throw new ConnitoError(`The document is no expert mapping: ${reason}`, {
    code: "expert-mapping-invalid",
    exit: "invalidInput",
    hint: "Run `connito assign` to make it again.",
  });
}
