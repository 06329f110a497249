import assert from "node:assert/strict";
import { crossEntropy } from "../../../../src/engine/graph/operators/cross-entropy.ts";
import { checkGradients, evaluate, random } from "../finite-differences.ts";

const targets = { shape: [3], data: [4n, 0n, 1n] };

describe("engine/graph/operators/cross-entropy", () => {
  it("is the negative logarithm of the right class's probability, for large logits too", async () => {
    const logits = [...random(10, 5), 1000, 0, 0, 0, -1000];
    const { y } = await evaluate({ logits: { shape: [3, 5], data: logits }, targets }, ({ logits, targets }) => ({
      y: crossEntropy(logits!, targets!),
    }));
    for (const [row, target] of targets.data.entries()) {
      const own = logits.slice(row * 5, row * 5 + 5);
      const highest = Math.max(...own);
      const expected = Math.log(own.reduce((sum, one) => sum + Math.exp(one - highest), 0)) + highest - (own[Number(target)] as number);
      assert.ok(Math.abs((y?.[row] as number) - expected) < 1e-5 * Math.max(1, expected));
    }
  });

  it("has the gradient", async () => {
    await checkGradients({ logits: { shape: [3, 5] }, targets }, ({ logits, targets }) => crossEntropy(logits!, targets!));
  });
});
