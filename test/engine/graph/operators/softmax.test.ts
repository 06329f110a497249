import assert from "node:assert/strict";
import { multiply } from "../../../../src/engine/graph/operators/elementwise.ts";
import { largest, softmax, take } from "../../../../src/engine/graph/operators/softmax.ts";
import { checkGradients, evaluate } from "../finite-differences.ts";

/** Far enough apart that finite differences change no choice. */
const apart = [0.1, 0.9, -0.4, 0.5, 0.7, -0.2, 0.3, -0.9, 0.2, 0.6, -0.6, -0.1];

describe("engine/graph/operators/softmax", () => {
  it("has the gradient of softmax", async () => {
    await checkGradients({ x: { shape: [3, 4] } }, ({ x }) => softmax(x!));
  });

  it("gives the largest in falling order, the lower index first among equals", async () => {
    const fed = { x: { shape: [2, 4], data: [1, 3, 3, 2, 5, 5, 5, 5] } };
    const results = await evaluate(fed, ({ x }) => ({ ...largest(x!, 3) }));
    assert.deepEqual(results, { values: [3, 3, 2, 5, 5, 5], indices: [1, 2, 3, 0, 1, 2] });
  });

  it("takes values at indices, with the gradient", async () => {
    const fed = { x: { shape: [2, 4], data: apart.slice(0, 8) }, indices: { shape: [2, 2], data: [3n, 1n, 0n, 2n] } };
    const { y } = await evaluate(fed, ({ x, indices }) => ({ y: take(x!, indices!) }));
    assert.deepEqual(y, [0.5, 0.9, 0.7, 0.3].map(Math.fround));
    await checkGradients(fed, ({ x, indices }) => take(x!, indices!));
  });

  it("has the gradient of the values that were chosen", async () => {
    await checkGradients({ x: { shape: [3, 4], data: apart } }, ({ x }) => largest(x!, 2).values);
    await checkGradients({ x: { shape: [3, 4], data: apart }, y: { shape: [3, 2] } }, ({ x, y }) =>
      multiply(softmax(largest(softmax(x!), 2).values), y!),
    );
  });
});
