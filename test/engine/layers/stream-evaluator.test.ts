import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openEvaluator } from "../../../src/engine/evaluator.ts";
import { createStreamEvaluator, type StreamCandidate, type StreamEvaluatorOptions } from "../../../src/engine/layers/stream-evaluator.ts";
import type { Architecture } from "../../../src/model/families/index.ts";
import { smallModels, smallOlmoe, smallSequences, smallWeights } from "../small-models.ts";

const positions = 7;

interface Loads {
  readonly names: string[];
  most: number;
}

/** A loader that counts what it has given and what is still held at most, by stages. */
function counted(weights: ReadonlyMap<string, Float32Array>): Loads & Pick<StreamEvaluatorOptions, "load"> {
  const loads: Loads & Pick<StreamEvaluatorOptions, "load"> = {
    names: [],
    most: 0,
    load: async (names) => {
      loads.names.push(...names);
      loads.most = Math.max(loads.most, names.length);
      return new Map(names.map((name) => [name, weights.get(name)!]));
    },
  };
  return loads;
}

function evaluatorOf(architecture: Architecture, weights: ReadonlyMap<string, Float32Array>, more: Partial<StreamEvaluatorOptions> = {}) {
  const { load } = counted(weights);
  return createStreamEvaluator({ architecture, sequenceLength: positions, batchSequences: 3, threads: 1, load, ...more });
}

/** Takes the tensors of these layers' experts from other weights. */
function candidateOf(other: ReadonlyMap<string, Float32Array>, layers: readonly number[]): StreamCandidate {
  return {
    layers,
    tensors: async (_layer, base) =>
      new Map([...base.keys()].filter((name) => name.includes("experts.")).map((name) => [name, other.get(name)!])),
  };
}

function changed(weights: ReadonlyMap<string, Float32Array>, other: ReadonlyMap<string, Float32Array>, layers: readonly number[]) {
  return new Map(
    [...weights].map(([name, values]) => [
      name,
      layers.some((layer) => name.includes(`layers.${layer}.mlp.experts.`)) ? other.get(name)! : values,
    ]),
  );
}

describe("engine/layers/stream-evaluator", () => {
  for (const architecture of smallModels) {
    it(`gives the losses of a ${architecture.family} as the whole graph does, to the bit`, async () => {
      const weights = smallWeights(architecture);
      const sequences = smallSequences(architecture, 8, positions);
      const whole = await openEvaluator({ architecture, weights, sequenceLength: positions, batchSequences: 3, threads: 1 });
      const streamed = evaluatorOf(architecture, weights);
      const [expected, { base }] = [await whole.losses(sequences), await streamed.losses(sequences)];
      assert.deepEqual(base, expected);
      whole.dispose();
      streamed.dispose();
    });

    it(`gives candidates of a ${architecture.family} the bits of a pass of their own`, async () => {
      const weights = smallWeights(architecture);
      const other = smallWeights(architecture, 2);
      const sequences = smallSequences(architecture, 5, positions);
      const last = architecture.layers - 1;
      const layers = [[0], [last], [0, last], architecture.expertLayers];
      const streamed = evaluatorOf(architecture, weights);
      const { base, candidates } = await streamed.losses(
        sequences,
        layers.map((of) => candidateOf(other, of)),
      );
      streamed.dispose();
      for (const [index, of] of layers.entries()) {
        const alone = evaluatorOf(architecture, changed(weights, other, of));
        assert.deepEqual(candidates[index], (await alone.losses(sequences)).base);
        assert.notDeepEqual(candidates[index], base);
        alone.dispose();
      }
    });
  }

  it("asks for each weight once, whatever the number of candidates, and for one stage at a time", async () => {
    const weights = smallWeights(smallOlmoe);
    const loads = counted(weights);
    const streamed = evaluatorOf(smallOlmoe, weights, { load: loads.load });
    await streamed.losses(smallSequences(smallOlmoe, 4, positions), [candidateOf(smallWeights(smallOlmoe, 2), [1])]);
    streamed.dispose();
    assert.deepEqual(loads.names.toSorted(), [...weights.keys()].sort());
    assert.ok(loads.most < weights.size / 2 + 2);
  });

  it("gives the same bits where activations lie in a scratch file, and leaves none", async () => {
    const directory = await mkdtemp(join(tmpdir(), "connito-test-"));
    try {
      const weights = smallWeights(smallOlmoe);
      const candidates = [candidateOf(smallWeights(smallOlmoe, 2), [0]), candidateOf(smallWeights(smallOlmoe, 3), [1])];
      const sequences = smallSequences(smallOlmoe, 7, positions);
      const inMemory = evaluatorOf(smallOlmoe, weights);
      const onDisk = evaluatorOf(smallOlmoe, weights, { scratch: { directory, memoryBytes: 0 } });
      assert.deepEqual(await onDisk.losses(sequences, candidates), await inMemory.losses(sequences, candidates));
      assert.deepEqual(await readdir(directory), []);
      inMemory.dispose();
      onDisk.dispose();
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it("gives the same bits on any number of threads, so that scores and the gate's decisions do not depend on a validator's machine", async () => {
    const weights = smallWeights(smallOlmoe);
    const candidates = [candidateOf(smallWeights(smallOlmoe, 2), [0]), candidateOf(smallWeights(smallOlmoe, 3), [0, 1])];
    const sequences = smallSequences(smallOlmoe, 10, positions);
    const [one, ...more] = await Promise.all(
      [1, 2, 5].map(async (threads) => {
        const streamed = evaluatorOf(smallOlmoe, weights, { threads });
        const losses = await streamed.losses(sequences, candidates);
        streamed.dispose();
        return losses;
      }),
    );
    for (const losses of more) assert.deepEqual(losses, one);
  });

  it("passes on what a loader throws, stops when the signal fires, and takes no sequences", async () => {
    const weights = smallWeights(smallOlmoe);
    const broken = evaluatorOf(smallOlmoe, weights, {
      load: async (names) => {
        if (names.some((name) => name.includes("layers.1."))) throw new Error("no such piece");
        return new Map(names.map((name) => [name, weights.get(name)!]));
      },
    });
    await assert.rejects(broken.losses(smallSequences(smallOlmoe, 2, positions)), /no such piece/);
    broken.dispose();
    const streamed = evaluatorOf(smallOlmoe, weights);
    const stop = new AbortController();
    const reason = new Error("enough");
    await assert.rejects(
      streamed.losses(smallSequences(smallOlmoe, 2, positions), [], { onProgress: () => stop.abort(reason), signal: stop.signal }),
      reason,
    );
    assert.equal((await streamed.losses([])).base.length, 0);
    streamed.dispose();
  });
});
