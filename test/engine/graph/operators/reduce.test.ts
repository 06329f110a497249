import assert from "node:assert/strict";
import { mean, reduceSum, sumOfSquares } from "../../../../src/engine/graph/operators/reduce.ts";
import { reshape } from "../../../../src/engine/graph/operators/reshape.ts";
import { checkGradients, evaluate } from "../finite-differences.ts";

describe("engine/graph/operators/reduce", () => {
  it("has the gradient of sums over any axes", async () => {
    for (const axes of [[0], [1], [0, 2], [0, 1, 2]]) {
      await checkGradients({ a: { shape: [2, 3, 2] } }, ({ a }) => reduceSum(a!, axes));
    }
  });

  it("has the gradient of the mean, of the sum of squares and of a reshape", async () => {
    await checkGradients({ a: { shape: [2, 3] } }, ({ a }) => mean(a!));
    await checkGradients({ a: { shape: [2, 3] } }, ({ a }) => sumOfSquares(a!));
    await checkGradients({ a: { shape: [2, 3] } }, ({ a }) => reduceSum(reshape(a!, [3, 2]), [0]));
  });

  it("computes them", async () => {
    const data = [1, 2, 3, 4, 5, 6];
    const results = await evaluate({ a: { shape: [2, 3], data } }, ({ a }) => ({
      sum: reduceSum(a!, [0]),
      mean: mean(a!),
      squares: sumOfSquares(a!),
    }));
    assert.deepEqual(results, { sum: [5, 7, 9], mean: [3.5], squares: [91] });
  });

  it("refuses an axis that is not there, and a reshape to another count", async () => {
    await assert.rejects(
      evaluate({ a: { shape: [2] } }, ({ a }) => ({ b: reduceSum(a!, [1]) })),
      /no axis 1/,
    );
    await assert.rejects(
      evaluate({ a: { shape: [2] } }, ({ a }) => ({ b: reshape(a!, [3]) })),
      /do not fit/,
    );
  });
});
