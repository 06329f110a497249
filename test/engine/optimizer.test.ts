import assert from "node:assert/strict";
import type { OnnxModel } from "../../src/engine/onnx/model.ts";
import { encodeModel } from "../../src/engine/onnx/writer.ts";
import {
  type AdamWOptions,
  additionModel,
  chunkName,
  normModel,
  squaresOutput,
  stepScalars,
  updatedName,
  updateModel,
} from "../../src/engine/optimizer.ts";
import { openSession } from "../../src/engine/runtime/session.ts";
import { float32Value, type Value } from "../../src/engine/runtime/value.ts";
import { random } from "./graph/finite-differences.ts";

const options: AdamWOptions = { learningRate: 0.05, beta1: 0.8, beta2: 0.95, epsilon: 1e-3, weightDecay: 0.1, clipNorm: 1.5 };

async function run(model: OnnxModel, feeds: Record<string, Value>): Promise<Record<string, Value>> {
  const session = await openSession(encodeModel(model), { threads: 1 });
  try {
    return await session.run(feeds);
  } finally {
    session.dispose();
  }
}

const value = (data: Float32Array) => float32Value([data.length], data);

describe("engine/optimizer", () => {
  it("is torch.optim.AdamW after clip_grad_norm_, step after step", async () => {
    const count = 7;
    let state: Record<"weight" | "m" | "v", Float32Array> = {
      weight: random(count, 1),
      m: new Float32Array(count),
      v: new Float32Array(count),
    };
    const expected = { weight: Float64Array.from(state.weight), m: new Float64Array(count), v: new Float64Array(count) };
    for (let step = 1; step <= 5; step++) {
      // The third gradient is shorter than the clip; all are sums over two micro-batches.
      const gradient = random(count, 10 + step).map((one) => one * (step === 3 ? 0.2 : 6));
      const norm = Math.hypot(...gradient) / 2;
      for (let index = 0; index < count; index++) {
        const g = (gradient[index]! / 2) * Math.min(1, options.clipNorm / (norm + 1e-6));
        expected.weight[index]! *= 1 - options.learningRate * options.weightDecay;
        expected.m[index] = options.beta1 * expected.m[index]! + (1 - options.beta1) * g;
        expected.v[index] = options.beta2 * expected.v[index]! + (1 - options.beta2) * g * g;
        const denominator = Math.sqrt(expected.v[index]!) / Math.sqrt(1 - options.beta2 ** step) + options.epsilon;
        expected.weight[index]! -= ((options.learningRate / (1 - options.beta1 ** step)) * expected.m[index]!) / denominator;
      }
      const scalars = Object.entries(stepScalars(options, { step, norm, scale: 0.5 }));
      const results = await run(updateModel([count], options), {
        ...Object.fromEntries(scalars.map(([name, number]) => [name, float32Value([], Float32Array.of(number))])),
        [chunkName("gradient", 0)]: value(gradient),
        [chunkName("weight", 0)]: value(state.weight),
        [chunkName("m", 0)]: value(state.m),
        [chunkName("v", 0)]: value(state.v),
      });
      const updated = (quantity: "weight" | "m" | "v") => (results[updatedName(quantity, 0)] as Value).float32();
      state = { weight: updated("weight"), m: updated("m"), v: updated("v") };
      for (const quantity of ["weight", "m", "v"] as const) {
        for (const [index, element] of state[quantity].entries()) {
          assert.ok(Math.abs(element - expected[quantity][index]!) < 2e-6, `step ${step}, ${quantity}[${index}]`);
        }
      }
    }
  });

  it("sums squares and adds gradients, chunk by chunk", async () => {
    const chunks = [Float32Array.of(1, 2, 3), Float32Array.of(-4)];
    const gradient = Object.fromEntries(chunks.map((data, index) => [chunkName("gradient", index), value(data)]));
    const norms = await run(normModel([3, 1]), gradient);
    assert.deepEqual([...norms[squaresOutput]!.float32()], [14, 16]);
    const added = { [chunkName("added", 0)]: value(Float32Array.of(10, 20, 30)), [chunkName("added", 1)]: value(Float32Array.of(40)) };
    const sums = await run(additionModel([3, 1]), { ...gradient, ...added });
    assert.deepEqual([...sums[updatedName("gradient", 0)]!.float32()], [11, 22, 33]);
    assert.deepEqual([...sums[updatedName("gradient", 1)]!.float32()], [36]);
  });
});
