import assert from "node:assert/strict";
import type { Heads } from "../../../src/steps/clock.ts";
import { followSchedule } from "../../../src/steps/train/schedule.ts";

/** Train is blocks 100 to 109, commit 110 to 113. */
const windows = { train: { first: 100, last: 109 }, commit: { first: 110, last: 113 } };

/** A chain and a watch that the test moves: `head` brings a block after so many seconds. */
async function scene(block: number) {
  let seconds = 0;
  let best = block;
  const listeners = new Set<(heads: Heads) => void>();
  const heads = (): Heads => ({ best, finalized: { number: best - 2, hash: "0x" } });
  const clock = {
    now: async () => heads(),
    watch: (listener: (heads: Heads) => void) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
  const schedule = await followSchedule(clock, windows, () => seconds);
  const pass = (count: number) => {
    seconds += count;
  };
  return {
    schedule,
    listeners,
    pass,
    head(number: number, after: number) {
      pass(after);
      best = number;
      for (const listener of listeners) listener(heads());
    },
  };
}

describe("the schedule of training", () => {
  it("measures the window from the block before it to its last", async () => {
    const { schedule, head, pass } = await scene(95);
    for (let block = 96; block <= 109; block++) {
      head(block, 12);
      if (block === 99) assert.equal(schedule.share(), 0);
      if (block === 104) {
        assert.equal(schedule.share(), 0.5);
        assert.equal(schedule.secondsLeft(), 60);
        pass(5);
        assert.equal(schedule.secondsLeft(), 55);
        pass(-5);
      }
    }
    assert.equal(schedule.share(), 1);
    assert.equal(schedule.windowSeconds(), 120);
    // The last step ends after it.
    pass(3);
    assert.equal(schedule.windowSeconds(), 123);
    assert.equal(schedule.allows(0), false);
  });

  it("counts the part of the window that was over when nobody looked", async () => {
    const { schedule, head } = await scene(103);
    for (let block = 104; block <= 109; block++) head(block, block === 104 ? 3 : 12);
    assert.equal(schedule.windowSeconds(), 120);
  });

  it("is no shorter than it was open while somebody looked, however fast the last blocks came", async () => {
    const { schedule, head } = await scene(101);
    head(108, 40);
    head(109, 0.001);
    assert.equal(schedule.windowSeconds(), 40.001);
  });

  it("counts a window that is left early to its end", async () => {
    const { schedule, head } = await scene(98);
    for (const block of [99, 100, 101]) head(block, 10);
    assert.equal(schedule.windowSeconds(), 100);
  });

  it("ends with the window where there is time enough to commit, and before where there is not", async () => {
    const { schedule, head, pass } = await scene(99);
    for (const block of [100, 101, 102]) head(block, 10);
    // The last block that a commitment is sent for is 111: 90 seconds from here.
    assert.equal(schedule.allows(90), true);
    assert.equal(schedule.allows(90.5), false);
    pass(9);
    assert.equal(schedule.allows(82), false);
    // A chain that stalls stops the clock.
    pass(1000);
    assert.equal(schedule.allows(80), true);
    head(108, 0);
    assert.equal(schedule.allows(1), true);
    head(109, 10);
    assert.equal(schedule.allows(0), false);
  });

  it("allows everything until it knows the pace, and stops watching when it is closed", async () => {
    const { schedule, head, listeners } = await scene(99);
    assert.equal(schedule.secondsLeft(), undefined);
    assert.equal(schedule.allows(1e9), true);
    head(100, 1);
    assert.equal(schedule.allows(1e9), true);
    schedule.close();
    assert.equal(listeners.size, 0);
  });
});
