import assert from "node:assert/strict";
import { openTrainer, type TrainerOptions } from "../../src/engine/trainer.ts";
import type { Trainer } from "../../src/engine/training.ts";
import { type Architecture, listWeights } from "../../src/model/families/index.ts";
import { muonDefaults } from "../../src/protocol/task-defaults.ts";
import { random } from "./graph/finite-differences.ts";
import { referenceLoss } from "./reference-decoder.ts";
import { inFloat64, smallModels, smallOlmoe, smallQwen3Moe, smallSequences, smallWeights, tensorNames } from "./small-models.ts";

const positions = 6;
const plain = { learningRate: 1e-2, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0, clipNorm: 1e9 };

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
  sequences: readonly Int32Array[],
  options: Partial<TrainerOptions> = {},
): Promise<Map<string, Float32Array>> {
  const batch = { sequenceLength: (sequences[0] as Int32Array).length - 1, batchSequences: sequences.length };
  return withTrainer(architecture, { optimizer: { ...plain, beta1: 0.5 }, ...batch, ...options }, async (trainer) => {
    await trainer.step([sequences]);
    const { tensors } = await trainer.state();
    const moments = [...tensors].filter(([name]) => name.startsWith("m."));
    return new Map(moments.map(([name, values]) => [name.slice(2), values.map((value) => value / 0.5)]));
  });
}

function largestDifference(a: ReadonlyMap<string, Float32Array>, b: ReadonlyMap<string, Float32Array>): number {
  assert.deepEqual([...a.keys()].sort(), [...b.keys()].sort());
  const differences = [...a].map(([name, values]) =>
    values.reduce((most, value, index) => Math.max(most, Math.abs(value - b.get(name)![index]!)), 0),
  );
  return Math.max(...differences);
}

const expertNames = (architecture: Architecture, expert: number) =>
  listWeights(architecture)
    .filter((spec) => spec.expert === expert)
    .map(({ name }) => name);

/** Compares a few coordinates of every tensor's gradient, the largest among them, with differences of the float64 reference. */
function checkAgainstReference(
  architecture: Architecture,
  sequences: readonly Int32Array[],
  gradients: ReadonlyMap<string, Float32Array>,
): void {
  const weights = inFloat64(smallWeights(architecture));
  for (const [tensor, [name, values]] of [...weights].entries()) {
    const gradient = gradients.get(name)!;
    const sizes = gradient.map(Math.abs);
    const scale = Math.max(...sizes, 1e-3);
    const picks = random(2, tensor + 1).map((value) => Math.floor(((value + 1) / 2) * values.length));
    for (const index of new Set([...picks, sizes.indexOf(Math.max(...sizes))])) {
      const before = values[index]!;
      const lossAt = (value: number) => {
        values[index] = value;
        const loss = referenceLoss(architecture, weights, sequences);
        values[index] = before;
        return loss;
      };
      const difference = (lossAt(before + 1e-6) - lossAt(before - 1e-6)) / 2e-6;
      assert.ok(
        Math.abs(difference - gradient[index]!) < 2e-4 * scale,
        `${name}[${index}] is ${gradient[index]}, finite differences give ${difference}`,
      );
    }
  }
}

describe("engine/trainer", () => {
  for (const architecture of smallModels) {
    it("trains the same with and without packed copies of frozen matrices, to rounding", async () => {
      const trained = { trainable: expertNames(smallQwen3Moe, 1) };
      const sequences = smallSequences(smallQwen3Moe, 3, positions);
      const [packed, plain] = [
        await gradientsOf(smallQwen3Moe, sequences, trained),
        await gradientsOf(smallQwen3Moe, sequences, { ...trained, packed: false }),
      ];
      assert.ok(largestDifference(packed, plain) < 1e-6);
    });

    it(`has the gradient of a whole ${architecture.family}, tensor by tensor`, async () => {
      const sequences = smallSequences(architecture, 3, positions);
      const gradients = await gradientsOf(architecture, sequences);
      checkAgainstReference(architecture, sequences, gradients);
      const zero = [...gradients].filter(([, values]) => values.every((value) => value === 0)).map(([name]) => name);
      assert.deepEqual(zero, [], "every tensor matters here, so that nothing is compared with nothing");
    });

    it(`has the gradient of a ${architecture.family} in which experts get no token`, async () => {
      const sequences = smallSequences(architecture, 1, 1);
      const gradients = await gradientsOf(architecture, sequences);
      checkAgainstReference(architecture, sequences, gradients);
      const unused = [...gradients].filter(([name, values]) => name.includes("experts") && values.every((value) => value === 0));
      assert.ok(unused.length >= 3);
    });

    it(`has the same gradients of chosen experts of a ${architecture.family} when all else is frozen`, async () => {
      const sequences = smallSequences(architecture, 3, positions);
      const all = await gradientsOf(architecture, sequences);
      const trainable = expertNames(architecture, 1);
      const some = await gradientsOf(architecture, sequences, { trainable });
      assert.ok(trainable.length > 0);
      assert.ok(largestDifference(some, new Map(trainable.map((name) => [name, all.get(name)!]))) < 1e-6);
    });
  }

  it("learns: the loss on a batch falls to almost nothing", async () => {
    const batch = smallSequences(smallOlmoe, 3, positions);
    await withTrainer(smallOlmoe, { optimizer: { ...plain, learningRate: 0.03 } }, async (trainer) => {
      const first = await trainer.step([batch]);
      for (let step = 0; step < 60; step++) await trainer.step([batch]);
      const last = await trainer.step([batch]);
      assert.ok(first.loss > 2 && last.loss < 0.1, `${first.loss} to ${last.loss}`);
      assert.equal(last.tokens, 18);
    });
  });

  it("takes the same step with micro-batches, and with threads that have their own sequences, as with one batch of all", async () => {
    const sequences = smallSequences(smallQwen3Moe, 6, positions);
    const optimizer = { ...plain, clipNorm: 0.1, epsilon: 1e-3 };
    const whole = await withTrainer(smallQwen3Moe, { optimizer, batchSequences: 6 }, async (trainer) => {
      return { ...(await trainer.step([sequences])), weights: await trainer.weights() };
    });
    for (const [threads, batchSequences] of [
      [1, 2],
      [2, 6],
      [4, 3],
      [3, 2],
    ] as const) {
      await withTrainer(smallQwen3Moe, { optimizer, batchSequences, threads }, async (trainer) => {
        const micro = Array.from({ length: 6 / batchSequences }, (_, index) =>
          sequences.slice(index * batchSequences, (index + 1) * batchSequences),
        );
        const parts = await trainer.step(micro);
        assert.ok(Math.abs(parts.loss - whole.loss) < 1e-6);
        assert.ok(Math.abs(parts.gradientNorm - whole.gradientNorm) < 1e-5 * whole.gradientNorm);
        assert.equal(parts.tokens, 36);
        assert.ok(largestDifference(await trainer.weights(), whole.weights) < 2e-5);
      });
    }
  });

  it("reports the loss and the norm before the clip, and clips", async () => {
    const sequences = smallSequences(smallOlmoe, 3, positions);
    const expected = referenceLoss(smallOlmoe, inFloat64(smallWeights(smallOlmoe)), sequences);
    await withTrainer(smallOlmoe, { optimizer: { ...plain, beta1: 0, clipNorm: 0.25 } }, async (trainer) => {
      const { loss, gradientNorm } = await trainer.step([sequences]);
      assert.ok(Math.abs(loss - expected) < 1e-5);
      assert.ok(gradientNorm > 0.5);
      const moments = [...(await trainer.state()).tensors].filter(([name]) => name.startsWith("m."));
      const norm = Math.hypot(...moments.flatMap(([, values]) => [...values]));
      assert.ok(Math.abs(norm - 0.25) < 1e-5, `${norm}`);
    });
  });

  it("changes what is trained and nothing else, not even the arrays it was given", async () => {
    const weights = smallWeights(smallOlmoe);
    const trainable = expertNames(smallOlmoe, 2);
    await withTrainer(smallOlmoe, { weights, trainable }, async (trainer) => {
      await trainer.step([smallSequences(smallOlmoe, 3, positions)]);
      const trained = await trainer.weights();
      assert.deepEqual([...trained.keys()], trainable);
      for (const [name, values] of trained) assert.notDeepEqual(values, weights.get(name), name);
      assert.deepEqual(weights, smallWeights(smallOlmoe));
    });
  });

  it("takes the learning rate of a step when one is given", async () => {
    await withTrainer(smallOlmoe, {}, async (trainer) => {
      const before = await trainer.weights();
      await trainer.step([smallSequences(smallOlmoe, 3, positions)], { learningRate: 0 });
      assert.deepEqual(await trainer.weights(), before);
      await trainer.step([smallSequences(smallOlmoe, 3, positions)], { learningRate: 1e-3 });
      const change = largestDifference(await trainer.weights(), before);
      assert.ok(change > 5e-4 && change < 2e-3, `${change}`);
    });
  });

  it("with Muon keeps one buffer for each matrix, and learns", async () => {
    // Of a batch on which no token changes its mind between two experts up to the last step.
    const batch = smallSequences(smallOlmoe, 3, positions, 5);
    const vectors = listWeights(smallOlmoe).flatMap(({ name, shape }) => (shape.length === 2 ? [] : [name]));
    await withTrainer(smallOlmoe, { optimizer: { ...plain, learningRate: 0.1, muon: muonDefaults } }, async (trainer) => {
      const first = await trainer.step([batch]);
      for (let step = 0; step < 20; step++) await trainer.step([batch]);
      const last = await trainer.step([batch]);
      assert.ok(first.loss > 2 && last.loss < 1, `${first.loss} to ${last.loss}`);
      const names = [...(await trainer.state()).tensors.keys()];
      assert.deepEqual(names.filter((name) => name.startsWith("v.")).sort(), vectors.map((name) => `v.${name}`).sort());
      assert.equal(names.length, 2 * tensorNames(smallOlmoe).length + vectors.length);
    });
  });

  for (const muon of [undefined, muonDefaults])
    it(`goes on from a saved state to the same bits${muon === undefined ? "" : ", with Muon"}`, async () => {
      const batches = [1, 2, 3, 4].map((seed) => smallSequences(smallQwen3Moe, 3, positions, seed));
      const options = { optimizer: { ...plain, weightDecay: 0.1, muon } };
      const { saved, end } = await withTrainer(smallQwen3Moe, options, async (trainer) => {
        for (const batch of batches.slice(0, 2)) await trainer.step([batch]);
        const saved = await trainer.state();
        for (const batch of batches.slice(2)) await trainer.step([batch]);
        return { saved, end: await trainer.state() };
      });
      assert.equal(saved.step, 2);
      await withTrainer(smallQwen3Moe, options, async (trainer) => {
        await trainer.step([batches[3]!]);
        await trainer.restore(saved);
        for (const batch of batches.slice(2)) await trainer.step([batch]);
        assert.deepEqual(await trainer.state(), end);
      });
    });

  it("does calls one after another, however they are made", async () => {
    const batch = smallSequences(smallOlmoe, 3, positions);
    await withTrainer(smallOlmoe, {}, async (trainer) => {
      const [first, between, second] = await Promise.all([trainer.step([batch]), trainer.state(), trainer.step([batch])]);
      assert.equal(between.step, 1);
      assert.ok(second.loss < first.loss);
    });
  });

  it("refuses a step whose loss or gradient is not finite, and is as before", async () => {
    const sequences = smallSequences(smallOlmoe, 3, positions);
    const optimizer = { ...plain, learningRate: 1e-3 };
    await withTrainer(smallOlmoe, { optimizer }, async (trainer) => {
      await trainer.step([sequences]);
      const before = await trainer.state();
      // A learning rate as from a mistyped exponent: the weights stay finite, the next loss does not.
      await trainer.step([sequences], { learningRate: 1e30 });
      await assert.rejects(trainer.step([sequences]), { code: "loss-not-finite" });
      const broken = await trainer.state();
      assert.equal(broken.step, 2);
      await assert.rejects(trainer.step([sequences, sequences]), { code: "loss-not-finite" });
      assert.deepEqual(await trainer.state(), broken);
      await trainer.restore(before);
      assert.ok(Number.isFinite((await trainer.step([sequences])).loss));
    });
  });

  describe("refuses", () => {
    const batch = smallSequences(smallOlmoe, 3, positions);

    it("batches of another size, and tokens that are not in the vocabulary", async () => {
      await withTrainer(smallOlmoe, {}, async (trainer) => {
        await assert.rejects(trainer.step([batch.slice(1)]), { code: "batch-invalid" });
        await assert.rejects(trainer.step([[...batch, ...batch]]), { code: "batch-invalid" });
        await assert.rejects(trainer.step([batch.map((sequence) => sequence.slice(1))]), { code: "batch-invalid" });
        for (const token of [-1, smallOlmoe.vocabularySize]) {
          const wrong = batch.map((sequence) => sequence.with(positions, token));
          await assert.rejects(trainer.step([wrong]), { code: "batch-invalid" });
        }
        assert.equal((await trainer.state()).step, 0);
      });
    });

    it("weights that are missing, unknown or of another size, and nothing to train", async () => {
      const changed = (change: (weights: Map<string, Float32Array>) => unknown) => {
        const weights = smallWeights(smallOlmoe);
        change(weights);
        return withTrainer(smallOlmoe, { weights }, async () => undefined);
      };
      await assert.rejects(
        changed((weights) => weights.delete("model.norm.weight")),
        { code: "weights-mismatch" },
      );
      await assert.rejects(
        changed((weights) => weights.set("other", new Float32Array(1))),
        { code: "weights-mismatch" },
      );
      await assert.rejects(
        changed((weights) => weights.set("model.norm.weight", new Float32Array(1))),
        { code: "weights-mismatch" },
      );
      const training = (trainable: string[]) => withTrainer(smallOlmoe, { trainable }, async () => undefined);
      await assert.rejects(training([]), { code: "nothing-trainable" });
      await assert.rejects(training(["other"]), { code: "weights-mismatch" });
      await assert.rejects(training(["model.norm.weight", "model.norm.weight"]), { code: "weights-mismatch" });
    });

    it("a state of other tensors", async () => {
      const saved = await withTrainer(smallOlmoe, { trainable: expertNames(smallOlmoe, 0) }, (trainer) => trainer.state());
      await withTrainer(smallOlmoe, { trainable: expertNames(smallOlmoe, 1) }, async (trainer) => {
        await assert.rejects(trainer.restore(saved), { code: "trainer-state-mismatch" });
        const own = await trainer.state();
        await assert.rejects(trainer.restore({ ...own, step: -1 }), { code: "trainer-state-mismatch" });
        await assert.rejects(trainer.restore({ ...own, tensors: new Map([...own.tensors, ...saved.tensors]) }), {
          code: "trainer-state-mismatch",
        });
      });
    });

    it("an architecture that it does not compute", async () => {
      const architecture = { ...smallOlmoe, notComputed: ["rope_scaling"] };
      await assert.rejects(
        withTrainer(architecture, {}, async () => undefined),
        { code: "config-not-computable" },
      );
    });
  });
});
