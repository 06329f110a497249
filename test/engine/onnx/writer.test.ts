import assert from "node:assert/strict";
import fc from "fast-check";
import type { OnnxAttribute, OnnxModel, OnnxNode, OnnxTensor, OnnxValue } from "../../../src/engine/onnx/model.ts";
import { encodeModel } from "../../../src/engine/onnx/writer.ts";
import { openSession } from "../../../src/engine/runtime/session.ts";
import { boolValue, float32Value, int64Value, type Value } from "../../../src/engine/runtime/value.ts";

const float = (name: string, ...shape: number[]): OnnxValue => ({ name, type: "float32", shape });
const long = (name: string, ...shape: number[]): OnnxValue => ({ name, type: "int64", shape });
const floats = (shape: number[], ...data: number[]): OnnxTensor => ({ type: "float32", shape, data: new Float32Array(data) });
const longs = (shape: number[], ...data: number[]): OnnxTensor => ({ type: "int64", shape, data: BigInt64Array.from(data, BigInt) });

async function run(model: OnnxModel, feeds: Record<string, Value>): Promise<Record<string, Value>> {
  const session = await openSession(encodeModel(model), { threads: 1 });
  try {
    return await session.run(feeds);
  } finally {
    session.dispose();
  }
}

function numbers(value: Value | undefined): number[] {
  assert.ok(value);
  if (value.type === "float32") return [...value.float32()];
  return value.type === "int64" ? Array.from(value.int64(), Number) : [...(value.type === "bool" ? value.bool() : value.int32())];
}

describe("engine/onnx/writer", () => {
  it("writes integer and floating attributes: Gemm", async () => {
    const { product } = await run(
      {
        inputs: [float("left", 2, 2), float("right", 3, 2), float("bias", 3)],
        outputs: [float("product", 2, 3)],
        nodes: [
          {
            operator: "Gemm",
            inputs: ["left", "right", "bias"],
            outputs: ["product"],
            attributes: { transB: { int: 1 }, alpha: { float: 2 }, beta: { float: -0.5 } },
          },
        ],
      },
      {
        left: float32Value([2, 2], new Float32Array([1, 2, 3, 4])),
        right: float32Value([3, 2], new Float32Array([1, 0, 0, 1, 1, 1])),
        bias: float32Value([3], new Float32Array([2, 4, 6])),
      },
    );
    assert.deepEqual(product?.shape, [2, 3]);
    assert.deepEqual(numbers(product), [2 - 1, 4 - 2, 6 - 3, 6 - 1, 8 - 2, 14 - 3]);
  });

  it("writes negative attributes and several outputs: Softmax, TopK", async () => {
    const { weights, chosen } = await run(
      {
        inputs: [float("logits", 2, 4)],
        outputs: [float("weights", 2, 2), long("chosen", 2, 2)],
        initializers: { count: longs([1], 2) },
        nodes: [
          { operator: "Softmax", inputs: ["logits"], outputs: ["probabilities"], attributes: { axis: { int: -1 } } },
          { operator: "TopK", inputs: ["probabilities", "count"], outputs: ["weights", "chosen"], attributes: { axis: { int: -1 } } },
        ],
      },
      { logits: float32Value([2, 4], new Float32Array([0, 2, 1, -1, 5, 5, 0, 6])) },
    );
    assert.deepEqual(numbers(chosen), [1, 2, 3, 0]);
    const first = [0, 2, 1, -1].map(Math.exp);
    const sum = first.reduce((total, value) => total + value, 0);
    for (const [index, expected] of [Math.exp(2) / sum, Math.exp(1) / sum].entries()) {
      assert.ok(Math.abs((numbers(weights)[index] ?? Number.NaN) - expected) < 1e-6);
    }
  });

  it("writes constants of several types: Split, Gather, Cast, an omitted optional input", async () => {
    const { head, picked, clipped, mask } = await run(
      {
        inputs: [float("rows", 4, 2), long("order", 3)],
        outputs: [float("head", 1, 2), float("picked", 3, 2), float("clipped", 3, 2), { name: "mask", type: "bool", shape: [3, 2] }],
        initializers: { parts: longs([2], 1, 3), zero: floats([], 0), most: floats([], 5) },
        nodes: [
          { operator: "Split", inputs: ["rows", "parts"], outputs: ["head", "tail"], attributes: { axis: { int: 0 } } },
          { operator: "Gather", inputs: ["rows", "order"], outputs: ["picked"], attributes: { axis: { int: 0 } }, name: "choose" },
          { operator: "Clip", inputs: ["tail", "", "most"], outputs: ["clipped"] },
          { operator: "Greater", inputs: ["clipped", "zero"], outputs: ["mask"] },
        ],
      },
      { rows: float32Value([4, 2], new Float32Array([1, 2, 3, -4, 5, 6, 7, 8])), order: int64Value([3], new BigInt64Array([3n, 0n, 3n])) },
    );
    assert.deepEqual(numbers(head), [1, 2]);
    assert.deepEqual(numbers(picked), [7, 8, 1, 2, 7, 8]);
    assert.deepEqual(numbers(clipped), [3, -4, 5, 5, 5, 5]);
    assert.deepEqual([mask?.type, numbers(mask)], ["bool", [1, 0, 1, 1, 1, 1]]);
  });

  it("writes every kind of attribute", async () => {
    const constant = (name: string, attributes: Record<string, OnnxAttribute>): OnnxNode => ({
      operator: "Constant",
      inputs: [],
      outputs: [name],
      attributes,
    });
    const { scalars, list, whole, tensor, sum, half, flags } = await run(
      {
        inputs: [{ name: "choice", type: "bool", shape: [2] }],
        outputs: [
          float("scalars", 2),
          float("list", 2),
          long("whole", 3),
          { name: "tensor", type: "int32", shape: [1, 2] },
          float("sum"),
          float("half", 2),
          { name: "flags", type: "bool", shape: [2] },
        ],
        initializers: {
          // 1.5 and -2 as bfloat16
          short: { type: "bfloat16", shape: [2], data: new Uint16Array([0x3fc0, 0xc000]) },
          truth: { type: "bool", shape: [2], data: new Uint8Array([1, 0]) },
        },
        nodes: [
          constant("one", { value_float: { float: 1.5 } }),
          constant("list", { value_floats: { floats: [2.5, -3.5] } }),
          constant("whole", { value_ints: { ints: [-1, 0, Number.MAX_SAFE_INTEGER] } }),
          constant("tensor", { value: { tensor: { type: "int32", shape: [1, 2], data: new Int32Array([7, -8]) } } }),
          { operator: "Mul", inputs: ["one", "list"], outputs: ["scalars"] },
          { operator: "Einsum", inputs: ["list", "list"], outputs: ["sum"], attributes: { equation: { string: "i,i->" } } },
          { operator: "Cast", inputs: ["short"], outputs: ["half"], attributes: { to: { int: 1 } } },
          { operator: "And", inputs: ["truth", "choice"], outputs: ["flags"] },
        ],
      },
      { choice: boolValue([2], new Uint8Array([1, 1])) },
    );
    assert.deepEqual(numbers(scalars), [3.75, -5.25]);
    assert.deepEqual(numbers(list), [2.5, -3.5]);
    assert.deepEqual(numbers(whole), [-1, 0, Number.MAX_SAFE_INTEGER]);
    assert.deepEqual(
      [tensor?.shape, numbers(tensor)],
      [
        [1, 2],
        [7, -8],
      ],
    );
    assert.deepEqual([sum?.shape, numbers(sum)], [[], [2.5 * 2.5 + 3.5 * 3.5]]);
    assert.deepEqual(numbers(half), [1.5, -2]);
    assert.deepEqual(numbers(flags), [1, 0]);
  });

  it("imports ONNX Runtime's own operators when one is used", async () => {
    const { product } = await run(
      {
        inputs: [float("left", 2, 1), float("right", 2, 1)],
        outputs: [float("product", 1, 1)],
        nodes: [
          {
            operator: "FusedMatMul",
            domain: "com.microsoft",
            inputs: ["left", "right"],
            outputs: ["product"],
            attributes: { transA: { int: 1 }, alpha: { float: 3 } },
          },
        ],
      },
      { left: float32Value([2, 1], new Float32Array([1, 2])), right: float32Value([2, 1], new Float32Array([3, 4])) },
    );
    assert.deepEqual(numbers(product), [33]);
  });

  it("keeps every bit of a constant, whatever its shape", async () => {
    const shapes = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(shapes, fc.infiniteStream(fc.float({ noNaN: true })), async (shape, stream) => {
        const data = Float32Array.from({ length: shape.reduce((product, length) => product * length, 1) }, () => stream.next().value);
        const { copy } = await run(
          {
            inputs: [],
            outputs: [{ name: "copy", type: "float32", shape }],
            initializers: { constant: { type: "float32", shape, data } },
            nodes: [{ operator: "Identity", inputs: ["constant"], outputs: ["copy"] }],
          },
          {},
        );
        assert.deepEqual(copy?.shape, shape);
        assert.deepEqual(copy?.float32(), data);
      }),
      { numRuns: 30 },
    );
  });

  it("refuses a constant whose data do not fit its shape", () => {
    const model = (tensor: OnnxTensor): OnnxModel => ({ inputs: [], outputs: [], nodes: [], initializers: { tensor } });
    assert.throws(() => encodeModel(model(floats([3], 1, 2))), {
      code: "engine-model",
      message: /tensor: float32 of shape \[3\] takes 12 bytes, not 8/,
    });
    assert.throws(() => encodeModel(model({ type: "int64", shape: [1], data: new Float32Array(2) })), { code: "engine-model" });
  });
});
