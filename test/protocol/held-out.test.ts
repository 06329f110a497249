import assert from "node:assert/strict";
import fc from "fast-check";
import {
  areOpenSequences,
  areStages,
  type DrawnSequence,
  drawOpenSequences,
  drawSequences,
  heldOutPart,
  placesOf,
} from "../../src/protocol/held-out.ts";
import { exampleTask, hash } from "./support.ts";

const task = exampleTask({ evaluation: { sequencesPerDomain: 5, stages: 3 } });
const key = ({ domain, index }: DrawnSequence) => `${domain} ${index}`;
const available = fc.tuple(fc.integer({ min: 14, max: 120 }), fc.integer({ min: 14, max: 120 }));

describe("held-out sequences", () => {
  it("serve one purpose each: of every sixteen three are watched, one is open, twelve are drawn from", () => {
    const parts = ["watch", "open", "pool"] as const;
    assert.deepEqual(
      parts.map((part) => placesOf(part, 32).length),
      [6, 2, 24],
    );
    for (let index = 0; index < 64; index++)
      assert.deepEqual(
        parts.filter((part) => placesOf(part, 64).includes(index)),
        [heldOutPart(index)],
      );
  });

  it("are drawn for the gate and the stages without overlap, from the pool alone, alike for all domains", () => {
    fc.assert(
      fc.property(fc.string().map(hash), available, (seed, counts) => {
        const { stages, gate } = drawSequences({ task, seed, available: counts });
        const all = [...gate, ...stages.flat()];
        assert.equal(new Set(all.map(key)).size, all.length);
        assert.ok(all.every(({ domain, index }) => index < (counts[domain] as number) && heldOutPart(index) === "pool"));
        for (const drawn of [gate, ...stages]) {
          assert.equal(drawn.filter(({ domain }) => domain === 0).length, drawn.filter(({ domain }) => domain === 1).length);
        }
        const smallest = Math.min(...counts.map((count) => placesOf("pool", count).length));
        assert.equal(stages.flat().length / 2, Math.min(20, Math.floor(smallest / 2)));
        assert.equal(gate.length, stages.flat().length);
        assert.equal(stages[0]?.length, 10);
      }),
    );
  });

  it("double with every stage until the task's number of stages or the pool's end", () => {
    const sizes = (count: number) =>
      drawSequences({ task, seed: hash("seed"), available: [count, 200] }).stages.map((stage) => stage.length / 2);
    assert.deepEqual(sizes(200), [5, 5, 10]);
    assert.deepEqual(sizes(24), [5, 3]);
    assert.deepEqual(sizes(14), [5]);
  });

  it("go on with one stream from domain to domain", () => {
    const { gate } = drawSequences({ task, seed: hash("seed"), available: [90, 90] });
    assert.notDeepEqual(
      gate.slice(0, 20).map(({ index }) => index),
      gate.slice(20).map(({ index }) => index),
    );
  });

  it("are known by their number from all others: exactly where the data's size is known, else as data of some size would give them", () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 45 }), { maxLength: 4 });
    fc.assert(
      fc.property(fc.string().map(hash), available, sizes, (seed, counts, other) => {
        const stages = drawSequences({ task, seed, available: counts }).stages.map(({ length }) => length);
        assert.ok(areStages(task, stages, counts));
        assert.ok(areStages(task, stages));
        assert.equal(areStages(task, other, counts), other.join() === stages.join());
      }),
    );
    for (const stages of [[10], [10, 10], [10, 2], [10, 10, 20], [10, 10, 2]]) assert.ok(areStages(task, stages), `${stages}`);
    for (const stages of [
      [],
      [0],
      [8],
      [2, 2, 4],
      [10, 3],
      [10, 12],
      [20, 20],
      [10, 10, 22],
      [10, 10, 10, 10],
      [10, 0],
      [Number.MAX_SAFE_INTEGER],
    ])
      assert.ok(!areStages(task, stages), `${stages}`);
  });

  it("that are shown are known too", () => {
    const counts = [400, 40];
    const draw = { task, seed: hash("seed"), available: counts };
    const drawn = drawOpenSequences(draw);
    const unknown = { ...draw, available: undefined };
    for (const known of [draw, unknown]) {
      assert.ok(areOpenSequences(known, drawn));
      for (const wrong of [
        [...drawn].reverse(),
        [...drawn, { domain: 2, index: 3 }],
        [...drawn, drawn.at(-1) as DrawnSequence],
        drawn.map(({ domain, index }) => ({ domain, index: index + 1 })),
        Array.from({ length: 9 }, (_, at) => ({ domain: 0, index: 16 * at + 3 })),
      ])
        assert.ok(!areOpenSequences(known, wrong), JSON.stringify(wrong));
    }
    const others = drawOpenSequences({ ...draw, seed: hash("another") });
    assert.deepEqual(
      [draw, unknown].map((known) => areOpenSequences(known, others)),
      [false, true],
    );
    for (const known of [draw, unknown])
      for (const few of [[], drawn.filter(({ domain }) => domain === 0)]) assert.equal(areOpenSequences(known, few), false);
  });

  it("that are shown are as many as the least data that may be drawn from have, for who does not know how large they are", () => {
    for (const sequencesPerDomain of [2, 5, 6, 7, 12, 13, 32, 60]) {
      const { evaluation } = exampleTask({ evaluation: { sequencesPerDomain, stages: 1 } });
      const needs = { data: task.data, evaluation };
      let count = 1;
      while (placesOf("pool", count).length < 2 * sequencesPerDomain) count++;
      const unknown = { task: needs, seed: hash("seed"), available: undefined };
      const drawn = drawOpenSequences({ ...unknown, available: [count, count] });
      assert.equal(areOpenSequences(unknown, drawn), true, `${sequencesPerDomain}`);
      assert.equal(areOpenSequences(unknown, drawn.slice(0, -1)), false, `${sequencesPerDomain}`);
    }
  });

  it("need enough text, and say which domain has too little", () => {
    assert.throws(() => drawSequences({ task, seed: hash("seed"), available: [90, 13] }), {
      code: "held-out-too-short",
      message: /novel have 13 sequences, of which 9 may be drawn; the task draws at least 10/,
    });
  });

  it("that are shown are open ones, at most eight of a domain", () => {
    const drawn = drawOpenSequences({ task, seed: hash("seed"), available: [400, 20] });
    assert.equal(drawn.length, 10);
    assert.ok(drawn.every(({ index }) => heldOutPart(index) === "open"));
    assert.equal(new Set(drawn.map(key)).size, 10);
  });
});
