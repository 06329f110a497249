import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { roles } from "../../src/cycle/roles.ts";
import { windowOf } from "../../src/protocol/clock.ts";
import { simulate } from "../../src/simulate/simulate.ts";
import { honest } from "../../src/simulate/strategies/miners.ts";
import { type RunStep, replacing, type Strategy } from "../../src/simulate/strategies/strategy.ts";
import { reporting } from "../../src/simulate/strategies/validators.ts";
import { viewCycle } from "../../src/steps/cycle-view.ts";
import { type MergeResult, merge } from "../../src/steps/evaluate/merge.ts";
import { noteUnsure } from "../../src/steps/evaluate/reports.ts";
import { measureGroups, score } from "../../src/steps/evaluate/score.ts";
import { afterFinalized, awaitOpening } from "../../src/steps/windows.ts";
import { silentProgress } from "../../src/ui/progress.ts";

interface Merged {
  readonly result: MergeResult;
  readonly foreseen: boolean;
}

describe("a merge computed ahead", function () {
  this.timeout(240_000);
  let directory: string;
  const merged = new Map<string, Merged>();

  /** An honest validator but for some steps, whose merge is recorded. */
  const validator = (name: string, steps: Readonly<Record<string, RunStep>> = {}): Strategy => ({
    name,
    role: "validator",
    summary: name,
    honest: true,
    steps: () =>
      replacing(roles.validator, {
        ...steps,
        merge: async (context, membership, input) => {
          const codes: unknown[] = [];
          const note = (_text: string, { code }: Readonly<Record<string, unknown>> = {}) => void codes.push(code);
          const result = await (steps.merge ?? merge)({ ...context, progress: { ...silentProgress, note } }, membership, input);
          merged.set(name, { result: result as MergeResult, foreseen: codes.includes("merge-foreseen") });
          return result;
        },
      }),
  });

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-test-"));
    const late: RunStep = async (context, membership, { cycle }) => {
      const opening = afterFinalized("Merge", cycle, windowOf(membership.task, cycle, "score").last);
      await awaitOpening(context.clock, opening, { wait: true, signal: context.signal });
      return merge(context, membership, { cycle, wait: true });
    };
    const unsure: RunStep = async (context, membership, input) => {
      const found = await score(context, membership, input);
      await noteUnsure(
        context.workspace,
        input.cycle,
        found.entries.slice(0, 1).map(({ miner }) => miner),
      );
      return found;
    };
    /** Measures right, and says of a group's miners in turn what it found of the next: near enough to the truth for nobody to dispute it. */
    const askew: RunStep = async (context, membership, input) => {
      const { cycle } = input;
      const opening = afterFinalized("Scoring", cycle, windowOf(membership.task, cycle, "reveal").last);
      await awaitOpening(context.clock, opening, { wait: true, signal: context.signal });
      const view = await viewCycle(context, membership, cycle);
      const groups = [...view.assignment.groups.keys()];
      const { entries } = await measureGroups(context, membership, view, {
        groups,
        end: windowOf(membership.task, cycle, "score").last,
        timeIsOut: async () => false,
      });
      const turned = groups.flatMap((group) => {
        const accepted = entries.filter((entry) => entry.group === group && entry.status === "accepted");
        return accepted.map(({ miner }, place) => [miner, accepted[(place + 1) % accepted.length]?.score as number] as const);
      });
      return reporting(({ miner }) => {
        const found = new Map(turned).get(miner);
        return found === undefined ? { status: "no-gain", score: 0 } : { status: "accepted", score: found };
      })(context, membership, input);
    };
    const strategies = [
      validator("ahead"),
      validator("late", { merge: late }),
      validator("unsure", { score: unsure }),
      validator("askew", { score: askew }),
    ];
    const { players } = await simulate({
      cast: [
        ...strategies.map((strategy) => ({ name: strategy.name, strategy, stake: 500 })),
        ...["a", "b", "c", "d"].map((name) => ({ name, strategy: honest, trainingSteps: 80 })),
      ],
      ...{ cycles: 1, seed: "1", directory, threads: 1, progress: silentProgress, signal: new AbortController().signal },
    });
    for (const { name, troubles } of players) assert.deepEqual(troubles, [], name);
  });
  after(() => rm(directory, { recursive: true, force: true }));

  it("is that of those who began when the reports were there", () => {
    const { result } = merged.get("late") as Merged;
    // Two in a group, so that another order is another merge.
    assert.ok(result.merged.some(({ contributors }) => contributors.length > 1));
    for (const [name, other] of merged) {
      assert.deepEqual(other.result.merged, result.merged, name);
      assert.equal(other.result.root, result.root, name);
      assert.deepEqual(other.result.evaluationLoss, result.evaluationLoss, name);
    }
  });

  it("stands where it went by what was agreed, and is begun in time only, by who is sure of what it found", () => {
    assert.deepEqual(Object.fromEntries([...merged].map(([name, { foreseen }]) => [name, foreseen])), {
      ahead: true,
      late: false,
      unsure: false,
      askew: false,
    });
  });
});
