import assert from "node:assert/strict";
import fc from "fast-check";
import type { Tensor } from "../../../../src/engine/graph/graph.ts";
import { multiply } from "../../../../src/engine/graph/operators/elementwise.ts";
import { matrixProduct } from "../../../../src/engine/graph/operators/matrix.ts";
import { combine, concatRows, dispatch, sortByExpert, sortRows, splitRows } from "../../../../src/engine/graph/operators/routing.ts";
import { checkGradients, evaluate } from "../finite-differences.ts";

/** Four tokens, two choices each of five experts; experts 2 and 4 get none. */
const indices = { shape: [4, 2], data: [3n, 0n, 0n, 1n, 3n, 1n, 0n, 3n] };

describe("routing", () => {
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
          return { y: combine(concatRows(splitRows(dispatch(x!, routing), routing), routing), routing) };
        });
        assert.deepEqual(
          y,
          x.map((value) => 2 * value),
        );
      }),
      { numRuns: 15 },
    );
  });

  it("has the gradients of dispatch, combine and sortRows", async () => {
    await checkGradients({ indices, x: { shape: [4, 3] } }, ({ indices, x }) => dispatch(x!, sortByExpert(indices!, 5)));
    await checkGradients({ indices, x: { shape: [8, 3] } }, ({ indices, x }) => combine(x!, sortByExpert(indices!, 5)));
    await checkGradients({ indices, x: { shape: [8, 1] } }, ({ indices, x }) => sortRows(x!, sortByExpert(indices!, 5)));
  });

  it("has the gradients through experts of their own, also those that get no token", async () => {
    const weights = Object.fromEntries(Array.from({ length: 5 }, (_, expert) => [`w${expert}`, { shape: [3, 2] }]));
    const build = ({ indices, x, gates, ...weights }: Record<string, Tensor>) => {
      const routing = sortByExpert(indices!, 5);
      const parts = splitRows(dispatch(x!, routing), routing);
      const results = parts.map((part, expert) => matrixProduct(part, weights[`w${expert}`]!));
      return combine(multiply(concatRows(results, routing), sortRows(gates!, routing)), routing);
    };
    const fed = { indices, x: { shape: [4, 3] }, gates: { shape: [8, 1] }, ...weights };
    await checkGradients(fed, build, { variables: ["x", "gates", "w0", "w1", "w3"] });
    await checkGradients(fed, build, { variables: ["w3"] });
  });

  it("gives a zero gradient to an expert that gets no token", async () => {
    const fed = { indices, x: { shape: [4, 3] }, w: { shape: [3, 2] } };
    const build = ({ indices, x, w }: Record<string, Tensor>) => {
      const routing = sortByExpert(indices!, 5);
      const parts = splitRows(dispatch(x!, routing), routing);
      const results = parts.map((part) => matrixProduct(part, w!));
      return combine(concatRows(results, routing), routing);
    };
    await checkGradients(fed, build);
  });
});
