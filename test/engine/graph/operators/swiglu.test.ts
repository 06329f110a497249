import assert from "node:assert/strict";
import { clampedSwiglu, swiglu } from "../../../../src/engine/graph/operators/swiglu.ts";
import { checkGradients, evaluate } from "../finite-differences.ts";

describe("engine/graph/operators/swiglu", () => {
  it("is silu(gate) * up", async () => {
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

  it("multiplies rows by weights where there are some, with the gradients, together and one by one", async () => {
    const fed = { gate: { shape: [3, 4] }, up: { shape: [3, 4] }, weight: { shape: [3, 1] } };
    for (const variables of [["gate", "up", "weight"], ["gate"], ["up"], ["weight"]]) {
      await checkGradients(fed, ({ gate, up, weight }) => swiglu(gate!, up!, weight!), { variables });
    }
  });

  it("is steeper and bounded where asked for, with the gradients", async () => {
    const gate = [-9, -2, 0.5, 3, 7.5, 1];
    const up = [1, -8, -1, 0.5, 2, 9];
    const fed = { gate: { shape: [6], data: gate }, up: { shape: [6], data: up } };
    const options = { steepness: 1.7, limit: 7 };
    const { y } = await evaluate(fed, ({ gate, up }) => ({ y: clampedSwiglu(gate!, up!, options) }));
    for (const [index, given] of gate.entries()) {
      const a = Math.min(given, 7);
      const expected = (a / (1 + Math.exp(-1.7 * a))) * (Math.max(-7, Math.min(7, up[index]!)) + 1);
      assert.ok(Math.abs(y![index]! - expected) < 1e-5);
    }
    for (const variables of [["gate", "up"], ["gate"], ["up"]]) {
      await checkGradients(fed, ({ gate, up }) => clampedSwiglu(gate!, up!, options), { variables });
    }
  });
});
