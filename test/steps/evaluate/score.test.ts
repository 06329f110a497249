import assert from "node:assert/strict";
import type { ReportEntry } from "../../../src/protocol/report.ts";
import { whoBesideMissing } from "../../../src/steps/evaluate/score.ts";
import { hash } from "../../protocol/support.ts";

describe("verdicts beside a missing submission", () => {
  const entry = (miner: string, group: number, status: ReportEntry["status"], revealed = true): ReportEntry => ({
    ...{ miner, group, status, score: status === "accepted" ? 1 : 0 },
    root: revealed ? hash(miner) : null,
  });
  const judged = (group: number) => [
    entry(`a${group}`, group, "accepted"),
    entry(`c${group}`, group, "near-copy"),
    entry(`t${group}`, group, "not-trained"),
    entry(`n${group}`, group, "no-gain"),
  ];

  it("are those of its group that depend on what others submitted", () => {
    for (const status of ["unreachable", "unscored"] as const) {
      const entries = [...judged(0), ...judged(1), entry("away", 1, status)];
      assert.deepEqual(whoBesideMissing(entries), ["a1", "c1", "t1"]);
    }
  });

  it("are none where nothing is missing that was revealed", () => {
    assert.deepEqual(whoBesideMissing([...judged(0), entry("idle", 0, "not-committed", false), entry("late", 0, "unscored", false)]), []);
    assert.deepEqual(whoBesideMissing([]), []);
  });
});
