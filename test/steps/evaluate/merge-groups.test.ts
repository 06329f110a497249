import assert from "node:assert/strict";
import type { Task } from "../../../src/protocol/task.ts";
import { type Contribution, gateContributions, mergeGroups } from "../../../src/steps/evaluate/merge-groups.ts";

const task = {
  experts: { groups: 2 },
  outer: { optimizer: "nesterov", learningRate: 1, momentum: 0 },
  merge: { contributors: 8, method: "mean", tolerated: 0.25, normCap: 1e6, scales: [1, 0.5] },
} as unknown as Task;

/** Two one-element tensors, one a group; the loss is the squared distance of each from its optimum, in micro-nats, over two domains. */
const base = new Map([
  ["a", Float32Array.of(0)],
  ["b", Float32Array.of(0)],
]);
const contribution = (miner: string, name: string, delta: number): Contribution => ({
  miner,
  deltas: new Map([[name, Float32Array.of(delta)]]),
});

function search(contributions: Contribution[][], loss: (a: number, b: number) => number[]) {
  const measured: [number, number][] = [];
  const measure = async (weights: ReadonlyMap<string, Float32Array>) => {
    const point: [number, number] = [weights.get("a")?.[0] ?? 0, weights.get("b")?.[0] ?? 0];
    measured.push(point);
    return loss(...point);
  };
  const given = { task, base, momentum: new Map(), before: loss(0, 0), measure };
  const result = (async () => {
    const groups = [];
    for (const [group, ranked] of contributions.entries()) groups.push(await gateContributions(given, group, ranked));
    return mergeGroups(given, groups);
  })();
  return { measured, result };
}

describe("merging groups", () => {
  it("averages a group's contributors and steps", async () => {
    const { result } = search([[contribution("x", "a", 1), contribution("y", "a", 3)], []], (a) => [100 - 10 * a, 100]);
    const { merged, scale, updates, after } = await result;
    assert.deepEqual(merged, [{ group: 0, contributors: ["x", "y"] }]);
    assert.equal(scale, 1);
    assert.deepEqual([...updates.keys()], ["a"]);
    assert.equal(updates.get("a")?.weights[0], 2);
    assert.deepEqual(after, [80, 100]);
  });

  it("drops the last contributor until the group lowers the loss", async () => {
    const { result } = search([[contribution("good", "a", 1), contribution("bad", "a", -9)], []], (a) => [100 - 10 * a, 100]);
    assert.deepEqual((await result).merged, [{ group: 0, contributors: ["good"] }]);
  });

  it("merges nothing that raises a domain, whatever the mean gains", async () => {
    const { result } = search([[contribution("x", "a", 1)], []], (a) => [100 - 50 * a, 100 + a]);
    const { merged, updates, scale, after } = await result;
    assert.deepEqual([merged, updates.size, scale, after], [[], 0, 0, [100, 100]]);
  });

  it("takes the scale that suits both groups together", async () => {
    // Each alone is best at 1, but they solve the same residual: together at 0.5.
    const loss = (a: number, b: number) => [100 * (1 - a - b) ** 2, 100];
    const { result } = search([[contribution("x", "a", 1)], [contribution("y", "b", 1)]], loss);
    const { scale, updates } = await result;
    assert.equal(scale, 0.5);
    assert.deepEqual([updates.get("a")?.weights[0], updates.get("b")?.weights[0]], [0.5, 0.5]);
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

  it("measures nothing where nobody was accepted", async () => {
    const { measured, result } = search([[], []], () => [1, 1]);
    await result;
    assert.deepEqual(measured, []);
  });
});
