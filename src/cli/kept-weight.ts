/** How commands show what groups of experts keep together. */
import * as v from "valibot";
import type { KeptWeight } from "../protocol/experts/group-experts.ts";
import { table } from "../ui/table.ts";

export const groupings = ["even", "affinity", "coactivation"] as const;

/** By grouping, of each domain. */
export const keptSchema = v.record(
  v.picklist(groupings),
  v.array(
    v.object({
      domain: v.string(),
      group: v.number(),
      inGroup: v.number(),
      leastInLayer: v.number(),
      mostInLayer: v.number(),
      pairsTogether: v.number(),
    }),
  ),
);

/** What it is about, and a row for each grouping and domain. */
export function keptTable(groups: number, kept: Readonly<Partial<Record<(typeof groupings)[number], readonly KeptWeight[]>>>): string {
  const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
  const rows = Object.entries(kept).flatMap(([grouping, domains]) =>
    domains.map(({ domain, group, inGroup, leastInLayer, mostInLayer, pairsTogether }) => [
      grouping,
      domain,
      group,
      percent(inGroup),
      `${percent(leastInLayer)} to ${percent(mostInLayer)}`,
      percent(pairsTogether),
    ]),
  );
  const right = (heading: string) => ({ heading, align: "right" as const });
  const rowsOfAll = table(["grouping", "domain", right("group"), right("kept"), right("by layer"), right("pairs together")], rows);
  return `Routed weight that one of the ${groups} groups keeps:\n\n${rowsOfAll}`;
}
