import assert from "node:assert/strict";
import fc from "fast-check";
import { cycleAt, cycleLength, cycleWindow, decisionBlock, inWindow, phaseAt, phases, windowOf } from "../../src/protocol/clock.ts";
import { exampleTask } from "./support.ts";

const tasks = fc
  .record({
    startBlock: fc.integer({ min: 1, max: 10_000 }),
    lengths: fc.array(fc.integer({ min: 3, max: 50 }), { minLength: 6, maxLength: 6 }),
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
        { first: 105, last: 122 },
        { first: 123, last: 126 },
        { first: 127, last: 131 },
        { first: 132, last: 138 },
        { first: 139, last: 144 },
      ],
    );
    assert.deepEqual(windowOf(task, 2, "commit"), { first: 213, last: 216 });
    assert.deepEqual(phaseAt(task, 213), { cycle: 2, phase: "commit", offset: 23, blocksLeft: 4 });
    assert.deepEqual(phaseAt(task, 216), { cycle: 2, phase: "commit", offset: 26, blocksLeft: 1 });
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
});
