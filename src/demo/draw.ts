/** The demo's end as people see it: the loss by domain and cycle, who was accepted, the roots, the weights. */

import { formatMicroNats, formatNats, shortHash } from "../ui/format.ts";
import { plot } from "../ui/plot.ts";
import { table } from "../ui/table.ts";
import type { DemoReport } from "./report.ts";

export function drawReport({ baseLoss, cycles, weights, participants, seconds }: DemoReport): string {
  const domains = Object.keys(baseLoss);
  const names = new Map(participants.map(({ name, hotkey }) => [hotkey, name]));
  const right = (heading: string) => ({ heading, align: "right" as const });

  const losses = table(
    ["after", ...domains.map(right), "version", "validators", "merged from"],
    [
      ["base", ...domains.map((domain) => formatNats(baseLoss[domain] ?? Number.NaN)), undefined, undefined, undefined],
      ...cycles.map(({ cycle, heldOutLoss, canonicalRoot, validatorRoots, accepted }) => [
        `cycle ${cycle}`,
        ...domains.map((domain) => formatNats(heldOutLoss[domain] ?? Number.NaN)),
        shortHash(canonicalRoot),
        Object.values(validatorRoots).every((root) => root === canonicalRoot) ? "agree" : "DIFFER",
        accepted.map((hotkey) => names.get(hotkey) ?? hotkey).join(", ") || "nobody",
      ]),
    ],
  );

  const miners = participants.filter(({ hotkey }) => cycles.some(({ verdicts }) => verdicts.some(({ miner }) => miner === hotkey)));
  const verdictOf = (cycle: DemoReport["cycles"][number], hotkey: string) => {
    const verdict = cycle.verdicts.find(({ miner }) => miner === hotkey);
    if (verdict === undefined) return undefined;
    return verdict.status === "accepted" ? formatMicroNats(verdict.score) : verdict.status;
  };
  const verdicts = table(
    ["miner", ...cycles.map(({ cycle }) => `cycle ${cycle}`), right("weight")],
    miners.map(({ name, hotkey, uid }) => [name, ...cycles.map((cycle) => verdictOf(cycle, hotkey)), weights[uid] ?? 0]),
  );

  const used = cycles.flatMap(({ training }) => training.map(({ utilisation }) => utilisation));
  // Gains, not losses: the domains lie further apart than anything that is learned in a few minutes.
  const gains = domains.map((name) => ({
    name,
    values: [0, ...cycles.map(({ heldOutLoss }) => (baseLoss[name] ?? 0) - (heldOutLoss[name] ?? Number.NaN))],
  }));
  const curves = plot(gains, { height: 8 });
  return [
    "What the canonical model gained over its base on held-out text, nats per token:",
    "",
    curves,
    "",
    "Its held-out loss, nats per token:",
    "",
    losses,
    "",
    "What each miner's submission gained (Proof-of-Loss), or why it earned nothing, and its weight on the chain:",
    "",
    verdicts,
    "",
    ...(used.length === 0
      ? []
      : [`Of the train windows miners spent ${percent(Math.min(...used))} to ${percent(Math.max(...used))} training.`]),
    `${seconds} s in all.`,
  ].join("\n");
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)}%`;
}
