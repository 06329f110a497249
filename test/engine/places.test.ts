import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { openLayerTrainer } from "../../src/engine/layers/layer-trainer.ts";
import { openTrainer, type TrainerOptions } from "../../src/engine/trainer.ts";
import { smallQwen3Moe as architecture, smallSequences, smallWeights, tensorNames } from "./small-models.ts";

/** Each tensor is asked for as the trainer needs it. */
const byLayers = ({ weights, ...options }: TrainerOptions) =>
  openLayerTrainer({
    ...options,
    load: async (names) => new Map(names.map((name) => [name, weights.get(name) as Float32Array])),
    scratch: { directory: tmpdir(), memoryBytes: 0 },
  });

describe("training at some places", () => {
  for (const [way, open] of Object.entries({ "all at once": openTrainer, "layer by layer": byLayers }))
    it(`lowers the loss by them alone, and leaves every other value at the base, ${way}`, async () => {
      const weights = smallWeights(architecture);
      const trainable = tensorNames(architecture).filter((name) => name.includes("experts.1."));
      const places = new Map(trainable.map((name) => [name, Uint32Array.of(0, 3, (weights.get(name) as Float32Array).length - 1)]));
      const optimizer = { learningRate: 0.02, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.1, clipNorm: 1 };
      const options = { architecture, weights, trainable, optimizer, sequenceLength: 6, batchSequences: 4, threads: 1, places };
      const batch = smallSequences(architecture, 4, 6);
      const trainer = await open(options);
      try {
        const losses: number[] = [];
        for (let step = 0; step < 12; step++) losses.push((await trainer.step([batch])).loss);
        assert.ok((losses.at(-1) as number) < (losses[0] as number), `${losses}`);
        for (const [name, values] of await trainer.weights()) {
          const base = weights.get(name) as Float32Array;
          const changed = [...values.keys()].filter((index) => values[index] !== base[index]);
          assert.deepEqual(changed, [...(places.get(name) as Uint32Array)], name);
        }
      } finally {
        trainer.dispose();
      }
    });
});
