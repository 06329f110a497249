import assert from "node:assert/strict";
import { type DemoCycle, shortfallOf } from "../../src/demo/report.ts";

const cycleOf = (cycle: number, canonicalRoot: string, ...roots: string[]): DemoCycle => ({
  cycle,
  canonicalRoot,
  validatorRoots: Object.fromEntries(roots.map((root, validator) => [`validator ${validator}`, root])),
  heldOutLoss: {},
  verdicts: [],
  training: [],
  accepted: [],
});
const codeOf = (...cycles: DemoCycle[]) => shortfallOf({ baseRoot: "base", cycles })?.code;

describe("what a demo did not show", () => {
  it("is nothing where a version was adopted, though another missed its vote or was none", () => {
    assert.equal(codeOf(cycleOf(0, "a", "a", "a"), cycleOf(1, "b", "b", "b")), undefined);
    assert.equal(codeOf(cycleOf(0, "base", "a", "a"), cycleOf(1, "b", "b", "b")), undefined);
    assert.equal(codeOf(cycleOf(0, "a", "a"), cycleOf(1, "a", "a")), undefined);
  });

  it("is that every version missed its vote, or that there was none, and has an exit code", () => {
    const missed = shortfallOf({ baseRoot: "base", cycles: [cycleOf(0, "base", "a", "a"), cycleOf(1, "base", "base", "base")] });
    assert.deepEqual([missed?.code, missed?.exit], ["demo-not-adopted", 21]);
    assert.equal(codeOf(cycleOf(0, "base", "base", "base")), "demo-nothing-merged");
  });

  it("is that validators have different versions, whatever was adopted", () => {
    const found = shortfallOf({ baseRoot: "base", cycles: [cycleOf(0, "a", "a", "a"), cycleOf(1, "b", "b", "c")] });
    assert.deepEqual([found?.code, found?.exit], ["demo-disagreement", 40]);
    assert.match(found?.message ?? "", /in cycle 1\./);
  });
});
