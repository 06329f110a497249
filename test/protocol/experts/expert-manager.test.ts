import assert from "node:assert/strict";
import fc from "fast-check";
import { createExpertManager, type ExpertLayout, possibleGroups } from "../../../src/protocol/experts/expert-manager.ts";

const layout: ExpertLayout = {
  layers: [
    { layer: 1, experts: 8 },
    { layer: 3, experts: 12 },
  ],
};

describe("expert manager", () => {
  it("splits every layer's experts evenly, each into one group", () => {
    const sizes = fc.record({
      groups: fc.integer({ min: 1, max: 8 }),
      multiples: fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 4 }),
    });
    fc.assert(
      fc.property(sizes, ({ groups, multiples }) => {
        const layers = multiples.map((multiple, index) => ({ layer: index * 2, experts: multiple * groups }));
        const manager = createExpertManager({ layers }, groups);
        for (const { layer, experts } of layers) {
          const seen: number[] = [];
          for (let group = 0; group < groups; group++) {
            const own = manager.expertsOf(group).find((entry) => entry.layer === layer)?.experts ?? [];
            assert.equal(own.length, experts / groups);
            for (const expert of own) {
              assert.equal(manager.groupOf(layer, expert), group);
              assert.equal(Math.floor((expert * groups) / experts), group);
            }
            seen.push(...own);
          }
          assert.deepEqual(
            seen,
            Array.from({ length: experts }, (_, expert) => expert),
          );
        }
      }),
    );
  });

  it("says which numbers of groups would do", () => {
    assert.deepEqual(possibleGroups(layout), [1, 2, 4]);
    assert.throws(() => createExpertManager(layout, 3), {
      code: "groups-do-not-divide",
      message: /3 groups do not divide the 8 and 12 experts/,
      hint: "Choose one of 1, 2, 4.",
    });
    for (const groups of [0, -1, 1.5, 8]) assert.throws(() => createExpertManager(layout, groups), { code: "groups-do-not-divide" });
  });

  it("refuses layers, experts and groups that there are not", () => {
    const manager = createExpertManager(layout, 2);
    assert.throws(() => manager.groupOf(2, 0), { code: "no-such-expert", hint: /1, 3/ });
    assert.throws(() => manager.groupOf(1, 8), { code: "no-such-expert", hint: /0 to 7/ });
    assert.throws(() => manager.groupOf(1, 0.5), { code: "no-such-expert" });
    assert.throws(() => manager.expertsOf(2), { code: "no-such-group" });
    assert.throws(() => manager.expertsOf(-1), { code: "no-such-group" });
  });

  it("refuses layouts that are none", () => {
    const wrong = [
      [],
      [{ layer: 1, experts: 0 }],
      [
        { layer: 2, experts: 4 },
        { layer: 2, experts: 4 },
      ],
      [
        { layer: 2, experts: 4 },
        { layer: 1, experts: 4 },
      ],
    ];
    for (const layers of wrong) assert.throws(() => createExpertManager({ layers }, 1), { code: "expert-layout-invalid" });
  });
});
