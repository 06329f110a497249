import assert from "node:assert/strict";
import fc from "fast-check";
import { drawScorers } from "../../src/protocol/scorers.ts";
import { hash, hotkeys } from "./support.ts";

const names = hotkeys(9);
const stakes = fc.array(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), { minLength: 1, maxLength: 9 });
const validatorsOf = (list: readonly bigint[]) => list.map((stake, index) => ({ hotkey: names[index] as string, stake }));

describe("scorers", () => {
  it("are as many different validators a group as the task says, or all", () => {
    fc.assert(
      fc.property(fc.string().map(hash), stakes, fc.integer({ min: 2, max: 12 }), (seed, list, count) => {
        const validators = validatorsOf(list);
        const drawn = drawScorers({ seed, validators, groups: 3, count });
        assert.equal(drawn.length, 3);
        for (const group of drawn) {
          assert.equal(group.length, Math.min(count, list.length));
          assert.equal(new Set(group).size, group.length);
          assert.ok(group.every((hotkey) => validators.some((validator) => validator.hotkey === hotkey)));
        }
        assert.deepEqual(drawScorers({ seed, validators: [...validators].reverse(), groups: 3, count }), drawn);
      }),
    );
  });

  it("are drawn in proportion to stake, and differ from group to group", () => {
    const validators = validatorsOf([6_000n, 3_000n, 1_000n]);
    const groups = 6_000;
    const drawn = drawScorers({ seed: hash("seed"), validators, groups, count: 2 });
    const first = names.slice(0, 3).map((name) => drawn.filter(([hotkey]) => hotkey === name).length / groups);
    for (const [index, share] of [0.6, 0.3, 0.1].entries()) assert.ok(Math.abs((first[index] as number) - share) < 0.025, String(first));
  });
});
