import assert from "node:assert/strict";
import { limitToGroups, sparseMixerPick } from "../../../../src/engine/graph/operators/choice.ts";
import { add } from "../../../../src/engine/graph/operators/elementwise.ts";
import { largest, softmax, take } from "../../../../src/engine/graph/operators/softmax.ts";
import { checkGradients, evaluate } from "../finite-differences.ts";

const scores = { shape: [2, 6], data: [0.1, 0.6, 0.5, 0.4, 0.9, 0.2, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3] };
const chosen = async (kept: number, by: "largest" | "two-largest", groups = 3) =>
  (await evaluate({ scores }, ({ scores }) => ({ y: largest(limitToGroups(scores!, { groups, kept, by }), 2).indices }))).y;

describe("engine/graph/operators/choice", () => {
  it("keeps the best groups, by one score or the sum of two, the lower index among equals", async () => {
    assert.deepEqual(await chosen(1, "largest"), [4, 5, 0, 1]);
    // 0.9 + 0.2 of the third group against 0.5 + 0.4 and 0.1 + 0.6.
    assert.deepEqual(await chosen(1, "two-largest"), [4, 5, 0, 1]);
    assert.deepEqual(await chosen(2, "two-largest"), [4, 2, 0, 1]);
    assert.deepEqual(await chosen(2, "largest"), [4, 1, 0, 1]);
    assert.deepEqual(await chosen(1, "two-largest", 2), [4, 3, 0, 1]);
    assert.deepEqual(await chosen(1, "largest", 6), [4, 0, 0, 1]);
  });

  it("picks twice as SparseMixer does, from what is in reach", async () => {
    // Reach of the first pick: (2 - x) / max(|x|, 2) <= 0.2, so 1.7 and not 1.5; of the second, among the rest: (1.7 - x) / max(|x|, 1.7) <= 0.2.
    const fed = { x: { shape: [1, 5], data: [1.5, 2, 1.7, -3, 1.3] } };
    const { first, second, gates } = await evaluate(fed, ({ x }) => {
      const first = sparseMixerPick(x!, 0.2);
      const second = sparseMixerPick(x!, 0.2, first.index);
      const gates = [first, second].map(({ mask, index }) => take(softmax(add(x!, mask)), index));
      return { first: first.index, second: second.index, gates: add(gates[0]!, gates[1]!) };
    });
    assert.deepEqual([first, second], [[1], [2]]);
    const expected = 1 / (1 + Math.exp(-0.3)) + 1 / (1 + Math.exp(-0.2));
    assert.ok(Math.abs(gates![0]! - expected) < 1e-6);
  });

  it("lets gradients pass SparseMixer through what was in reach only", async () => {
    const data = [1.5, 2, 1.7, -3, 1.3, -1, -1.02, -3, -1.15, -2];
    await checkGradients({ x: { shape: [2, 5], data } }, ({ x }) => {
      const first = sparseMixerPick(x!, 0.2);
      const second = sparseMixerPick(x!, 0.2, first.index);
      return take(softmax(add(x!, second.mask)), second.index);
    });
  });
});
