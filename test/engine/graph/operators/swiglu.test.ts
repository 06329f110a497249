import assert from "node:assert/strict";
import { swiglu } from "../../../../src/engine/graph/operators/swiglu.ts";
import { checkGradients, evaluate } from "../finite-differences.ts";

describe("engine/graph/operators/swiglu", () => {
  it("is silu(gate) * up, also where nothing is kept for a gradient", async () => {
    const gate = [-2, 0, 0.5, 3];
    const up = [1, 2, -1, 0.5];
    const { y } = await evaluate({ gate: { shape: [4], data: gate }, up: { shape: [4], data: up } }, ({ gate, up }) => ({
      y: swiglu(gate!, up!),
    }));
    for (const [index, a] of gate.entries()) {
      assert.ok(Math.abs((y?.[index] as number) - (a / (1 + Math.exp(-a))) * (up[index] as number)) < 1e-6);
    }
  });

  it("has the gradients, together and one by one", async () => {
    const fed = { gate: { shape: [3, 4] }, up: { shape: [3, 4] } };
    for (const variables of [["gate", "up"], ["gate"], ["up"]]) {
      await checkGradients(fed, ({ gate, up }) => swiglu(gate!, up!), { variables });
    }
  });
});
