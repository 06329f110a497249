import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findLossCurve, recordLosses } from "../../../src/steps/train/loss-curve.ts";
import { openWorkspace } from "../../../src/workspace/workspace.ts";

describe("loss curve", () => {
  it("is kept by cycle, and goes on where the checkpoint was", async () => {
    const directory = await mkdtemp(join(tmpdir(), "connito-curve-"));
    const workspace = await openWorkspace(directory, { lock: true });
    try {
      assert.equal(await findLossCurve(workspace), undefined);
      const first = await recordLosses(workspace, 9, 0);
      for (const loss of [4, 3, 2.5]) first.add(loss);
      await first.snapshot().write();
      // Killed after its checkpoint at two steps: the third is done again.
      const again = await recordLosses(workspace, 9, 2);
      again.add(2.25);
      await again.snapshot().write();
      assert.deepEqual(await findLossCurve(workspace), { cycle: 9, losses: [4, 3, 2.25] });
      const later = await recordLosses(workspace, 10, 0);
      later.add(2);
      await later.snapshot().write();
      assert.deepEqual(await findLossCurve(workspace), { cycle: 10, losses: [2] });
      assert.deepEqual((await findLossCurve(workspace, 9))?.losses.length, 3);
      assert.equal(await findLossCurve(workspace, 8), undefined);
    } finally {
      await workspace.close();
      await rm(directory, { recursive: true });
    }
  });
});
