import assert from "node:assert/strict";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { encodeModel } from "../../../src/engine/onnx/writer.ts";
import { openSession } from "../../../src/engine/runtime/session.ts";
import { elementCount, float32Value, int64Value, type Value } from "../../../src/engine/runtime/value.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

describe("engine/runtime/value", () => {
  it("lies over the array that it was given", () => {
    const data = new Float32Array([1, 2, 3, 4, 5, 6]);
    const value = float32Value([2, 3], data);
    assert.equal(value.float32(), data);
    assert.deepEqual(value.shape, [2, 3]);
    assert.equal(elementCount([]), 1);
  });

  it("refuses a shape that does not fit, another type, and use after dispose", async () => {
    assert.throws(() => float32Value([2, 2], new Float32Array(3)), { code: "engine-value", message: /\[2, 2\]/ });
    assert.throws(() => int64Value([-1, -1], new BigInt64Array(1)), { code: "engine-value" });
    assert.throws(() => float32Value([0.5, 2], new Float32Array(1)), { code: "engine-value" });
    const value = float32Value([1], new Float32Array(1));
    assert.throws(() => value.int64(), { code: "engine-value", message: /float32 value was read as int64/ });
    value.dispose();
    value.dispose();
    assert.throws(() => value.float32(), { code: "engine-value", message: /disposed/ });
    const session = await openSession(fillModel(4));
    await assert.rejects(session.run({ given: value }), { code: "engine-value", message: /disposed/ });
    await assert.rejects(session.run({ given: { ...value } }), { code: "engine-value", message: /must come from/ });
    session.dispose();
  });

  it("keeps native memory for as long as an array over it is held, also after dispose and collection", async () => {
    const length = 1 << 16;
    const session = await openSession(fillModel(length));
    const filled = async (given: number): Promise<Value> => {
      const { all } = await session.run({ given: float32Value([1], new Float32Array([given])) });
      assert.ok(all);
      return all;
    };
    const held = await (async () => {
      const value = await filled(7);
      const array = value.float32();
      value.dispose();
      return array;
    })();
    // The freed chunk would be handed out again at once.
    for (let round = 0; round < 20; round++) {
      (await filled(round)).dispose();
      collect();
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.ok(held.every((element) => element === 7));
    session.dispose();
  });

  it("is released by the collector when it is forgotten", async () => {
    const length = 1 << 21;
    const session = await openSession(fillModel(length));
    const round = async (count: number) => {
      for (let index = 0; index < count; index++) {
        const { all } = await session.run({ given: float32Value([1], new Float32Array([index])) });
        assert.equal(all?.float32()[length - 1], index);
        collect();
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    await round(3);
    const before = process.memoryUsage().rss;
    await round(30);
    const growth = process.memoryUsage().rss - before;
    // 30 outputs of 8 MiB would be 240 MiB.
    assert.ok(growth < 96 * 1024 * 1024, `grew by ${growth} bytes`);
    session.dispose();
  });

  it("does not keep the array that it was given for longer than itself", async () => {
    const session = await openSession(fillModel(4));
    const given = await (async () => {
      const data = Float32Array.of(1);
      (await session.run({ given: float32Value([1], data) })).all?.dispose();
      return new WeakRef(data);
    })();
    await new Promise((resolve) => setImmediate(resolve));
    // Once: what was to be told that the value is gone must not hold the array until a second round.
    collect();
    assert.equal(given.deref(), undefined);
    session.dispose();
  });
});

/** One number in, `length` copies of it out. */
function fillModel(length: number): Uint8Array {
  return encodeModel({
    inputs: [{ name: "given", type: "float32", shape: [1] }],
    outputs: [{ name: "all", type: "float32", shape: [length] }],
    initializers: { shape: { type: "int64", shape: [1], data: new BigInt64Array([BigInt(length)]) } },
    nodes: [{ operator: "Expand", inputs: ["given", "shape"], outputs: ["all"] }],
  });
}
