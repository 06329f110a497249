import assert from "node:assert/strict";
import { agreedScores } from "../../src/protocol/agreement.ts";
import { createReport, type ReportEntry } from "../../src/protocol/report.ts";
import { standings } from "../../src/protocol/standing.ts";
import { hash, hotkeys } from "./support.ts";

const [a, b] = hotkeys(2) as [string, string];
const names = ["honest", "near", "liar", "lazy", "silent", "withholder", "idle"] as const;
const head = { task: hash("task"), cycle: 1, base: hash("base"), evidence: hash("evidence") };

function report(validator: string, scores: readonly (number | "unscored")[]) {
  const entries = [a, b].map((miner, index): ReportEntry => {
    const score = scores[index] ?? 0;
    if (score === "unscored") return { miner, group: 0, status: "unscored", score: 0, root: hash(miner) };
    return { miner, group: 0, status: score > 0 ? "accepted" : "no-gain", score, root: hash(miner) };
  });
  return createReport({ ...head, validator, entries });
}

describe("standings of validators", () => {
  it("show who differs from the agreed, and where, who says nothing, and who does not show what it committed to", () => {
    const reports = new Map([
      ["honest", report("honest", [1_000, 0])],
      ["near", report("near", [1_090, "unscored"])],
      ["liar", report("liar", [1_000, 9_000])],
      ["lazy", report("lazy", [500, 500])],
    ]);
    const stakes = { honest: 5n, near: 3n, liar: 1n, lazy: 1n } as Record<string, bigint>;
    const agreed = agreedScores([...reports].map(([validator, own]) => ({ stake: stakes[validator] ?? 0n, report: own })));
    const rows = standings({
      validators: names.map((hotkey) => ({ hotkey, groups: hotkey === "idle" ? [] : [0] })),
      committed: new Set([...reports.keys(), "withholder"]),
      reports,
      agreed,
    });
    assert.deepEqual(
      rows.map(({ standing, scored, differing }) => [standing, scored, differing]),
      [
        ["agrees", 2, []],
        ["agrees", 1, []],
        ["differs", 2, [b]],
        ["differs", 2, [a, b]],
        ["silent", 0, []],
        ["withheld", 0, []],
        ["not-drawn", 0, []],
      ],
    );
  });
});
