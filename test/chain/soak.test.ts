import assert from "node:assert/strict";
import { inTemporaryDirectory } from "../workspace/support.ts";
import { soak } from "./soak.ts";

describe("chain/soak", () => {
  it("ends a dozen cycles, each with a fault, with journals and chain in agreement", () =>
    inTemporaryDirectory(async (directory) => {
      const { written, missed, faults } = await soak(directory, 12, 7);
      assert.equal(written + missed, 24);
      assert.ok(written >= 20, `only ${written} of 24 were written in time`);
      assert.ok(Object.keys(faults).length >= 8);
    }));
});
