import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type LayerTrainer, type LayerTrainerOptions, openLayerTrainer } from "../../../src/engine/layers/layer-trainer.ts";
import { openTrainer } from "../../../src/engine/trainer.ts";
import type { StepResult } from "../../../src/engine/training.ts";
import { type Architecture, listWeights } from "../../../src/model/families/index.ts";
import { muonDefaults } from "../../../src/protocol/task-defaults.ts";
import { failure } from "../../model/support.ts";
import { smallModels, smallOlmoe, smallQwen3Moe, smallSequences, smallWeights } from "../small-models.ts";

const positions = 6;
const optimizer = { learningRate: 1e-2, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.01, clipNorm: 0.5 };

/** Different experts in each layer, as a selection by use gives. */
const selected = (architecture: Architecture) =>
  listWeights(architecture)
    .filter(({ expert, layer }) => expert !== undefined && (expert === 1 || (expert === 2 && layer === architecture.layers - 1)))
    .map(({ name }) => name);

const largest = (a: ReadonlyMap<string, Float32Array>, b: ReadonlyMap<string, Float32Array>) => {
  assert.deepEqual([...a.keys()].sort(), [...b.keys()].sort());
  let most = 0;
  for (const [name, values] of a)
    for (const [index, value] of values.entries()) most = Math.max(most, Math.abs(value - b.get(name)![index]!));
  return most;
};

describe("engine/layers/layer-trainer", () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-layers-"));
  });
  after(() => rm(directory, { recursive: true }));

  async function withLayers<T>(
    architecture: Architecture,
    options: Partial<LayerTrainerOptions>,
    use: (trainer: LayerTrainer) => Promise<T>,
  ): Promise<T> {
    const weights = smallWeights(architecture);
    const trainer = await openLayerTrainer({
      architecture,
      load: async (names) => new Map(names.map((name) => [name, weights.get(name)!])),
      trainable: selected(architecture),
      optimizer,
      sequenceLength: positions,
      batchSequences: 3,
      threads: 1,
      scratch: { directory, memoryBytes: 2 ** 30 },
      ...options,
    });
    try {
      return await use(trainer);
    } finally {
      trainer.dispose();
    }
  }

  const batches = (architecture: Architecture, seed: number) =>
    [1, 2].map((part) => smallSequences(architecture, 3, positions, 10 * seed + part));

  for (const architecture of smallModels) {
    it(`takes the steps of the ordinary trainer on a ${architecture.family}, whether its state fits or not`, async () => {
      const trainer = await openTrainer({
        architecture,
        weights: smallWeights(architecture),
        trainable: selected(architecture),
        ...{ optimizer, sequenceLength: positions, batchSequences: 3, threads: 1 },
      });
      const expected: StepResult[] = [];
      for (let step = 0; step < 3; step++) expected.push(await trainer.step(batches(architecture, step)));
      const state = await trainer.state();
      trainer.dispose();
      for (const memoryBytes of [2 ** 30, 0]) {
        await withLayers(architecture, { scratch: { directory, memoryBytes } }, async (layers) => {
          for (const [step, { loss, gradientNorm, tokens }] of expected.entries()) {
            const taken = await layers.step(batches(architecture, step));
            assert.equal(taken.tokens, tokens);
            assert.ok(Math.abs(taken.loss - loss) < 1e-6, `${taken.loss} and ${loss}`);
            assert.ok(Math.abs(taken.gradientNorm - gradientNorm) < 1e-5 * gradientNorm);
          }
          const own = await layers.state();
          assert.equal(own.step, 3);
          // Moments tell the gradients: to 1e-4 of the largest.
          assert.ok(largest(own.tensors, state.tensors) < 1e-5);
          assert.ok(largest(await layers.weights(), new Map([...state.tensors].filter(([name]) => !/^[mv]\./.test(name)))) < 1e-5);
        });
      }
    });
  }

  it("takes the steps of the ordinary trainer with Muon, a norm among the matrices, and keeps no second moment of these", async () => {
    const muon = { ...optimizer, muon: muonDefaults };
    const norm = listWeights(smallQwen3Moe).find(({ part, layer }) => part === "feedForward.norm" && layer === 2)?.name as string;
    const trainable = [...selected(smallQwen3Moe), norm];
    const trainer = await openTrainer({
      ...{ architecture: smallQwen3Moe, weights: smallWeights(smallQwen3Moe), trainable, optimizer: muon },
      ...{ sequenceLength: positions, batchSequences: 3, threads: 1 },
    });
    for (let step = 0; step < 3; step++) await trainer.step(batches(smallQwen3Moe, step));
    const state = await trainer.state();
    trainer.dispose();
    for (const memoryBytes of [2 ** 30, 0]) {
      await withLayers(smallQwen3Moe, { trainable, optimizer: muon, scratch: { directory, memoryBytes } }, async (layers) => {
        await layers.step(batches(smallQwen3Moe, 0));
        const saved = await layers.state();
        await layers.step(batches(smallQwen3Moe, 7));
        await layers.restore(saved);
        for (let step = 1; step < 3; step++) await layers.step(batches(smallQwen3Moe, step));
        const own = await layers.state();
        assert.deepEqual(
          [...own.tensors.keys()].filter((name) => name.startsWith("v.")),
          [`v.${norm}`],
        );
        assert.ok(largest(own.tensors, state.tensors) < 1e-5);
      });
    }
  });

  it("keeps no more weights than those of two neighbouring stages, and leaves no file", async () => {
    const weights = smallWeights(smallQwen3Moe);
    const layerOf = new Map(listWeights(smallQwen3Moe).map(({ name, layer }) => [name, layer]));
    let most = 0;
    await withLayers(
      smallQwen3Moe,
      {
        scratch: { directory, memoryBytes: 0 },
        load: async (names) => {
          most = Math.max(most, new Set(names.map((name) => layerOf.get(name))).size);
          return new Map(names.map((name) => [name, weights.get(name)!]));
        },
      },
      async (trainer) => {
        await trainer.step(batches(smallQwen3Moe, 1));
        assert.deepEqual(await readdir(directory), []);
      },
    );
    assert.equal(most, 1);
  });

  it("goes on from a state that was read tensor by tensor as if nothing had happened", async () => {
    await withLayers(smallOlmoe, {}, async (trainer) => {
      await trainer.step(batches(smallOlmoe, 1));
      const saved = await trainer.state();
      const { loss } = await trainer.step(batches(smallOlmoe, 2));
      const end = await trainer.weights();
      await withLayers(smallOlmoe, { scratch: { directory, memoryBytes: 0 } }, async (again) => {
        await again.restore(saved);
        const inspected = await again.inspect(async ({ step, tensors }) => ({ step, names: [...tensors.sizes.keys()] }));
        assert.deepEqual(inspected, { step: 1, names: [...saved.tensors.keys()] });
        assert.equal((await again.step(batches(smallOlmoe, 2))).loss, loss);
        assert.deepEqual(await again.weights(), end);
        await assert.rejects(again.restore({ step: 1, tensors: new Map() }), failure("trainer-state-mismatch"));
      });
    });
  });

  it("refuses a step that is not finite and stays as it was, and what lies in no layer", async () => {
    await withLayers(smallOlmoe, {}, async (trainer) => {
      const before = await trainer.state();
      await trainer.restore({
        step: 0,
        tensors: new Map([...before.tensors].map(([name, values]) => [name, values.map(() => Number.NaN)])),
      });
      await assert.rejects(trainer.step(batches(smallOlmoe, 1)), failure("loss-not-finite"));
      await trainer.restore(before);
      await trainer.step(batches(smallOlmoe, 1));
    });
    await assert.rejects(
      withLayers(smallOlmoe, { trainable: ["model.norm.weight"] }, async () => undefined),
      failure("nothing-trainable"),
    );
    await assert.rejects(
      withLayers(smallOlmoe, { trainable: [] }, async () => undefined),
      failure("nothing-trainable"),
    );
  });
});
