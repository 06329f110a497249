import assert from "node:assert/strict";
import { type Tensors, tensorsOf } from "../../../src/model/tensors.ts";
import type { Task } from "../../../src/protocol/task.ts";
import {
  type Contribution,
  gateContributions,
  type MergeSearch,
  mergeGroups,
  step,
  stepPlace,
} from "../../../src/steps/evaluate/merge-groups.ts";

const task = {
  experts: { groups: 2 },
  outer: { optimizer: "nesterov", learningRate: 1, momentum: 0 },
  merge: { contributors: 8, method: "mean", tolerated: 0.25, normCap: 1e6, scales: [1, 0.5] },
} as unknown as Task;

/** Two one-element tensors, one a group; the loss is the squared distance of each from its optimum, in micro-nats, over two domains. */
const contribution = (miner: string, name: string, delta: number): Contribution => ({
  miner,
  deltas: tensorsOf(new Map([[name, Float32Array.of(delta)]])),
});

/** The base is 0 in both tensors. With `momentum` in the first, mu is 0.5. */
function search(contributions: Contribution[][], loss: (a: number, b: number) => number[], momentum?: number) {
  const passes: [number, number][][] = [];
  const measure = async (candidates: readonly Tensors[]) => {
    const read = async (deltas: Tensors, name: string) => (deltas.sizes.has(name) ? ((await deltas.read(name))[0] as number) : 0);
    const points = await Promise.all(candidates.map(async (of): Promise<[number, number]> => [await read(of, "a"), await read(of, "b")]));
    passes.push(points);
    const before = loss(0, 0);
    const assessed = points.map((point) => {
      const losses = loss(...point);
      const falls = losses.map((value, domain) => (before[domain] as number) - value);
      return { losses, gain: falls.every((fall) => fall >= 0) ? falls.reduce((sum, fall) => sum + fall, 0) : 0 };
    });
    return { before, assessed };
  };
  const moving = { ...task, outer: { ...task.outer, momentum: 0.5 } };
  const given: MergeSearch =
    momentum === undefined
      ? { task, momentum: tensorsOf(new Map()), measure }
      : { task: moving, momentum: tensorsOf(new Map([["a", Float32Array.of(momentum)]])), measure };
  const result = (async () => {
    const groups = await gateContributions(
      given,
      contributions.map((ranked, group) => ({ group, ranked })),
    );
    const outcome = await mergeGroups(given, groups);
    const { gradient, scale } = outcome;
    const weights = new Map<string, number | undefined>();
    for (const name of gradient?.sizes.keys() ?? []) {
      const how = { gradient: gradient as Tensors, scale, place: stepPlace(outcome.gradient?.sizes ?? new Map()) };
      weights.set(
        name,
        await step(
          { task: given.task, momentum: outcome.momentum as Tensors },
          how,
          name,
          async (base) => base.fill(0),
          (stepped) => stepped.weights[0],
        ),
      );
    }
    return { ...outcome, weights };
  })();
  return { passes, result };
}

describe("merging groups", () => {
  it("averages a group's contributors and steps", async () => {
    const { result } = search([[contribution("x", "a", 1), contribution("y", "a", 3)], []], (a) => [100 - 10 * a, 100]);
    const { merged, scale, weights, before, after } = await result;
    assert.deepEqual(merged, [{ group: 0, contributors: ["x", "y"] }]);
    assert.equal(scale, 1);
    assert.deepEqual([...weights], [["a", 2]]);
    assert.deepEqual(
      [before, after],
      [
        [100, 100],
        [80, 100],
      ],
    );
  });

  it("drops the last contributor until the group lowers the loss", async () => {
    const { result } = search([[contribution("good", "a", 1), contribution("bad", "a", -9)], []], (a) => [100 - 10 * a, 100]);
    assert.deepEqual((await result).merged, [{ group: 0, contributors: ["good"] }]);
  });

  it("merges nothing that raises a domain, whatever the mean gains", async () => {
    const { result } = search([[contribution("x", "a", 1)], []], (a) => [100 - 50 * a, 100 + a]);
    const { merged, gradient, scale, after } = await result;
    assert.deepEqual([merged, gradient, scale, after], [[], undefined, 0, [100, 100]]);
  });

  it("takes the scale that suits both groups together", async () => {
    // Each alone is best at 1, but they solve the same residual: together at 0.5.
    const loss = (a: number, b: number) => [100 * (1 - a - b) ** 2, 100];
    const { result } = search([[contribution("x", "a", 1)], [contribution("y", "b", 1)]], loss);
    const { scale, weights } = await result;
    assert.equal(scale, 0.5);
    assert.deepEqual(
      [...weights],
      [
        ["a", 0.5],
        ["b", 0.5],
      ],
    );
  });

  it("lets a good direction through whose full step is too long", async () => {
    const { result } = search([[contribution("x", "a", 1)], []], (a) => [100 * (1 - 2.5 * a) ** 2, 100]);
    const { merged, scale } = await result;
    assert.deepEqual([merged.length, scale], [1, 0.5]);
  });

  it("leaves a group out that fails by itself, and keeps the other", async () => {
    const { result } = search([[contribution("x", "a", -1)], [contribution("y", "b", 1)]], (a, b) => [100 - 10 * a - 10 * b, 100]);
    assert.deepEqual((await result).merged, [{ group: 1, contributors: ["y"] }]);
  });

  it("steps on with the momentum that the version has, and gives the next", async () => {
    const gradient = tensorsOf(
      new Map([
        ["a", Float32Array.of(1)],
        ["b", Float32Array.of(1)],
      ]),
    );
    const momentum = tensorsOf(new Map([["a", Float32Array.of(2)]]));
    const rule = { ...task, outer: { optimizer: "nesterov", learningRate: 1, momentum: 0.5 } } as unknown as Task;
    const how = { gradient, scale: 1, place: stepPlace(gradient.sizes) };
    const stepped = (name: string) =>
      step(
        { task: rule, momentum },
        how,
        name,
        async (base) => base.fill(10),
        ({ weights, momentum: kept }) => [weights[0], kept[0]],
      );
    assert.deepEqual(await stepped("a"), [12, 2]);
    assert.deepEqual(await stepped("b"), [11.5, 1]);
  });

  it("goes on with the momentum while that gains, and from rest where it does not: what was right once must not keep out what is right now", async () => {
    const towards = (optimum: number) => (a: number) => [100 * (optimum - a) ** 2, 100];
    const contributed = [[contribution("x", "a", 1)], []];
    // From rest a step is 1.5 times the gradient, and the momentum adds a quarter of itself.
    const along = search(contributed, towards(3), 4);
    assert.deepEqual([...(await along.result).weights], [["a", 2.5]]);
    assert.deepEqual(along.passes, [
      [[0.75, 0]],
      [
        [2.5, 0],
        [1.25, 0],
      ],
    ]);
    const against = search(contributed, towards(1), -12);
    const { merged, scale, momentum, weights } = await against.result;
    assert.deepEqual(merged, [{ group: 0, contributors: ["x"] }]);
    assert.deepEqual([scale, momentum?.sizes.size, [...weights]], [0.5, 0, [["a", 0.75]]]);
    assert.deepEqual(against.passes.slice(1), [
      [
        [-1.5, 0],
        [-0.75, 0],
      ],
      [
        [1.5, 0],
        [0.75, 0],
      ],
    ]);
  });

  it("lets nobody through for where the momentum goes", async () => {
    const { passes, result } = search([[contribution("bad", "a", -1)], []], (a) => [100 - 10 * a, 100], 12);
    assert.deepEqual((await result).merged, []);
    assert.deepEqual(passes, [[[-0.75, 0]], []]);
  });

  it("takes one pass a round for all groups, and one for all scales", async () => {
    const { passes, result } = search([[contribution("x", "a", 1), contribution("bad", "a", -9)], [contribution("y", "b", 1)]], (a, b) => [
      100 - 10 * a - 10 * b,
      100,
    ]);
    await result;
    assert.deepEqual(passes, [
      [
        [-2, 0],
        [0, 0.5],
      ],
      [[0.5, 0]],
      [
        [1, 1],
        [0.5, 0.5],
      ],
    ]);
  });

  it("measures only the base where nobody was accepted", async () => {
    const { passes, result } = search([[], []], () => [1, 1]);
    const { before, after } = await result;
    assert.deepEqual([passes, before, after], [[[]], [1, 1], [1, 1]]);
  });
});
