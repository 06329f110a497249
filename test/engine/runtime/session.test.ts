import assert from "node:assert/strict";
import { encodeModel } from "../../../src/engine/onnx/writer.ts";
import { openSession } from "../../../src/engine/runtime/session.ts";
import { float32Value, int64Value, type Value } from "../../../src/engine/runtime/value.ts";

/** w' = w + g * step, the shape of every optimizer's update. */
function updateModel(length: number): Uint8Array {
  const shape = [length];
  return encodeModel({
    inputs: [
      { name: "weights", type: "float32", shape },
      { name: "gradient", type: "float32", shape },
    ],
    outputs: [
      { name: "updated", type: "float32", shape },
      { name: "scaled", type: "float32", shape },
    ],
    initializers: { step: { type: "float32", shape: [], data: new Float32Array([0.5]) } },
    nodes: [
      { operator: "Mul", inputs: ["gradient", "step"], outputs: ["scaled"] },
      { operator: "Add", inputs: ["weights", "scaled"], outputs: ["updated"] },
    ],
  });
}

describe("engine/runtime/session", () => {
  it("runs a model and gives outputs as views of native memory", async () => {
    const session = await openSession(updateModel(3), { threads: 1 });
    assert.deepEqual([session.inputs, session.outputs], [["weights", "gradient"], ["updated", "scaled"]]);
    const weights = float32Value([3], new Float32Array([1, 2, 3]));
    const gradient = float32Value([3], new Float32Array([2, 4, 6]));
    const { updated, scaled } = await session.run({ weights, gradient });
    assert.ok(updated && scaled);
    assert.deepEqual(updated.shape, [3]);
    assert.deepEqual([...updated.float32()], [2, 4, 6]);
    assert.deepEqual([...scaled.float32()], [1, 2, 3]);
    updated.float32()[0] = 10;
    const again = await session.run({ weights: updated, gradient }, ["updated"]);
    assert.deepEqual(Object.keys(again), ["updated"]);
    assert.deepEqual([...(again["updated"] as Value).float32()], [11, 6, 9]);
    session.dispose();
  });
});
