import assert from "node:assert/strict";
import { packedBytes, peakBytes } from "../../src/engine/graph/footprint.ts";
import { createGraph, input } from "../../src/engine/graph/graph.ts";
import { add, multiply } from "../../src/engine/graph/operators/elementwise.ts";
import { matrixProduct } from "../../src/engine/graph/operators/matrix.ts";
import { reduceSum } from "../../src/engine/graph/operators/reduce.ts";
import { reshape } from "../../src/engine/graph/operators/reshape.ts";
import { type LayerNeed, type Need, needByLayers, needOfWhole } from "../../src/engine/plan.ts";
import { type Architecture, listWeights, type TensorSpec } from "../../src/model/families/index.ts";
import { muonDefaults } from "../../src/protocol/task-defaults.ts";
import { smallModels, smallOlmoe, smallQwen3Moe } from "./small-models.ts";

const optimizer = { learningRate: 1e-3, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0, clipNorm: 1 };
const trainableOf = (architecture: Architecture) => listWeights(architecture).flatMap(({ name, expert }) => (expert === 1 ? [name] : []));
const planned = (architecture: Architecture, more = {}) => ({
  ...{
    architecture,
    trainable: trainableOf(architecture),
    sequenceLength: 8,
    batchSequences: 2,
    accumulation: 1,
    optimizer,
    threads: 1,
    packed: false,
  },
  ...more,
});
const parts = ({ weights, gradients, optimizer, activations, checkpoint }: Need) =>
  weights + gradients + optimizer + activations + checkpoint;
const lengths = (names: readonly string[], architecture: Architecture) =>
  listWeights(architecture).reduce((sum, { name, shape }) => sum + (names.includes(name) ? shape.reduce((a, b) => a * b, 1) : 0), 0);

describe("what training will need", () => {
  it("counts what is alive at the worst moment of a graph, and neither inputs nor what it is asked for", () => {
    const graph = createGraph();
    const x = input(graph, "x", "float32", [100]);
    const a = multiply(x, x);
    const b = add(a, x);
    const c = reshape(multiply(a, b), [10, 10]);
    const unused = add(c, c);
    const d = reduceSum(c, [0, 1]);
    // a and b are alive while their product is made; a reshaped value is no other.
    assert.equal(
      peakBytes(graph.nodes, [d], () => 0),
      3 * 400,
    );
    assert.equal(
      peakBytes(graph.nodes, [d, unused], () => 0),
      3 * 400,
    );
    assert.equal(
      peakBytes(graph.nodes, [b], () => 0),
      400,
    );
  });

  for (const architecture of smallModels) {
    it(`of a ${architecture.family} is the sum of its parts, and grows with the batch`, () => {
      const trained = 4 * lengths(trainableOf(architecture), architecture);
      const all =
        4 *
        lengths(
          listWeights(architecture).map(({ name }) => name),
          architecture,
        );
      const whole = needOfWhole(planned(architecture));
      assert.equal(whole.total, parts(whole));
      assert.deepEqual(
        [whole.weights, whole.gradients, whole.optimizer, whole.checkpoint],
        [all + trained, trained, 2 * trained, 3 * trained],
      );
      assert.equal(needOfWhole(planned(architecture, { accumulation: 3 })).gradients, 2 * trained);
      assert.ok(needOfWhole(planned(architecture, { batchSequences: 4 })).activations > whole.activations);
      // Two threads have a sequence and a gradient each; where only some places change, their indices are kept.
      assert.equal(needOfWhole(planned(architecture, { threads: 2 })).gradients, 2 * trained);
      assert.equal(needOfWhole(planned(architecture, { threads: 2, accumulation: 3 })).gradients, 3 * trained);
      assert.equal(needOfWhole(planned(architecture, { places: 100 })).weights, whole.weights + 400);
    });
  }

  it("counts a packed copy of a frozen matrix for each product that reads it, columns in sixteens", () => {
    const graph = createGraph();
    const [x, w] = [input(graph, "x", "float32", [3, 8]), input(graph, "w", "float32", [20, 8])];
    const y = matrixProduct(matrixProduct(x, w, { transposeB: true }), w);
    assert.equal(packedBytes(graph.nodes, [y], new Set(["w"])), 4 * (8 * 32 + 20 * 16));
    assert.equal(packedBytes(graph.nodes, [y], new Set(["x"])), 0);
    const [packed, plain] = [true, false].map((packed) => needOfWhole(planned(smallQwen3Moe, { packed }))) as [Need, Need];
    assert.ok(packed.weights > plain.weights);
    assert.equal(packed.total - plain.total, packed.weights - plain.weights);
  });

  it("does not count experts that have no stand-in", () => {
    const absent = new Set(
      listWeights(smallQwen3Moe)
        .filter(({ role, expert }) => role === "expert" && expert === 2)
        .map(({ name }) => name),
    );
    const saved = 4 * lengths([...absent], smallQwen3Moe);
    assert.ok(saved > 0);
    const [whole, without] = [planned(smallQwen3Moe), planned(smallQwen3Moe, { absent })];
    assert.equal(needOfWhole(whole).total - needOfWhole(without).total, saved);
    assert.ok(needByLayers(whole, 0).weights > needByLayers(without, 0).weights);
  });

  it("with Muon has no second moment of matrices, at once and by layers", () => {
    const muon = { optimizer: { ...optimizer, muon: muonDefaults } };
    const trained = 4 * lengths(trainableOf(smallQwen3Moe), smallQwen3Moe);
    const whole = needOfWhole(planned(smallQwen3Moe, muon));
    assert.deepEqual([whole.gradients, whole.optimizer, whole.checkpoint], [trained, trained, 2 * trained]);
    const [adamw, one] = [{}, muon].map((more) => needByLayers(planned(smallQwen3Moe, more), 0)) as [LayerNeed, LayerNeed];
    const between = 4 * 2 * 8 * smallQwen3Moe.hiddenSize * (smallQwen3Moe.layers + 1);
    assert.equal((one.scratch - between) / (adamw.scratch - between), 3 / 4);
  });

  it("by layers is what the worse moment takes: a layer's gradients, or its update", () => {
    const { layers, hiddenSize } = smallOlmoe;
    const needOf = (more: object = {}, memoryBytes = 0) => needByLayers(planned(smallOlmoe, more), memoryBytes);
    const sized = (chosen: (spec: TensorSpec) => boolean) => {
      const names = listWeights(smallOlmoe).flatMap((spec) => (chosen(spec) ? [spec.name] : []));
      return 4 * lengths(names, smallOlmoe);
    };
    /** One of a layer's four arrays, whose tensors begin at multiples of 64 bytes. */
    const arrayOf = (more: object = {}) => (needOf(more, 2 ** 40).room - 4 * 2 * 8 * hiddenSize * (layers + 1)) / (4 * layers);
    const layer = sized((spec) => spec.layer === 0);
    assert.ok(layer > sized((spec) => spec.layer === undefined && spec.part !== "embedding"));
    // Two layers and one that was dropped, the expert as it is now, and its gradient.
    const one = needOf();
    const expert = arrayOf();
    assert.deepEqual([one.weights, one.gradients, one.optimizer, one.checkpoint], [3 * layer + expert, expert, 0, 0]);
    assert.equal(needOf({ accumulation: 2 }).gradients, 2 * expert);
    // Where layers are trained whole on few tokens, a layer's weights, gradient and moments, and those of the layer before.
    const all = { trainable: listWeights(smallOlmoe).flatMap(({ name, layer }) => (layer === undefined ? [] : [name])) };
    const whole = arrayOf(all);
    const few = { ...all, sequenceLength: 1, batchSequences: 1 };
    const update = needOf(few);
    assert.deepEqual([update.weights, update.gradients, update.optimizer], [5 * whole, whole, 2 * whole]);
    const places = needOf({ ...few, places: 10 });
    assert.equal(places.total - update.total, 2 * whole + 40);
  });

  it("by layers keeps in memory what there is room for, and the rest in a file", () => {
    const [none, some, plenty] = [0, 2 ** 30, 2 ** 40].map((bytes) => needByLayers(planned(smallQwen3Moe), bytes)) as [
      ReturnType<typeof needByLayers>,
      ReturnType<typeof needByLayers>,
      ReturnType<typeof needByLayers>,
    ];
    for (const need of [none, some, plenty]) assert.equal(need.total, parts(need));
    assert.equal(none.room, 0);
    assert.equal(plenty.scratch, 0);
    assert.equal(plenty.room, none.scratch);
    assert.equal(plenty.total, none.total + plenty.room);
    assert.deepEqual(some, plenty);
  });
});
