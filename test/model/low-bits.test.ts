import assert from "node:assert/strict";
import fc from "fast-check";
import { type Feedback, feedbackColumns, feedbackOf } from "../../src/kernels/low-bits.ts";
import { createLowBits, readLowBits } from "../../src/model/low-bits.ts";
import { bytesOfPiece, type LowBits } from "../../src/model/pieces.ts";
import { bytesOfHex, expected, floatsOfHex, someFloats } from "./support.ts";

const bitsTried = fc.constantFrom<LowBits>(2, 3, 4);

function rounded(values: Float32Array, shape: readonly number[], bits: LowBits, feedback?: Feedback): Float32Array {
  const copy = createLowBits(shape, bits, feedback);
  assert.ok(copy.put(values, 0));
  return readLowBits(copy.bytes, shape, bits);
}

/** Second moments of inputs that hang together: each row of `inputs` is one input of `columns` values. */
function momentsOf(inputs: readonly Float32Array[], columns: number): Float32Array {
  const sums = new Float32Array(columns * columns);
  for (const x of inputs)
    for (let row = 0; row < columns; row++)
      for (let column = 0; column < columns; column++) sums[row * columns + column]! += x[row]! * x[column]!;
  return sums;
}

/** Inputs of three values each, mixed to `columns`, and a little noise. */
function alike(columns: number, count: number): Float32Array[] {
  const mix = someFloats(1, 3 * columns);
  return Array.from({ length: count }, (_, index) => {
    const [own, noise] = [someFloats(100 + index, 3), someFloats(1000 + index, columns)];
    return Float32Array.from({ length: columns }, (__, column) => {
      const signal = own[0]! * mix[column]! + own[1]! * mix[columns + column]! + own[2]! * mix[2 * columns + column]!;
      return signal + 0.05 * noise[column]!;
    });
  });
}

describe("stand-ins of few bits", () => {
  for (const { bits, shape, bytes, values } of expected.lowBitStandIns as {
    bits: LowBits;
    shape: number[];
    bytes: string;
    values: string;
  }[]) {
    it(`of ${bits} bits and shape [${shape}] say what another implementation of the rule reads`, () => {
      assert.equal(bytesOfPiece(`Q${bits}_64`, shape), bytes.length / 2);
      assert.deepEqual(readLowBits(bytesOfHex(bytes), shape, bits), floatsOfHex(values));
    });
  }

  it("read back as odd multiples of a step, near what they were made of, and the same each time", () => {
    const tensor = fc.tuple(
      bitsTried,
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 150 }),
      fc.nat(1000),
      fc.integer({ min: -9, max: 9 }),
    );
    fc.assert(
      fc.property(tensor, ([bits, rows, columns, seed, power]) => {
        const values = someFloats(seed, rows * columns).map((value) => value * 2 ** power);
        const back = rounded(values, [rows, columns], bits);
        assert.deepEqual(rounded(values, [rows, columns], bits), back);
        let [error, squares] = [0, 0];
        for (const [at, value] of values.entries()) {
          error += (value - back[at]!) ** 2;
          squares += value ** 2;
        }
        // Never worse than a sign times the best step, which leaves 0.37 of a uniform run and nothing of a single value but its step's rounding.
        assert.ok(error <= 0.4 * squares, `${error} of ${squares}`);
      }),
      { numRuns: 100 },
    );
  });

  it("round what is exact to itself: odd multiples of a step that exists, of all sizes", () => {
    for (const bits of [2, 3, 4] as const) {
      for (const step of [2 ** -10, 1.375, 2 ** 6]) {
        const values = Float32Array.from({ length: 128 }, (_, at) => (2 * ((at * 7) % 2 ** bits) + 1 - 2 ** bits) * step);
        assert.deepEqual(rounded(values, [2, 64], bits), values);
      }
    }
  });

  it("keep zeros, and give up on nothing but what is not finite", () => {
    assert.deepEqual(rounded(new Float32Array(70), [1, 70], 3).map(Math.abs), new Float32Array(70));
    assert.ok(rounded(Float32Array.of(1e30, -1e30), [2], 2).every(Number.isFinite));
    assert.ok(rounded(Float32Array.of(1e-30, -1e-30), [2], 2).every((value) => Math.abs(value) < 1e-4));
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) assert.equal(createLowBits([2], 2).put(Float32Array.of(0, bad), 0), false);
    assert.throws(() => readLowBits(new Uint8Array(3), [2, 3], 2), RangeError);
    assert.throws(() => createLowBits([2, 3], 2, feedbackOf([new Float32Array(4)])), RangeError);
  });

  for (const columns of [96, feedbackColumns + 64]) {
    it(`change a product of ${columns} values far less where they were rounded for its inputs`, () => {
      const rows = 8;
      const inputs = alike(columns, 400);
      const blocks: Float32Array[] = [];
      for (let start = 0; start < columns; start += feedbackColumns) {
        const width = Math.min(feedbackColumns, columns - start);
        blocks.push(
          momentsOf(
            inputs.map((x) => x.subarray(start, start + width)),
            width,
          ),
        );
      }
      const values = someFloats(7, rows * columns);
      const errorOf = (copy: Float32Array) => {
        let error = 0;
        for (const x of inputs)
          for (let row = 0; row < rows; row++) {
            let sum = 0;
            for (let column = 0; column < columns; column++)
              sum += (copy[row * columns + column]! - values[row * columns + column]!) * x[column]!;
            error += sum ** 2;
          }
        return error;
      };
      for (const bits of [2, 3, 4] as const) {
        const plain = errorOf(rounded(values, [rows, columns], bits));
        const fed = errorOf(rounded(values, [rows, columns], bits, feedbackOf(blocks)));
        assert.ok(fed < plain / 4, `${bits} bits: ${fed} instead of ${plain}`);
      }
    });
  }
});
