import assert from "node:assert/strict";
import fc from "fast-check";
import { type AggregationRule, aggregateDeltas, squaredDistance } from "../../src/protocol/aggregate.ts";
import { averageDeltas } from "../../src/protocol/outer-step.ts";

const methods = ["mean", "trimmed-mean", "median", "centred-clipping", "krum"] as const;
const rule = (method: AggregationRule["method"], normCap = 1e6): AggregationRule => ({ method, tolerated: 0.25, normCap });
const value = fc.integer({ min: 1, max: 2_000 }).map((x) => Math.fround((x - 1_000.5) / 1_000));
const delta = fc.tuple(fc.array(value, { minLength: 3, maxLength: 3 }), fc.array(value, { minLength: 5, maxLength: 5 }));
const deltas = fc
  .array(delta, { minLength: 1, maxLength: 7 })
  .map((list) => list.map((tensors) => tensors.map((tensor) => Float32Array.from(tensor))));
const norm = (tensors: readonly Float32Array[]) => Math.sqrt(tensors.reduce((sum, tensor) => sum + squaredDistance(tensor), 0));

describe("aggregates of deltas", () => {
  it("are the delta itself where all contribute the same", () => {
    fc.assert(
      fc.property(delta, fc.constantFrom(...methods), fc.constantFrom(1, 2), (one, method, count) => {
        const tensors = one.map((tensor) => Float32Array.from(tensor));
        assert.deepEqual(
          aggregateDeltas(
            Array.from({ length: count }, () => tensors),
            rule(method, 1),
          ),
          tensors,
        );
      }),
    );
  });

  it("are the mean where the task says so, each tensor by itself", () => {
    fc.assert(
      fc.property(deltas, (list) => {
        const expected = [0, 1].map((tensor) => averageDeltas(list.map((tensors) => tensors[tensor] as Float32Array)));
        assert.deepEqual(aggregateDeltas(list, rule("mean")), expected);
      }),
    );
  });

  it("shorten whoever is longer than the cap times the median norm, and nobody else", () => {
    const [small, large] = [[Float32Array.of(3, 4)], [Float32Array.of(30, 40)]];
    const expected = averageDeltas([Float32Array.of(3, 4), Float32Array.of(3, 4), Float32Array.of(6, 8)]);
    assert.deepEqual(aggregateDeltas([small, small, large], rule("mean", 2)), [expected]);
    fc.assert(
      fc.property(deltas, (list) => {
        const norms = list.map(norm).sort((a, b) => a - b);
        const limit = 2 * (norms[(norms.length - 1) >> 1] as number);
        assert.ok(norm(aggregateDeltas(list, rule("mean", 2))) <= limit * (1 + 1e-5));
      }),
    );
  });

  it("stay near the honest while a quarter sends anything, but for the mean", () => {
    const honest = fc.array(fc.float({ min: Math.fround(0.9), max: Math.fround(1.1), noNaN: true }), { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(fc.array(honest, { minLength: 6, maxLength: 6 }), fc.float({ min: 1e3, max: 1e6, noNaN: true }), (good, size) => {
        const bad = [Float32Array.from({ length: 8 }, () => size), Float32Array.from({ length: 8 }, () => size)];
        const list = [bad[0], ...good.map((values) => Float32Array.from(values)), bad[1]].map((tensor) => [tensor as Float32Array]);
        for (const method of methods.slice(1)) {
          const [result] = aggregateDeltas(list, rule(method));
          assert.ok(
            result?.every((x) => x >= 0.6 && x <= 1.6),
            `${method} ${result}`,
          );
        }
        assert.ok((aggregateDeltas(list, rule("mean"))[0]?.[0] ?? 0) > 100);
      }),
    );
  });

  it("measure squares in four lanes by place modulo 4, so that small ones are not lost beside a large one", () => {
    const values = new Float32Array(16);
    values[0] = 2 ** 27;
    for (const place of [2, 6, 10, 14]) values[place] = 1;
    assert.equal(squaredDistance(values), 2 ** 54 + 4);
  });

  it("of few are still defined: one alone is taken as it is", () => {
    for (const method of methods) assert.deepEqual(aggregateDeltas([[Float32Array.of(1, -2)]], rule(method)), [Float32Array.of(1, -2)]);
    assert.deepEqual(aggregateDeltas([[Float32Array.of(1)], [Float32Array.of(4)]], rule("median")), [Float32Array.of(2.5)]);
    assert.throws(() => aggregateDeltas([], rule("mean")));
  });

  it("keep of Krum's chosen all but the suspects", () => {
    const list = [1, 1.1, 0.9, 9].map((x) => [Float32Array.of(x)]);
    assert.deepEqual(aggregateDeltas(list, rule("krum")), [
      averageDeltas([Float32Array.of(1), Float32Array.of(1.1), Float32Array.of(0.9)]),
    ]);
  });
});
