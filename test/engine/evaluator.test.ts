import assert from "node:assert/strict";
import { type Evaluator, type EvaluatorOptions, openEvaluator } from "../../src/engine/evaluator.ts";
import type { Architecture } from "../../src/model/families/index.ts";
import { referenceLosses } from "./reference-decoder.ts";
import { inFloat64, smallModels, smallOlmoe, smallSequences, smallWeights } from "./small-models.ts";

const positions = 7;

async function withEvaluator<T>(
  architecture: Architecture,
  options: Partial<EvaluatorOptions>,
  use: (evaluator: Evaluator) => Promise<T>,
): Promise<T> {
  const weights = smallWeights(architecture);
  const evaluator = await openEvaluator({ architecture, weights, sequenceLength: positions, batchSequences: 3, threads: 1, ...options });
  try {
    return await use(evaluator);
  } finally {
    evaluator.dispose();
  }
}

const largestDifference = (a: Float64Array, b: Float64Array) => Math.max(...a.map((value, index) => Math.abs(value - b[index]!)));

describe("engine/evaluator", () => {
  for (const architecture of smallModels) {
    it(`gives the losses of a ${architecture.family} as the float64 reference does, the last batch padded`, async () => {
      const sequences = smallSequences(architecture, 8, positions);
      const weights = inFloat64(smallWeights(architecture));
      const losses = await withEvaluator(architecture, {}, (evaluator) => evaluator.losses(sequences));
      assert.equal(losses.length, 8);
      for (const [index, sequence] of sequences.entries()) {
        const expected = referenceLosses(architecture, weights, sequence).reduce((sum, loss) => sum + loss, 0) / positions;
        assert.ok(Math.abs(losses[index]! - expected) < 1e-5, `sequence ${index}: ${losses[index]} for ${expected}`);
      }
    });
  }

  it("gives the same bits on every repeat, also from another evaluator and with another thread", async () => {
    const sequences = smallSequences(smallOlmoe, 5, positions);
    const [first, second] = await withEvaluator(smallOlmoe, {}, async (evaluator) => [
      await evaluator.losses(sequences),
      await evaluator.losses(sequences),
    ]);
    assert.deepEqual(second, first);
    assert.deepEqual(await withEvaluator(smallOlmoe, { threads: 2 }, (evaluator) => evaluator.losses(sequences)), first);
  });

  it("does not let a sequence's loss depend on those beside it, but for rounding", async () => {
    const sequences = smallSequences(smallOlmoe, 6, positions);
    await withEvaluator(smallOlmoe, {}, async (evaluator) => {
      const together = await evaluator.losses(sequences);
      const mixed = await evaluator.losses(sequences.toReversed());
      assert.ok(largestDifference(together, mixed.toReversed()) < 2e-6);
    });
  });

  it("replaces weights and restores them to the bit", async () => {
    const sequences = smallSequences(smallOlmoe, 4, positions);
    const weights = smallWeights(smallOlmoe);
    const other = smallWeights(smallOlmoe, 2);
    const names = ["model.layers.1.mlp.experts.0.down_proj.weight", "model.norm.weight"];
    const pick = (from: Map<string, Float32Array>) => new Map(names.map((name) => [name, from.get(name)!]));
    const mixed = new Map([...weights, ...pick(other)]);
    const expected = await withEvaluator(smallOlmoe, { weights: mixed }, (evaluator) => evaluator.losses(sequences));
    await withEvaluator(smallOlmoe, { weights }, async (evaluator) => {
      const before = await evaluator.losses(sequences);
      const underWay = evaluator.losses(sequences);
      evaluator.replace(pick(other));
      assert.deepEqual(await underWay, before, "a call under way keeps the weights that it began with");
      assert.deepEqual(await evaluator.losses(sequences), expected);
      assert.throws(() => evaluator.replace(new Map([["model.norm.weight", new Float32Array(1)]])), { code: "weights-mismatch" });
      assert.throws(() => evaluator.replace(new Map([["other", new Float32Array(1)]])), { code: "weights-mismatch" });
      assert.deepEqual(await evaluator.losses(sequences), expected);
      evaluator.replace(pick(weights));
      assert.deepEqual(await evaluator.losses(sequences), before);
    });
  });

  it("gives losses that are not finite for weights that make them so", async () => {
    const sequences = smallSequences(smallOlmoe, 2, positions);
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, 3e38]) {
      for (const name of ["model.layers.0.mlp.gate.weight", "model.layers.0.mlp.experts.1.up_proj.weight"]) {
        const weights = smallWeights(smallOlmoe);
        weights.get(name)!.fill(value);
        const losses = await withEvaluator(smallOlmoe, { weights }, (evaluator) => evaluator.losses(sequences));
        assert.ok(
          losses.some((loss) => !Number.isFinite(loss)),
          `${name} of ${value} gives ${losses}`,
        );
      }
    }
  });

  it("tells its progress, and stops when the signal fires", async () => {
    const sequences = smallSequences(smallOlmoe, 7, positions);
    await withEvaluator(smallOlmoe, {}, async (evaluator) => {
      const seen: number[] = [];
      await evaluator.losses(sequences, ({ done, total }) => seen.push(done, total));
      assert.deepEqual(seen, [3, 7, 6, 7, 7, 7]);
      const stop = new AbortController();
      const reason = new Error("enough");
      await assert.rejects(
        evaluator.losses(sequences, () => stop.abort(reason), stop.signal),
        reason,
      );
      assert.equal((await evaluator.losses([])).length, 0);
    });
  });

  it("refuses sequences of another length", async () => {
    await withEvaluator(smallOlmoe, {}, async (evaluator) => {
      await assert.rejects(evaluator.losses(smallSequences(smallOlmoe, 1, positions + 1)), { code: "batch-invalid" });
    });
  });
});
