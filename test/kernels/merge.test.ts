import assert from "node:assert/strict";
import fc from "fast-check";
import { averageDeltas, middleMean, multiply, outerStep, squaredDistance } from "../../src/kernels/merge.ts";
import { openArena } from "../../src/kernels/module.ts";
import { squaredDistance as plainSquares } from "../../src/protocol/aggregate.ts";
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

  it("gives the same bits in an arena, where the results take the operands' places", () => {
    fc.assert(
      fc.property(arrays(3, 9), fc.nat(2), (values, trim) => {
        const { length } = values[0] as Float32Array;
        const arena = openArena((values.length + 1) * length, values.length + 1);
        const places = values.map(() => arena.take(length));
        const spare = arena.take(length);
        const laid = () => {
          for (const [index, one] of values.entries()) places[index]?.set(one);
          return places;
        };
        assert.deepEqual(bitsOf(averageDeltas(laid(), places[0])), bitsOf(averageDeltas(values)));
        const kept = Math.min(trim, (values.length - 1) >> 1);
        assert.deepEqual(bitsOf(middleMean(laid(), kept, spare)), bitsOf(middleMean(values, kept)));
        const [base, gradient, momentum] = laid() as [typeof spare, typeof spare, typeof spare];
        const rule = { learningRate: 0.7, mu: 0.9, scale: 0.5 };
        const expected = outerStep({ base: values[0]!, gradient: values[1]!, momentum: values[2], ...rule });
        const stepped = outerStep({ base, gradient, momentum, ...rule }, { weights: base, momentum });
        assert.deepEqual([bitsOf(stepped.weights), bitsOf(stepped.momentum)], [bitsOf(expected.weights), bitsOf(expected.momentum)]);
        const [a, b] = laid() as [typeof spare, typeof spare];
        assert.deepEqual([squaredDistance(a), squaredDistance(a, b)], [plainSquares(values[0]!), plainSquares(values[0]!, values[1])]);
        assert.deepEqual(bitsOf(multiply(a, fround(0.3), a)), bitsOf(values[0]!.map((value) => value * fround(0.3))));
      }),
      { numRuns: 60 },
    );
  });

  it("takes from an arena what fits, each array by itself, and copies where nothing fits", () => {
    const arena = openArena(10, 2);
    const [one, two] = [arena.take(5), arena.take(5)];
    one.fill(1);
    assert.deepEqual([...two], [0, 0, 0, 0, 0]);
    assert.equal(one.buffer, two.buffer);
    assert.throws(() => arena.take(100_000), RangeError);
    const huge = openArena(2 ** 30, 2);
    assert.deepEqual([...averageDeltas([huge.take(2).fill(1), huge.take(2).fill(4)])], [2.5, 2.5]);
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
