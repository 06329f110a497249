import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { windowOf } from "../../src/protocol/clock.ts";
import { castOf } from "../../src/simulate/cast.ts";
import { simulate } from "../../src/simulate/simulate.ts";
import { replacing, type Strategy } from "../../src/simulate/strategies/strategy.ts";
import { honestValidator } from "../../src/simulate/strategies/validators.ts";
import type { ChainClock } from "../../src/steps/clock.ts";
import { merge } from "../../src/steps/evaluate/merge.ts";
import { findUnsure } from "../../src/steps/evaluate/reports.ts";
import { score } from "../../src/steps/evaluate/score.ts";
import { silentProgress } from "../../src/ui/progress.ts";

describe("a validator whose time is too short to ask for copies", function () {
  this.timeout(240_000);
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-test-"));
  });
  after(() => rm(directory, { recursive: true, force: true }));

  it("asks when it merges, and comes to the others' version", async () => {
    const roots = new Map<string, string>();
    let [hasty, statuses]: [readonly string[], readonly string[]] = [[], []];
    const merging = (name: string, steps = honestValidator.steps({ trainingSteps: 0, leaks: [] })) =>
      replacing(steps, {
        async merge(context, membership, input) {
          const result = await merge(context, membership, { ...input, wait: true });
          roots.set(name, result.root);
          return result;
        },
      });
    const quick: Strategy = { ...honestValidator, steps: () => merging("quick") };
    const slow: Strategy = {
      ...honestValidator,
      steps: () =>
        replacing(merging("slow"), {
          async score(context, membership, input) {
            const { last } = windowOf(membership.task, input.cycle, "score");
            let isLate = false;
            const clock: ChainClock = {
              ...context.clock,
              now: async () => ({ ...(await context.clock.now()), ...(isLate && { best: last - 2 }) }),
            };
            const update = (judged: number) => {
              isLate = judged === 3;
            };
            const progress = { ...context.progress, update };
            const result = await score({ ...context, clock, progress }, membership, input);
            hasty = await findUnsure(context.workspace, input.cycle);
            statuses = result.entries.filter(({ miner }) => hasty.includes(miner)).map(({ status }) => status);
            return result;
          },
        }),
    };
    const [, ...rest] = castOf(["honest:2@60", "hidden-copy"], ["honest"]);
    const { players } = await simulate({
      cast: [{ name: "slow", strategy: slow, stake: 600 }, { name: "quick", strategy: quick, stake: 500 }, ...rest],
      ...{ cycles: 1, seed: "1", directory, threads: 1, progress: silentProgress, signal: new AbortController().signal },
    });
    assert.deepEqual(statuses, ["accepted"]);
    assert.equal(players.find(({ name }) => name === "hidden-copy")?.statuses[0], "near-copy");
    assert.deepEqual([roots.size, new Set(roots.values()).size], [2, 1]);
  });
});
