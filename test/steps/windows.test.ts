import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import type { Task } from "../../src/protocol/task.ts";
import type { ChainClock, Heads } from "../../src/steps/clock.ts";
import { afterFinalized, awaitOpening, currentCycle, sendingWindow, signalAt } from "../../src/steps/windows.ts";

// First block 100; commit is blocks 123 to 126 of cycle 0.
const task = { cycle: { startBlock: 100, phases: { distribute: 5, train: 18, commit: 4, reveal: 5, score: 7, merge: 6 } } } as Task;
const heads = (best: number): Heads => ({ best, finalized: { number: best - 2, hash: "0x" } });

/** A clock that shows these heads one after another. */
function clockOf(...bests: number[]): ChainClock {
  const rest = [...bests];
  return {
    now: async () => heads(rest[0] ?? Number.NaN),
    until: async (condition) => {
      for (const best of rest) if (condition(heads(best))) return heads(best);
      throw new Error("never");
    },
    watch: () => () => {},
    pause: async () => {},
  };
}

const commit = sendingWindow(task, "Commit", 0, "commit");
const options = { wait: false, signal: new AbortController().signal };

describe("windows", () => {
  it("open for sending when the next block is inside", async () => {
    await assert.rejects(awaitOpening(clockOf(121), commit, options), { code: "phase-not-open", exit: 20, retryable: true });
    assert.equal((await awaitOpening(clockOf(122), commit, options)).best, 122);
    assert.equal((await awaitOpening(clockOf(125), commit, options)).best, 125);
  });

  it("are missed when the last useful block is out", async () => {
    await assert.rejects(awaitOpening(clockOf(126), commit, options), { code: "deadline-missed", exit: 21, retryable: false });
  });

  it("wait when asked to", async () => {
    assert.equal((await awaitOpening(clockOf(90, 110, 122, 123), commit, { ...options, wait: true })).best, 122);
  });

  it("that depend on what is final open with finality, not with the head", async () => {
    const reveal = afterFinalized("Reveal", 0, 126, 131);
    await assert.rejects(awaitOpening(clockOf(127), reveal, options), { code: "phase-not-open" });
    assert.equal((await awaitOpening(clockOf(128), reveal, options)).best, 128);
    await assert.rejects(awaitOpening(clockOf(131), reveal, options), { code: "deadline-missed" });
  });

  it("end what is waited for at a block, or when all is stopped, and say which", () => {
    let [tell, closed] = [(_: Heads): void => assert.fail(), false];
    const watch: ChainClock["watch"] = (listener) => {
      tell = listener;
      return () => {
        closed = true;
      };
    };
    const stop = new AbortController();
    const away = { ...clockOf(), watch, now: () => Promise.reject(new Error("away")) };
    const at = () => signalAt({ clock: away, signal: stop.signal }, 130);
    const late = at();
    tell(heads(129));
    assert.equal(late.signal.aborted, false);
    tell(heads(130));
    assert.throws(() => late.signal.throwIfAborted(), { code: "out-of-time", exit: 21 });
    late.close();
    assert.ok(closed);
    const stopped = at();
    stop.abort(new Error("stop"));
    assert.throws(() => stopped.signal.throwIfAborted(), /stop/);
  });

  it("end what is waited for where the chain is at the block already", async () => {
    const at = (best: number) => signalAt({ clock: clockOf(best), signal: new AbortController().signal }, 130).signal;
    const [early, late] = [at(129), at(130)];
    await setImmediate();
    assert.equal(early.aborted, false);
    assert.throws(() => late.throwIfAborted(), { code: "out-of-time" });
  });

  it("belong to the cycle that the head is in", () => {
    assert.throws(() => currentCycle(task, heads(99)), { code: "phase-not-open" });
    assert.equal(currentCycle(task, heads(100)), 0);
    assert.equal(currentCycle(task, heads(145)), 1);
  });
});
