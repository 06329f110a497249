import assert from "node:assert/strict";
import { openTrainer, type Trainer, type TrainerOptions } from "../../src/engine/trainer.ts";
import type { Architecture } from "../../src/model/families/index.ts";
import { random } from "./graph/finite-differences.ts";
import { referenceLoss } from "./reference-decoder.ts";
import { inFloat64, smallModels, smallOlmoe, smallQwen3Moe, smallSequences, smallWeights, tensorNames } from "./small-models.ts";

const positions = 6;
const plain = { learningRate: 1e-3, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0, clipNorm: 1e9 };

async function withTrainer<T>(
  architecture: Architecture,
  options: Partial<TrainerOptions>,
  use: (trainer: Trainer) => Promise<T>,
): Promise<T> {
  const trainer = await openTrainer({
    architecture,
    weights: smallWeights(architecture),
    trainable: tensorNames(architecture),
    optimizer: plain,
    sequenceLength: positions,
    batchSequences: 3,
    threads: 1,
    ...options,
  });
  try {
    return await use(trainer);
  } finally {
    trainer.dispose();
  }
}

/** The gradient as the first moment tells it: after one step m = (1 - beta1) gradient, unclipped. */
async function gradientsOf(
  architecture: Architecture,
  batches: Int32Array[][],
  options: Partial<TrainerOptions> = {},
): Promise<Map<string, Float32Array>> {
  return withTrainer(architecture, { optimizer: { ...plain, beta1: 0.5 }, ...options }, async (trainer) => {
    await trainer.step(batches);
    const { tensors } = await trainer.state();
    const moments = [...tensors].filter(([name]) => name.startsWith("m."));
    return new Map(moments.map(([name, values]) => [name.slice(2), values.map((value) => value / 0.5)]));
  });
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  return a.reduce((most, value, index) => Math.max(most, Math.abs(value - b[index]!)), 0);
}

describe("engine/trainer", () => {
  for (const architecture of smallModels) {
    it(`has the gradient of a whole ${architecture.family}, tensor by tensor`, async () => {
      const sequences = smallSequences(architecture, 3, positions);
      const weights = inFloat64(smallWeights(architecture));
      const gradients = await gradientsOf(architecture, [sequences]);
      let moved = 0;
      for (const [tensor, [name, values]] of [...weights].entries()) {
        const gradient = gradients.get(name)!;
        const scale = Math.max(...gradient.map(Math.abs), 1e-3);
        const picks = random(4, tensor + 1).map((value) => Math.floor(((value + 1) / 2) * values.length));
        for (const index of new Set([...picks, gradient.indexOf(Math.max(...gradient))])) {
          const before = values[index]!;
          const lossAt = (value: number) => {
            values[index] = value;
            const loss = referenceLoss(architecture, weights, sequences);
            values[index] = before;
            return loss;
          };
          const difference = (lossAt(before + 1e-6) - lossAt(before - 1e-6)) / 2e-6;
          if (difference !== 0) moved += 1;
          assert.ok(
            Math.abs(difference - gradient[index]!) < 2e-4 * scale,
            `${name}[${index}] is ${gradient[index]}, finite differences give ${difference}`,
          );
        }
      }
      assert.ok(moved > 2 * weights.size, "most coordinates matter");
    });
  }
});
