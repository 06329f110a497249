/**
 * What a slice learns must hold in the whole: how much of a nat that a miner gains on its slice the whole model gains, for each policy of what stands in for
 * the experts that the slice lacks, and what the policy costs in memory. On a base that is trained for thousands of steps (kept in --directory, and
 * trained only where it is missing), two domains, two groupings, and 2, 4 and 8 groups. Options: --json, --directory PATH, --pretrain STEPS, --steps N,
 * --groups 2,4,8, --policies TEXT (a part of the names), --domains, --groupings, --threads N.
 */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createProgress } from "../src/ui/progress.ts";
import { table } from "../src/ui/table.ts";
import { architecture, batchSequences, observeBase, openBase } from "./transfer/base.ts";
import { type Domain, type Group, measure, type Outcome, type Policy } from "./transfer/experiment.ts";
import { policies } from "./transfer/policies.ts";

interface Row extends Outcome {
  readonly policy: string;
  readonly domain: string;
  readonly grouping: string;
  readonly groups: number;
  /** Of the whole model's gain over the slice's. */
  readonly transfer: number;
  /** The whole model's gain over what it gains when no expert is missing, the share that a miner's work keeps. */
  readonly kept: number;
}

/** The even split, and for each domain the group of the experts that it wants most. */
const groupings: Record<string, (domain: Domain, groups: number) => Group> = {
  even: (_domain, groups) => (_layer, expert) => Math.floor((expert * groups) / architecture.experts) === 0,
  wanted: ({ scores }, groups) => {
    const chosen = new Set(
      scores.layers.flatMap(({ layer, token }) =>
        token
          .map((share, expert) => ({ share, expert }))
          .sort((a, b) => b.share - a.share || a.expert - b.expert)
          .slice(0, architecture.experts / groups)
          .map(({ expert }) => `${layer} ${expert}`),
      ),
    );
    return (layer, expert) => chosen.has(`${layer} ${expert}`);
  },
};

export async function run(parameters: readonly string[] = process.argv.slice(3)): Promise<void> {
  const { values } = parseArgs({
    args: [...parameters],
    options: {
      json: { type: "boolean", default: false },
      directory: { type: "string", default: join(tmpdir(), "connito-transfer") },
      pretrain: { type: "string", default: "3500" },
      steps: { type: "string", default: "150" },
      groups: { type: "string", default: "2,4,8" },
      policies: { type: "string", default: "" },
      domains: { type: "string", default: "" },
      groupings: { type: "string", default: "" },
      threads: { type: "string", default: "1" },
    },
  });
  const threads = Number(values.threads);
  const progress = createProgress({ kind: "plain" });
  const base = await observeBase(await openBase(values.directory, Number(values.pretrain), threads, progress), threads);
  const chosen = policies.filter(({ name }) => values.policies.split(";").some((part) => name.includes(part)));
  const training = { steps: Number(values.steps), learningRate: 5e-4, batchSequences, threads };
  const rows: Row[] = [];
  for (const domain of base.domains.filter(({ name }) => name.includes(values.domains))) {
    for (const [grouping, choose] of Object.entries(groupings).filter(([name]) => name.includes(values.groupings))) {
      for (const groups of values.groups.split(",").map(Number)) {
        let best: number | undefined;
        for (const policy of chosen as readonly Policy[]) {
          const outcome = await measure(base, domain, choose(domain, groups), policy, training);
          const gain = outcome.wholeBefore - outcome.wholeAfter;
          best ??= gain;
          const row = {
            policy: policy.name,
            domain: domain.name,
            grouping,
            groups,
            ...outcome,
            transfer: gain / (outcome.sliceBefore - outcome.sliceAfter),
            kept: gain / best,
          };
          rows.push(row);
          progress.note(describe(row).join("  "));
        }
      }
    }
  }
  if (values.json) process.stdout.write(`${JSON.stringify({ benchmark: "transfer", rows }, undefined, 2)}\n`);
  else process.stdout.write(`${table(headings, rows.map(describe))}\n`);
}

const headings = [
  "policy",
  "domain",
  "grouping",
  "groups",
  "slice before",
  "after",
  "whole before",
  "after",
  "transfer",
  "kept",
  "bits a parameter",
].map((heading, index) => ({ heading, align: index < 3 ? ("left" as const) : ("right" as const) }));
const describe = (row: Row): string[] => [
  row.policy,
  row.domain,
  row.grouping,
  String(row.groups),
  row.sliceBefore.toFixed(4),
  row.sliceAfter.toFixed(4),
  row.wholeBefore.toFixed(4),
  row.wholeAfter.toFixed(4),
  row.transfer.toFixed(2),
  row.kept.toFixed(2),
  row.bits.toFixed(2),
];
