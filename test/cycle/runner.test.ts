import assert from "node:assert/strict";
import { type RunInput, runCycles, type StepEvent } from "../../src/cycle/runner.ts";
import { ConnitoError } from "../../src/errors.ts";
import type { Task } from "../../src/protocol/task.ts";
import type { Heads } from "../../src/steps/clock.ts";
import type { Context } from "../../src/steps/context.ts";
import type { Membership } from "../../src/steps/membership.ts";
import { silentProgress } from "../../src/ui/progress.ts";

// Cycles of 45 blocks from block 100 on.
const task = { cycle: { startBlock: 100, phases: { distribute: 5, train: 18, commit: 4, reveal: 5, score: 7, merge: 6 } } } as Task;
const membership = { task, taskHash: "00".repeat(32) } as Membership;

/** A participant whose chain the test moves, and whose journal is kept over restarts. */
function participant(best: number) {
  const state = { best };
  const entries = new Map<string, { intent?: { data: unknown }; effect?: { data: unknown } }>();
  const heads = (): Heads => ({ best: state.best, finalized: { number: state.best - 2, hash: "0x" } });
  const controller = new AbortController();
  const context = {
    clock: {
      now: async () => heads(),
      until: async (condition: (heads: Heads) => boolean) => {
        while (!condition(heads())) state.best += 1;
        return heads();
      },
      watch: () => () => {},
    },
    workspace: {
      journal: {
        find: (key: string) => entries.get(key) ?? {},
        intent: async (key: string, data: unknown) => void entries.set(key, { intent: { data } }),
        effect: async (key: string, data: unknown) => void entries.set(key, { ...entries.get(key), effect: { data } }),
      },
    },
    progress: silentProgress,
    signal: controller.signal,
  } as unknown as Context;
  return { state, context, controller };
}

function failure(code: string, retryable = false): ConnitoError {
  return new ConnitoError(code, { code, exit: "network", hint: "-", retryable });
}

/** Runs one step in each cycle; collects what happened. */
async function run(context: Context, step: (cycle: number) => Promise<object>, input: Partial<RunInput> = {}) {
  const events: string[] = [];
  const onEvent = ({ cycle, outcome, error }: StepEvent) =>
    void events.push(`${cycle} ${outcome}${error === undefined ? "" : ` ${error.code}`}`);
  const steps = [{ name: "step", run: (_context: Context, _membership: Membership, { cycle }: { cycle: number }) => step(cycle) }];
  const result = runCycles(context, membership, { steps, onEvent, ...input });
  return { events, result: await result };
}

describe("cycle runner", () => {
  it("does each step once in each cycle, from the one that the chain is in", async () => {
    const { context } = participant(150);
    const { events, result } = await run(context, async () => ({}), { cycles: 3 });
    assert.deepEqual(events, ["1 done", "2 done", "3 done"]);
    assert.deepEqual([result.firstCycle, result.cycles], [1, 3]);
  });

  it("waits for the task's first block, and prepares meanwhile", async () => {
    const { context } = participant(10);
    let prepared = 0;
    const prepare = async () => {
      prepared += 1;
      return {};
    };
    assert.deepEqual((await run(context, async () => ({}), { cycles: 1, prepare })).events, ["0 done"]);
    assert.equal(prepared, 1);
  });

  it("goes on although preparing failed", async () => {
    const { context } = participant(10);
    const prepare = async () => Promise.reject(failure("no-peers", true));
    assert.deepEqual((await run(context, async () => ({}), { cycles: 1, prepare })).events, ["0 done"]);
  });

  it("does not queue cycles that passed meanwhile", async () => {
    const { context, state } = participant(100);
    const { events } = await run(
      context,
      async (cycle) => {
        if (cycle === 0) state.best = 100 + 45 * 3 + 1;
        return {};
      },
      { cycles: 5 },
    );
    assert.deepEqual(events, ["0 done", "3 done", "4 done"]);
  });

  it("ends where it would have ended when it is killed and started again", async () => {
    const { context, state } = participant(100);
    const killed = run(
      context,
      async (cycle) => {
        if (cycle === 1) throw new Error("killed");
        return {};
      },
      { cycles: 3 },
    );
    await assert.rejects(killed, /killed/);
    state.best = 100 + 45 + 10;
    assert.deepEqual((await run(context, async () => ({}), { cycles: 3 })).events, ["1 done", "2 done"]);
  });

  it("still does its last cycle when it comes back after it", async () => {
    const { context, state } = participant(100);
    await assert.rejects(
      run(context, async () => Promise.reject(new Error("killed")), { cycles: 2 }),
      /killed/,
    );
    state.best = 100 + 45 * 2 + 3;
    assert.deepEqual((await run(context, async () => ({}), { cycles: 2 })).events, ["1 done"]);
  });

  it("passes over what is too late, and says why", async () => {
    const { context } = participant(100);
    const { events } = await run(context, async () => Promise.reject(failure("deadline-missed")), { cycles: 2 });
    assert.deepEqual(events, ["0 skipped deadline-missed", "1 skipped deadline-missed"]);
  });

  it("tries again what failed for now", async () => {
    const { context } = participant(100);
    let tries = 0;
    const flaky = async () => {
      tries += 1;
      if (tries < 3) throw failure("peer-unreachable", true);
      return {};
    };
    assert.deepEqual((await run(context, flaky, { cycles: 1 })).events, ["0 done"]);
    assert.equal(tries, 3);
  });

  it("gives a step up when the next cycle needs the time", async () => {
    const { context, state } = participant(100);
    const { events } = await run(
      context,
      async () => {
        state.best = 100 + 45 + 6;
        throw failure("manifest-unavailable", true);
      },
      { cycles: 1 },
    );
    assert.deepEqual(events, ["0 failed manifest-unavailable"]);
  });

  it("ends with what no later cycle can mend", async () => {
    const { context } = participant(100);
    await assert.rejects(
      run(context, async () => Promise.reject(failure("disk-full", true)), { cycles: 2 }),
      { code: "disk-full" },
    );
  });
});
