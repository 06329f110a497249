import assert from "node:assert/strict";
import fc from "fast-check";
import { quantizeStandIn } from "../../src/kernels/stand-in.ts";
import { fromHalf, roundHalfEven, toHalf } from "../../src/model/dtype.ts";

/** The plain version. */
function plain(values: Float32Array): { nibbles: Uint8Array; scales: Uint16Array } {
  const scales = Uint16Array.from({ length: values.length / 32 }, (_, run) => {
    const largest = values.subarray(32 * run, 32 * run + 32).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    return Math.min(toHalf(largest / 7), 0x7bff);
  });
  const codes = Array.from(values, (value, index) => {
    const scale = fromHalf(scales[index >> 5] as number);
    return scale === 0 ? 8 : roundHalfEven(Math.max(-7, Math.min(7, value / scale))) + 8;
  });
  const nibbles = Uint8Array.from(
    { length: values.length / 2 },
    (_, at) => (codes[2 * at] as number) | ((codes[2 * at + 1] as number) << 4),
  );
  return { nibbles, scales };
}

function quantize(values: Float32Array): { nibbles: Uint8Array; scales: Uint16Array; finite: boolean } {
  const [nibbles, scales] = [new Uint8Array(values.length / 2), new Uint16Array(values.length / 32)];
  const finite = quantizeStandIn(values, nibbles, scales);
  return { nibbles, scales, finite };
}

const any = fc.float({ noNaN: true, noDefaultInfinity: true });
/** Near or on a tie between two codes, with the scale that the first value gives: 7 times a number of fp16. */
const tied = fc.tuple(
  fc.integer({ min: 0, max: 0x7bff }),
  fc.array(fc.tuple(fc.integer({ min: -16, max: 16 }), fc.integer({ min: -2, max: 2 })), { minLength: 31, maxLength: 31 }),
);
const bits = new Int32Array(1);
const nudged = (value: number, by: number) => {
  new Float32Array(bits.buffer)[0] = value;
  bits[0] = (bits[0] as number) + (value === 0 ? 0 : by);
  return new Float32Array(bits.buffer)[0] as number;
};
const runs = fc.oneof(
  fc.array(any, { minLength: 32, maxLength: 32 }),
  tied.map(([half, halves]) => {
    const scale = fromHalf(half);
    return [7 * scale, ...halves.map(([twice, by]) => nudged(Math.fround((twice / 2) * scale), by))];
  }),
);
const tensors = fc.array(runs, { maxLength: 6 }).map((all) => Float32Array.from(all.flat()));

describe("stand-in kernel", () => {
  it("gives the bytes of the plain version, at ties and beside them as well", () => {
    fc.assert(
      fc.property(tensors, (values) => assert.deepEqual(quantize(values), { ...plain(values), finite: true })),
      { numRuns: 500 },
    );
  });

  it("gives every scale there is, and zeros where there is none", () => {
    const largest = Float32Array.from({ length: 0x7c00 }, (_, half) => 7 * fromHalf(half));
    const values = new Float32Array(32 * largest.length);
    for (const [run, value] of largest.entries()) values.set([value, -value / 3, value / 14], 32 * run);
    assert.deepEqual(quantize(values), { ...plain(values), finite: true });
  });

  it("says where a value is not finite, and leaves no trace of it in the next call", () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      for (const at of [0, 31, 16_384 + 40]) {
        const values = Float32Array.from({ length: 32 * 520 }, (_, index) => Math.sin(index));
        assert.ok(quantize(values).finite);
        values[at] = bad;
        assert.ok(!quantize(values).finite);
      }
    }
    assert.throws(() => quantizeStandIn(new Float32Array(33), new Uint8Array(16), new Uint16Array(1)), RangeError);
  });
});
