import assert from "node:assert/strict";
import fc from "fast-check";
import {
  cycleAt,
  cycleLength,
  cycleWindow,
  decisionBlock,
  fetchingBlocks,
  inWindow,
  phaseAt,
  phases,
  votingWindows,
  windowOf,
} from "../../src/protocol/clock.ts";
import { exampleTask } from "./support.ts";

const tasks = fc
  .record({
    startBlock: fc.integer({ min: 1, max: 10_000 }),
    lengths: fc.array(fc.integer({ min: 5, max: 50 }), { minLength: 6, maxLength: 6 }),
  })
  .map(({ startBlock, lengths }) =>
    exampleTask({ cycle: { startBlock, phases: Object.fromEntries(phases.map((phase, index) => [phase, lengths[index]])) } }),
  );

describe("clock", () => {
  it("places the default cycle's phases", () => {
    const task = exampleTask();
    assert.equal(cycleLength(task), 45);
    assert.deepEqual(
      phases.map((phase) => windowOf(task, 0, phase)),
      [
        { first: 100, last: 104 },
        { first: 105, last: 119 },
        { first: 120, last: 123 },
        { first: 124, last: 128 },
        { first: 129, last: 135 },
        { first: 136, last: 144 },
      ],
    );
    assert.deepEqual(windowOf(task, 2, "commit"), { first: 210, last: 213 });
    assert.deepEqual(phaseAt(task, 210), { cycle: 2, phase: "commit", offset: 20, blocksLeft: 4 });
    assert.deepEqual(phaseAt(task, 213), { cycle: 2, phase: "commit", offset: 23, blocksLeft: 1 });
    assert.equal(decisionBlock(task, 2), 189);
  });

  it("puts every block in one phase of one cycle", () => {
    fc.assert(
      fc.property(tasks, fc.nat(3_000), (task, after) => {
        const block = task.cycle.startBlock + after;
        const position = phaseAt(task, block);
        assert.ok(position !== undefined);
        assert.equal(position.cycle, cycleAt(task, block));
        const holding = phases.filter((phase) => inWindow(windowOf(task, position.cycle, phase), block));
        assert.deepEqual(holding, [position.phase]);
        const { last } = windowOf(task, position.cycle, position.phase);
        assert.equal(position.blocksLeft, last - block + 1);
        assert.equal(position.offset, block - cycleWindow(task, position.cycle).first);
      }),
    );
  });

  it("leaves no gap between phases or cycles", () => {
    fc.assert(
      fc.property(tasks, fc.nat(100), (task, cycle) => {
        const windows = [...phases.map((phase) => windowOf(task, cycle, phase)), windowOf(task, cycle + 1, "distribute")];
        for (const [index, window] of windows.slice(1).entries()) assert.equal(window.first, (windows[index]?.last ?? 0) + 1);
        assert.equal(decisionBlock(task, cycle + 1), cycleWindow(task, cycle).last);
      }),
    );
  });

  it("knows no cycle before the task's first block", () => {
    const task = exampleTask();
    assert.equal(phaseAt(task, 99), undefined);
    assert.equal(cycleAt(task, 0), undefined);
    assert.equal(cycleAt(task, 100), 0);
    assert.throws(() => cycleAt(task, 1.5), { code: "integer-out-of-range" });
    assert.throws(() => cycleWindow(task, -1), { code: "integer-out-of-range" });
  });

  it("leaves half of the blocks to score in for fetching, the odd one too", () => {
    assert.deepEqual([0, 1, 2, 3, 76].map(fetchingBlocks), [0, 1, 1, 2, 38]);
  });

  it("parts the merge window in ballots and roots shown, with no block in both or neither", () => {
    assert.deepEqual(votingWindows(exampleTask(), 0), { ballot: { first: 136, last: 141 }, version: { first: 142, last: 144 } });
    fc.assert(
      fc.property(tasks, fc.nat(9), (task, cycle) => {
        const merge = windowOf(task, cycle, "merge");
        const { ballot, version } = votingWindows(task, cycle);
        assert.deepEqual([ballot.first, ballot.last + 1, version.last], [merge.first, version.first, merge.last]);
        assert.ok(ballot.last - ballot.first >= 2 && version.last - version.first >= 1);
      }),
    );
  });
});
