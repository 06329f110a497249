import assert from "node:assert/strict";
import { embed } from "../../../../src/engine/graph/operators/embedding.ts";
import { checkGradients, evaluate } from "../finite-differences.ts";

const indices = { shape: [5], data: [2n, 0n, 2n, 2n, 3n] };

describe("engine/graph/operators/embedding", () => {
  it("takes rows", async () => {
    const fed = { table: { shape: [4, 2], data: [0, 1, 10, 11, 20, 21, 30, 31] }, indices };
    assert.deepEqual(
      (await evaluate(fed, ({ table, indices }) => ({ y: embed(table!, indices!) }))).y,
      [20, 21, 0, 1, 20, 21, 20, 21, 30, 31],
    );
  });

  it("has the gradient, with rows taken several times and never", async () => {
    await checkGradients({ table: { shape: [4, 3] }, indices }, ({ table, indices }) => embed(table!, indices!));
  });
});
