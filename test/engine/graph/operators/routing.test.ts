import assert from "node:assert/strict";
import fc from "fast-check";
import type { Tensor } from "../../../../src/engine/graph/graph.ts";
import { multiply } from "../../../../src/engine/graph/operators/elementwise.ts";
import { matrixProduct } from "../../../../src/engine/graph/operators/matrix.ts";
import { combine, dispatch, dispatchSlots, sortByExpert } from "../../../../src/engine/graph/operators/routing.ts";
import { checkGradients, evaluate } from "../finite-differences.ts";

/** Four tokens, two choices each of five experts; experts 2 and 4 get none. */
const indices = { shape: [4, 2], data: [3n, 0n, 0n, 1n, 3n, 1n, 0n, 3n] };

describe("engine/graph/operators/routing", () => {
  it("sorts slots by expert and then by slot, with counts and the inverse", async () => {
    const results = await evaluate({ indices }, ({ indices }) => {
      const { token, slot, row, counts } = sortByExpert(indices!, 5);
      return { token, slot, row, counts };
    });
    assert.deepEqual(results, {
      slot: [1, 2, 6, 3, 5, 0, 4, 7],
      token: [0, 1, 3, 1, 2, 0, 2, 3],
      row: [5, 0, 1, 3, 6, 4, 2, 7],
      counts: [3, 2, 0, 3, 0],
    });
  });

  it("brings every slot back to its token, whatever was chosen", async () => {
    const choices = fc.array(fc.tuple(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 5 })), { minLength: 6, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(choices, async (chosen) => {
        const data = chosen.flat().map(BigInt);
        const x = Array.from({ length: 12 }, (_, index) => index + 1);
        const { y } = await evaluate({ indices: { shape: [6, 2], data }, x: { shape: [6, 2], data: x } }, ({ indices, x }) => {
          const routing = sortByExpert(indices!, 6);
          return { y: combine(dispatch(x!, routing), routing) };
        });
        assert.deepEqual(
          y,
          x.map((value) => 2 * value),
        );
      }),
      { numRuns: 15 },
    );
  });

  /** An expert that multiplies by a matrix of its own, and weighs each slot. */
  const build = ({ indices, x, gates, ...weights }: Record<string, Tensor>) => {
    const routing = sortByExpert(indices!, 5);
    const columns = dispatchSlots(gates!, routing);
    const results = dispatch(x!, routing).map((rows, expert) =>
      multiply(matrixProduct(rows, weights[`w${expert}`] ?? weights["w"]!), columns[expert]!),
    );
    return combine(results, routing);
  };
  const fed = { indices, x: { shape: [4, 3] }, gates: { shape: [4, 2] } };

  it("gives each slot its own number and each token its experts' results", async () => {
    const gates = [1, 2, 3, 4, 5, 6, 7, 8];
    const matrices = Object.fromEntries([1, 10, 100, 1000, 10000].map((data, expert) => [`w${expert}`, { shape: [1, 1], data: [data] }]));
    const { y } = await evaluate(
      { indices, x: { shape: [4, 1], data: [1, 2, 3, 4] }, gates: { shape: [4, 2], data: gates }, ...matrices },
      (all) => ({
        y: build(all),
      }),
    );
    assert.deepEqual(y, [1 * (1000 * 1 + 1 * 2), 2 * (1 * 3 + 10 * 4), 3 * (1000 * 5 + 10 * 6), 4 * (1 * 7 + 1000 * 8)]);
  });

  it("has the gradients of rows and gates, through experts that get no token too", async () => {
    await checkGradients({ ...fed, w: { shape: [3, 2] } }, build);
    await checkGradients({ ...fed, w: { shape: [3, 2] } }, build, { variables: ["x"] });
    await checkGradients({ ...fed, w: { shape: [3, 2] } }, build, { variables: ["gates"] });
  });

  it("has the gradients of an expert's own weights, zero where it gets no token", async () => {
    const weights = Object.fromEntries(Array.from({ length: 5 }, (_, expert) => [`w${expert}`, { shape: [3, 2] }]));
    await checkGradients({ ...fed, ...weights }, build, { variables: ["x", "gates", "w0", "w1", "w3"] });
    await checkGradients({ ...fed, ...weights }, build, { variables: ["w3"] });
    await checkGradients({ ...fed, ...weights }, build, { variables: ["w2", "w4"], unused: ["w2", "w4"] });
  });
});
