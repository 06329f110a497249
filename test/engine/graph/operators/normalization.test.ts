import assert from "node:assert/strict";
import { layerNorm, rmsNorm } from "../../../../src/engine/graph/operators/normalization.ts";
import { checkGradients, evaluate } from "../finite-differences.ts";

describe("engine/graph/operators/normalization", () => {
  it("divides each row by its root mean square and weighs it", async () => {
    const fed = { x: { shape: [2, 2], data: [3, 4, 0, 2] }, weight: { shape: [2], data: [1, 2] } };
    const { y } = await evaluate(fed, ({ x, weight }) => ({ y: rmsNorm(x!, weight!, 0.5) }));
    const expected = [3 / Math.sqrt(13), 8 / Math.sqrt(13), 0, 4 / Math.sqrt(2.5)];
    for (const [index, value] of expected.entries()) assert.ok(Math.abs((y?.[index] as number) - value) < 1e-6);
  });

  it("has the gradients, together and one by one", async () => {
    const fed = { x: { shape: [4, 5] }, weight: { shape: [5] } };
    for (const variables of [["x", "weight"], ["x"], ["weight"]]) {
      await checkGradients(fed, ({ x, weight }) => rmsNorm(x!, weight!, 1e-3), { variables });
    }
  });

  it("centres each row as well where it is a LayerNorm, with the gradients", async () => {
    const fed = { x: { shape: [1, 2], data: [3, 5] }, weight: { shape: [2], data: [1, 2] }, bias: { shape: [2], data: [0.5, -1] } };
    const { y } = await evaluate(fed, ({ x, weight, bias }) => ({ y: layerNorm(x!, weight!, bias!, 3) }));
    assert.deepEqual(y, [0, 0]);
    const all = { x: { shape: [4, 5] }, weight: { shape: [5] }, bias: { shape: [5] } };
    for (const variables of [["x", "weight", "bias"], ["x"], ["weight"], ["bias"]]) {
      await checkGradients(all, ({ x, weight, bias }) => layerNorm(x!, weight!, bias!, 1e-3), { variables });
    }
  });
});
