import assert from "node:assert/strict";
import { rotate, rotation } from "../../../../src/engine/graph/operators/rotary.ts";
import { checkGradients, evaluate, random } from "../finite-differences.ts";

const positions = [0, 0, 1, 1, 2, 2];
const theta = 100;
const frequencies = (half: number) => Array.from({ length: half }, (_, index) => theta ** (-index / half));

describe("engine/graph/operators/rotary", () => {
  it("turns the halves of each head by the angles of the row's position", async () => {
    const x = random(6 * 12, 3);
    const { y } = await evaluate({ x: { shape: [6, 12], data: [...x] } }, ({ x }, graph) => ({
      y: rotate(x!, 2, rotation(graph, positions, { frequencies: frequencies(3) })),
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

  it("turns neighbours, scaled, and only the first columns of each head", async () => {
    const x = random(6 * 12, 3);
    const { y } = await evaluate({ x: { shape: [6, 12], data: [...x] } }, ({ x }, graph) => ({
      y: rotate(x!, 2, rotation(graph, positions, { frequencies: frequencies(2), scale: 1.5, interleaved: true })),
    }));
    for (const [index, value] of y!.entries()) {
      const within = index % 6;
      const angle = positions[Math.floor(index / 12)]! / theta ** (Math.floor(within / 2) / 2);
      const partner = within % 2 === 0 ? -x[index + 1]! : x[index - 1]!;
      const expected = within < 4 ? 1.5 * (x[index]! * Math.cos(angle) + partner * Math.sin(angle)) : x[index]!;
      assert.ok(Math.abs(value - expected) < 1e-5, `element ${index}: ${value} for ${expected}`);
    }
  });

  for (const interleaved of [false, true]) {
    it(`has the opposite rotation as gradient, ${interleaved ? "of neighbours" : "of halves"}`, async () => {
      for (const [heads, half] of [
        [2, 3],
        [2, 2],
        [6, 1],
        [1, 6],
      ] as const) {
        const options = { frequencies: frequencies(half), scale: 1.2, interleaved };
        await checkGradients({ x: { shape: [6, 12] } }, ({ x }, graph) => rotate(x!, heads, rotation(graph, positions, options)), {
          every: 7,
        });
      }
    });
  }
});
