import assert from "node:assert/strict";
import { rotate, rotation } from "../../../../src/engine/graph/operators/rotary.ts";
import { checkGradients, evaluate, random } from "../finite-differences.ts";

const positions = [0, 0, 1, 1, 2, 2];
const theta = 100;

describe("engine/graph/operators/rotary", () => {
  it("turns the halves of each head by the angles of the row's position", async () => {
    const x = random(6 * 12, 3);
    const { y } = await evaluate({ x: { shape: [6, 12], data: [...x] } }, ({ x }, graph) => ({
      y: rotate(x!, rotation(graph, positions, 6, theta)),
    }));
    for (let row = 0; row < 6; row++) {
      for (let column = 0; column < 12; column++) {
        const within = column % 6;
        const angle = (positions[row] as number) / theta ** ((within % 3) / 3);
        const partner = x[row * 12 + column + (within < 3 ? 3 : -3)] as number;
        const expected = (x[row * 12 + column] as number) * Math.cos(angle) + (within < 3 ? -partner : partner) * Math.sin(angle);
        assert.ok(Math.abs((y?.[row * 12 + column] as number) - expected) < 1e-5);
      }
    }
  });

  it("has the opposite rotation as gradient", async () => {
    await checkGradients({ x: { shape: [6, 12] } }, ({ x }, graph) => rotate(x!, rotation(graph, positions, 6, theta)));
    await checkGradients({ x: { shape: [6, 2] } }, ({ x }, graph) => rotate(x!, rotation(graph, positions, 2, theta)));
  });
});
