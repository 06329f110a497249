import assert from "node:assert/strict";
import fc from "fast-check";
import { averageDeltas, middleMean, outerStep } from "../../src/kernels/merge.ts";
import { averageDeltas as plainAverage, outerStep as plainStep } from "../../src/protocol/outer-step.ts";
import { bitsOf } from "./support.ts";

const { fround } = Math;
const value = fc.oneof(
  fc.float({ noNaN: true, noDefaultInfinity: true, min: fround(-1e30), max: fround(1e30) }),
  fc.constantFrom(0, -0, 1e-45, -1e-40),
);
/** Lengths around a vector and around a run. */
const length = fc.constantFrom(1, 3, 4, 9, 16_383, 16_384, 16_390);

/** Arrays of one length, short patterns repeated. */
const arrays = (least: number, most: number) =>
  fc
    .tuple(length, fc.array(fc.array(value, { minLength: 1, maxLength: 24 }), { minLength: least, maxLength: most }))
    .map(([elements, patterns]) =>
      patterns.map((pattern) => Float32Array.from({ length: elements }, (_, index) => pattern[index % pattern.length] as number)),
    );

function plainMiddleMean(values: readonly Float32Array[], trim: number): Float32Array {
  const kept = values.length - 2 * trim;
  return (values[0] as Float32Array).map((_, index) => {
    const column = Float32Array.from(values, (one) => one[index] as number).sort();
    let sum = column[trim] as number;
    for (let k = 1; k < kept; k++) sum = fround(sum + (column[trim + k] as number));
    return fround(sum * fround(1 / kept));
  });
}

describe("kernels/merge", () => {
  it("averages to the same bits as the plain rule", () => {
    fc.assert(
      fc.property(arrays(1, 9), (deltas) => assert.deepEqual(bitsOf(averageDeltas(deltas)), bitsOf(plainAverage(deltas)))),
      { numRuns: 60 },
    );
  });

  it("steps to the same bits as the plain rule, with and without momentum", () => {
    const numbers = fc.record({
      learningRate: fc.double({ min: 0, max: 2, noNaN: true }),
      mu: fc.double({ min: 0, max: 1, noNaN: true }),
      scale: fc.constantFrom(1, 0.7, 0.25),
    });
    fc.assert(
      fc.property(arrays(3, 3), fc.boolean(), numbers, ([base, gradient, before], fresh, rule) => {
        const step = { base: base as Float32Array, gradient: gradient as Float32Array, momentum: fresh ? undefined : before, ...rule };
        const [got, expected] = [outerStep(step), plainStep(step)];
        assert.deepEqual(bitsOf(got.weights), bitsOf(expected.weights));
        assert.deepEqual(bitsOf(got.momentum), bitsOf(expected.momentum));
      }),
      { numRuns: 60 },
    );
  });

  it("takes the mean of the middle as sorting each coordinate does", () => {
    fc.assert(
      fc.property(arrays(1, 9), fc.nat(4), (values, wish) => {
        const trim = Math.min(wish, (values.length - 1) >> 1);
        assert.deepEqual(bitsOf(middleMean(values, trim)), bitsOf(plainMiddleMean(values, trim)));
      }),
      { numRuns: 60 },
    );
  });

  it("refuses arrays of different lengths, and none", () => {
    assert.throws(() => averageDeltas([]), RangeError);
    assert.throws(() => middleMean([new Float32Array(2), new Float32Array(3)], 0), RangeError);
    assert.throws(
      () => outerStep({ base: new Float32Array(2), gradient: new Float32Array(1), learningRate: 1, mu: 0, scale: 1 }),
      RangeError,
    );
  });
});
