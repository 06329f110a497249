import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { roles } from "../../src/cycle/roles.ts";
import { votingWindows } from "../../src/protocol/clock.ts";
import { simulate } from "../../src/simulate/simulate.ts";
import { honest } from "../../src/simulate/strategies/miners.ts";
import type { Strategy } from "../../src/simulate/strategies/strategy.ts";
import { honestValidator } from "../../src/simulate/strategies/validators.ts";
import { type Explanation, explainScore } from "../../src/steps/evaluate/explain.ts";
import { silentProgress } from "../../src/ui/progress.ts";

describe("a task that asks for own training", function () {
  this.timeout(240_000);
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-test-"));
  });
  after(() => rm(directory, { recursive: true, force: true }));

  it("shows it to a miner that asks, who measures the same from public data", async () => {
    const explained: Explanation[] = [];
    const asking: Strategy = {
      ...honest,
      steps: (scene) => [
        ...honest.steps(scene),
        {
          ...(roles.miner[0] as (typeof roles.miner)[number]),
          name: "explain",
          run: async (context, membership, { cycle }) => {
            await context.clock.until(({ best }) => best >= votingWindows(membership.task, cycle).ballot.last, context.signal);
            explained.push(await explainScore(context, membership, { cycle, hotkey: context.signer.address, measure: true }));
            return {};
          },
        },
      ],
    };
    const { players } = await simulate({
      cast: [
        { name: "validator", strategy: honestValidator, stake: 500 },
        ...["a", "b", "c", "d", "e", "f"].map((name) => ({ name, strategy: asking, trainingSteps: 50 })),
      ],
      overrides: { evaluation: { leastTraining: { sequences: 800, drawn: 64 } } },
      ...{ cycles: 1, seed: "1", directory, threads: 1, progress: silentProgress, signal: new AbortController().signal },
    });
    for (const { name, troubles } of players) assert.deepEqual(troubles, [], name);
    const measured = explained.filter(({ own }) => own !== undefined);
    assert.ok(measured.length >= 3, `${measured.length} of ${explained.length}`);
    // By chance alone they would add up to less than nothing in half of all runs.
    assert.ok(measured.reduce((sum, { own }) => sum + (own?.effect ?? 0), 0) > 0.2);
    for (const { own, scorers } of measured) {
      const [scorer] = scorers;
      assert.equal(scorer?.consistent, true);
      assert.ok(Math.abs((own?.effect ?? 0) - (scorer?.own?.effect ?? 9)) < 1e-6, `${own?.effect} ${scorer?.own?.effect}`);
      assert.equal(own?.tooLittle, scorer?.status === "not-trained");
    }
  });
});
