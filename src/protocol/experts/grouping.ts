/**
 * Level 0 of selection: which experts are trained together (docs/protocol.md, section 5). The even split needs no document; a grouping
 * names the group of every expert. Anyone may read one; how an owner finds a good one is group-experts.ts.
 */
import * as v from "valibot";
import { ConnitoError } from "../../errors.ts";

const index = v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(0xffff));

const schema = v.strictObject({
  format: v.literal("connito/grouping/1"),
  /** What was maximised. */
  objective: v.picklist(["affinity", "coactivation"]),
  /** Hash of the router statistics that it was computed from. */
  statistics: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
  layers: v.pipe(
    v.array(v.strictObject({ layer: index, groupOf: v.pipe(v.array(index), v.maxLength(65_536)) })),
    v.minLength(1),
    v.maxLength(65_536),
  ),
});

export type ExpertGrouping = v.InferOutput<typeof schema>;
export type GroupingObjective = ExpertGrouping["objective"];

/** The grouping that a parsed JSON value is; whether it fits a model is checked by createExpertManager. Throws `grouping-invalid`. */
export function parseGrouping(value: unknown): ExpertGrouping {
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw groupingInvalid(`${v.getDotPath(issue) ?? "the document"}: ${issue.message}`);
}

/** The group of each expert of a layer in the even split. */
export function evenGroups(experts: number, groups: number): number[] {
  return Array.from({ length: experts }, (_, expert) => Math.floor((expert * groups) / experts));
}

/** Throws `grouping-invalid` unless the layers are those of the layout and every group has as many experts as the others. */
export function checkGrouping(
  grouping: ExpertGrouping,
  layers: readonly { readonly layer: number; readonly experts: number }[],
  groups: number,
): void {
  if (grouping.layers.length !== layers.length)
    throw groupingInvalid(`${grouping.layers.length} layers, the model has ${layers.length} with experts`);
  for (const [place, { layer, experts }] of layers.entries()) {
    const entry = grouping.layers[place];
    if (entry?.layer !== layer) throw groupingInvalid(`layer ${entry?.layer} stands where the model has layer ${layer}`);
    if (entry.groupOf.length !== experts) throw groupingInvalid(`layer ${layer} has ${entry.groupOf.length} experts, the model ${experts}`);
    const sizes = new Array<number>(groups).fill(0);
    for (const group of entry.groupOf) if (group < groups) sizes[group] = (sizes[group] as number) + 1;
    if (sizes.some((size) => size !== experts / groups))
      throw groupingInvalid(`the groups of layer ${layer} have ${sizes.join(", ")} experts`);
  }
}

function groupingInvalid(reason: string): ConnitoError {
  return new ConnitoError(`The grouping of experts cannot be used: ${reason}`, {
    code: "grouping-invalid",
    exit: "verification",
    hint: "The owner makes it with `connito task create --grouping`; tell the owner if it comes from a task.",
  });
}
