import assert from "node:assert/strict";
import type { Tensor } from "../../../../src/engine/graph/graph.ts";
import { linear, matrixProduct, sumOfProducts } from "../../../../src/engine/graph/operators/matrix.ts";
import { checkGradients, evaluate } from "../finite-differences.ts";

describe("engine/graph/operators/matrix", () => {
  for (const transposeA of [false, true]) {
    for (const transposeB of [false, true]) {
      it(`has the gradients with transposeA ${transposeA}, transposeB ${transposeB}`, async () => {
        const shapes = { a: { shape: transposeA ? [4, 3] : [3, 4] }, b: { shape: transposeB ? [5, 4] : [4, 5] } };
        await checkGradients(shapes, ({ a, b }) => matrixProduct(a!, b!, { transposeA, transposeB }));
      });
    }
  }

  it("adds up products and other tensors, with their gradients", async () => {
    const shapes = { a: { shape: [3, 4] }, b: { shape: [4, 5] }, c: { shape: [3, 5] } };
    const added = ({ a, b, c }: Record<string, Tensor>) => [c!, matrixProduct(a!, b!), c!, matrixProduct(a!, b!)];
    await checkGradients(shapes, (inputs) => sumOfProducts(added(inputs)));
    const [ones, twos] = [1, 2].map((value) => ({ shape: [1, 1], data: [value] }));
    const fed = { a: ones!, b: twos!, c: { shape: [1, 1], data: [10] } };
    assert.deepEqual((await evaluate(fed, (inputs) => ({ y: sumOfProducts(added(inputs as Record<string, Tensor>)) }))).y, [24]);
  });

  it("is x weight^T as a linear map", async () => {
    const fed = { x: { shape: [1, 2], data: [1, 10] }, weight: { shape: [3, 2], data: [1, 2, 3, 4, 5, 6] } };
    assert.deepEqual((await evaluate(fed, ({ x, weight }) => ({ y: linear(x!, weight!) }))).y, [21, 43, 65]);
  });

  it("refuses shapes that do not fit", async () => {
    await assert.rejects(
      evaluate({ a: { shape: [2, 3] }, b: { shape: [2, 3] } }, ({ a, b }) => ({ y: matrixProduct(a!, b!) })),
      /do not fit/,
    );
    await assert.rejects(
      evaluate({ a: { shape: [2, 3] }, b: { shape: [3] } }, ({ a, b }) => ({ y: matrixProduct(a!, b!) })),
      /needs a matrix/,
    );
  });
});
