import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { roles } from "../../src/cycle/roles.ts";
import { windowOf } from "../../src/protocol/clock.ts";
import { simulate } from "../../src/simulate/simulate.ts";
import { honest, minerAttacks } from "../../src/simulate/strategies/miners.ts";
import { type RunStep, replacing, type Strategy } from "../../src/simulate/strategies/strategy.ts";
import { reporting } from "../../src/simulate/strategies/validators.ts";
import { viewCycle } from "../../src/steps/cycle-view.ts";
import { type MergeResult, merge } from "../../src/steps/evaluate/merge.ts";
import { measureGroups } from "../../src/steps/evaluate/score.ts";
import { afterFinalized, awaitOpening } from "../../src/steps/windows.ts";
import { silentProgress } from "../../src/ui/progress.ts";

interface Merged {
  readonly result: MergeResult;
  readonly foreseen: boolean;
}

const merged = new Map<string, Merged>();

/** An honest validator but for some steps, whose merge is recorded under its name. */
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

/** Begins when the reports are there. */
const late: RunStep = async (context, membership, { cycle }) => {
  const opening = afterFinalized("Merge", cycle, windowOf(membership.task, cycle, "score").last);
  await awaitOpening(context.clock, opening, { wait: true, signal: context.signal });
  return merge(context, membership, { cycle, wait: true });
};

/** Measures right, and says of a group's miners in turn what it found of the next: near enough to the truth for nobody to dispute it. */
const askew: RunStep = async (context, membership, input) => {
  const { cycle } = input;
  const opening = afterFinalized("Scoring", cycle, windowOf(membership.task, cycle, "reveal").last);
  await awaitOpening(context.clock, opening, { wait: true, signal: context.signal });
  const view = await viewCycle(context, membership, cycle);
  const groups = [...view.assignment.groups.keys()];
  const end = windowOf(membership.task, cycle, "score").last;
  const { entries } = await measureGroups(context, membership, view, { groups, end });
  const turned = groups.flatMap((group) => {
    const accepted = entries.filter((entry) => entry.group === group && entry.status === "accepted");
    return accepted.map(({ miner }, place) => [miner, accepted[(place + 1) % accepted.length]?.score as number] as const);
  });
  return reporting(({ miner }) => {
    const found = new Map(turned).get(miner);
    return found === undefined ? { status: "no-gain", score: 0 } : { status: "accepted", score: found };
  })(context, membership, input);
};

/** Is honest, and cannot read what it has when it begins to merge ahead. */
const hindered: RunStep = async (context, membership, input) => {
  let asked = 0;
  const read = context.workspace.objects.locate;
  const objects = {
    ...context.workspace.objects,
    locate: async (hash: string) => {
      if (asked++ === 0) throw new Error("the disk is away for a moment");
      return read(hash);
    },
  };
  return merge({ ...context, workspace: { ...context.workspace, objects } }, membership, { ...input, wait: true });
};

describe("a merge computed ahead", function () {
  this.timeout(240_000);
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-test-"));
    merged.clear();
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  const play = async (validators: readonly Strategy[], miners: readonly (readonly [name: string, strategy: Strategy])[], scorers = 64) => {
    const { players } = await simulate({
      cast: [
        ...validators.map((strategy) => ({ name: strategy.name, strategy, stake: 500 })),
        ...miners.map(([name, strategy]) => ({ name, strategy, trainingSteps: 80 })),
      ],
      overrides: { validators: { scorers } },
      ...{ cycles: 1, seed: "1", directory, threads: 1, progress: silentProgress, signal: new AbortController().signal },
    });
    for (const { name, troubles } of players) assert.deepEqual(troubles, [], name);
    const [[, { result }]] = merged as unknown as [[string, Merged]];
    // Two in a group, so that another order is another merge.
    assert.ok(result.merged.some(({ contributors }) => contributors.length > 1));
    for (const [name, other] of merged) {
      assert.deepEqual(other.result.merged, result.merged, name);
      assert.equal(other.result.root, result.root, name);
      assert.deepEqual(other.result.evaluationLoss, result.evaluationLoss, name);
    }
    return Object.fromEntries([...merged].map(([name, { foreseen }]) => [name, foreseen]));
  };
  const four = ["a", "b", "c", "d"].map((name) => [name, honest] as const);

  it("is that of those who began later, and stands where it went by what was agreed, whoever does not deliver", async () => {
    const vanishing = minerAttacks.find(({ name }) => name === "vanishing") as Strategy;
    const validators = [
      validator("ahead"),
      validator("late", { merge: late }),
      validator("askew", { score: askew }),
      validator("hindered", { merge: hindered }),
    ];
    const foreseen = await play(validators, [...four, ["e", vanishing]]);
    assert.deepEqual(foreseen, { ahead: true, late: false, askew: false, hindered: false });
  });

  it("is not begun by who was drawn for some groups only, and would merge no others", async () => {
    const validators = ["first", "second", "third"].map((name) => validator(name));
    const foreseen = await play(validators, four, 2);
    // Two groups have two scorers each, of three.
    assert.equal(Object.keys(foreseen).length, 3);
    assert.ok(Object.values(foreseen).includes(false));
  });
});
