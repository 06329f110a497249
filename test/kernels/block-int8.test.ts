import assert from "node:assert/strict";
import fc from "fast-check";
import { blockElements, dequantizeBlocks, quantizeBlocks } from "../../src/kernels/block-int8.ts";
import { roundHalfEven } from "../../src/model/dtype.ts";

const { fround } = Math;

/** The plain version. */
function plainQuantize(values: Float32Array): { bytes: Int8Array; scales: Float32Array } {
  const scales = Float32Array.from({ length: Math.ceil(values.length / blockElements) }, (_, block) => {
    const part = values.subarray(block * blockElements, (block + 1) * blockElements);
    return part.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 127;
  });
  const bytes = Int8Array.from(values, (value, index) => {
    const scale = scales[Math.floor(index / blockElements)] as number;
    return scale === 0 ? 0 : Math.max(-127, Math.min(127, roundHalfEven(fround(value / scale))));
  });
  return { bytes, scales };
}

function quantize(values: Float32Array): { bytes: Int8Array; scales: Float32Array } {
  const [bytes, scales] = [new Int8Array(values.length), new Float32Array(Math.ceil(values.length / blockElements))];
  quantizeBlocks(values, bytes, scales);
  return { bytes, scales };
}

const finite = fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { maxLength: 700 }).map((values) => Float32Array.from(values));

describe("int8 kernels", () => {
  it("quantise and widen as the plain versions do", () => {
    fc.assert(
      fc.property(finite, (values) => {
        const { bytes, scales } = quantize(values);
        assert.deepEqual({ bytes, scales }, plainQuantize(values));
        const widened = new Float32Array(values.length);
        dequantizeBlocks(bytes, scales, widened);
        const plain = Float32Array.from(bytes, (byte, index) => byte * (scales[Math.floor(index / blockElements)] as number));
        assert.deepEqual(new Uint32Array(widened.buffer), new Uint32Array(plain.buffer));
      }),
      { numRuns: 300 },
    );
  });

  it("cut many values into runs without losing one, and leave no trace of one call in the next", () => {
    const values = Float32Array.from({ length: 16_384 + 300 }, (_, index) => Math.sin(index) * 10 ** (index % 7));
    assert.deepEqual(quantize(values), plainQuantize(values));
    assert.deepEqual(quantize(values.subarray(0, 5)), plainQuantize(values.subarray(0, 5)));
  });

  it("say so where a value is not finite: the scale is not", () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.ok(!Number.isFinite(quantize(Float32Array.of(1, bad, 2)).scales[0]));
    }
    assert.throws(() => quantizeBlocks(new Float32Array(257), new Int8Array(257), new Float32Array(1)), RangeError);
  });
});
