import assert from "node:assert/strict";
import fc from "fast-check";
import { averageDeltas, outerStep } from "../../src/protocol/outer-step.ts";
import { secondOuterStep } from "./vectors/second.ts";

const value = fc.float({ noNaN: true, noDefaultInfinity: true, min: -100, max: 100 });
const tensor = fc.float32Array({ noNaN: true, noDefaultInfinity: true, min: -100, max: 100, minLength: 1, maxLength: 12 });
const options = { learningRate: 0.7, mu: 0.9, scale: 0.5 };
const bits = (array: Float32Array): number[] => [...new Uint32Array(array.buffer, array.byteOffset, array.length)];

describe("outer step", () => {
  it("has the very bits of exact arithmetic rounded after each operation", () => {
    const element = fc.record({
      base: value,
      momentum: value,
      deltas: fc.array(value, { minLength: 1, maxLength: 7 }),
      lr: fc.double({ min: 0.01, max: 2, noNaN: true }),
      mu: fc.double({ min: 0, max: 0.99, noNaN: true }),
      scale: fc.double({ min: 0.1, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(element, (e) => {
        const gradient = averageDeltas(e.deltas.map((delta) => Float32Array.of(delta)));
        const input = { base: Float32Array.of(e.base), momentum: Float32Array.of(e.momentum), gradient };
        const { weights, momentum } = outerStep({ ...input, learningRate: e.lr, mu: e.mu, scale: e.scale });
        const expected = secondOuterStep(e);
        // Added to 0 so that the two zeros, which the exact arithmetic cannot tell apart, are one.
        assert.deepEqual([weights[0]! + 0, momentum[0]! + 0], [expected.weight + 0, expected.momentum + 0]);
      }),
      { numRuns: 300 },
    );
  });

  it("is DiLoCo's Nesterov step, within rounding of double precision", () => {
    fc.assert(
      fc.property(tensor, fc.integer({ min: 1, max: 5 }), (base, count) => {
        const deltas = Array.from({ length: count }, (_, k) => base.map((x, i) => ((i + k) % 5) - 2 + x / 100));
        const v = base.map((x) => x / 3);
        const { weights } = outerStep({ base, momentum: v, gradient: averageDeltas(deltas), ...options });
        base.forEach((x, i) => {
          const g = deltas.reduce((sum, delta) => sum + (delta[i] as number), 0) / count;
          const reference = x + 0.5 * 0.7 * (g + 0.9 * (0.9 * (v[i] as number) + g));
          assert.ok(Math.abs((weights[i] as number) - reference) < 1e-4 + 1e-5 * Math.abs(reference));
        });
      }),
    );
  });

  it("gives the same bits again, and leaves its inputs alone", () => {
    fc.assert(
      fc.property(tensor, (base) => {
        const deltas = [base.map((x) => x / 7), base.map((x) => 1 - x)];
        const before = [base, ...deltas].map(bits);
        const run = () => outerStep({ base, gradient: averageDeltas(deltas), ...options });
        const [one, two] = [run(), run()];
        assert.deepEqual(bits(one.weights), bits(two.weights));
        assert.deepEqual(bits(one.momentum), bits(two.momentum));
        assert.deepEqual([base, ...deltas].map(bits), before);
      }),
    );
  });

  it("adds from the left: another order is another result", () => {
    const [large, one, opposite] = [1e8, 1, -1e8].map((x) => Float32Array.of(x)) as [Float32Array, Float32Array, Float32Array];
    assert.deepEqual([...averageDeltas([large, one, opposite])], [0]);
    assert.deepEqual([...averageDeltas([large, opposite, one])], [Math.fround(1 / 3)]);
  });

  it("multiplies by the rounded share instead of dividing", () => {
    const three = [5, 0, 0].map((x) => Float32Array.of(x));
    const [mean] = averageDeltas(three);
    assert.equal(mean, Math.fround(5 * Math.fround(1 / 3)));
    assert.notEqual(mean, Math.fround(5 / 3));
  });

  it("begins the sum with the first delta, keeping a negative zero", () => {
    assert.ok(Object.is(averageDeltas([Float32Array.of(-0)])[0], -0));
  });

  it("takes absent momentum as zeros", () => {
    const [base, gradient] = [Float32Array.of(1, 2, -0), Float32Array.of(0.5, -0, -0)];
    const without = outerStep({ base, gradient, ...options });
    const zeros = outerStep({ base, gradient, momentum: new Float32Array(3), ...options });
    assert.deepEqual(bits(without.weights), bits(zeros.weights));
    assert.deepEqual(bits(without.momentum), bits(zeros.momentum));
  });

  it("keeps momentum whatever the scale, and moves in proportion to it", () => {
    const [base, gradient] = [Float32Array.of(0), Float32Array.of(1)];
    const [full, half] = [1, 0.5].map((scale) => outerStep({ base, gradient, ...options, scale }));
    assert.deepEqual(full?.momentum, half?.momentum);
    assert.equal(half?.weights[0], (full?.weights[0] as number) / 2);
  });

  it("refuses lengths that differ", () => {
    const two = new Float32Array(2);
    const three = new Float32Array(3);
    assert.throws(() => averageDeltas([two, three]), { code: "outer-step-lengths" });
    assert.throws(() => outerStep({ base: two, gradient: three, ...options }), { code: "outer-step-lengths" });
    assert.throws(() => outerStep({ base: two, gradient: two, momentum: three, ...options }), { code: "outer-step-lengths" });
    assert.throws(() => averageDeltas([]));
  });
});
