import assert from "node:assert/strict";
import fc from "fast-check";
import { bfloat16FromFloat32, float32FromBfloat16 } from "../../src/kernels/bfloat16.ts";
import { runElements } from "../../src/kernels/module.ts";
import { float32Words } from "./support.ts";

/** The plain version: the upper half, rounded to nearest even; a NaN keeps its upper bits and becomes quiet. */
function plainBfloat16(values: Float32Array): Uint16Array {
  return Uint16Array.from(new Uint32Array(values.buffer, values.byteOffset, values.length), (word) =>
    (word & 0x7fffffff) > 0x7f800000 ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16,
  );
}

/** The plain version: sixteen zeros behind the bits. */
function plainFloat32(halves: Uint16Array): Uint32Array {
  return Uint32Array.from(halves, (half) => half << 16);
}

function rounded(values: Float32Array): Uint16Array {
  const result = new Uint16Array(values.length);
  bfloat16FromFloat32(values, result);
  return result;
}

describe("bf16 kernels", () => {
  it("round as the plain version does, whatever the bits and however many", () => {
    fc.assert(
      fc.property(float32Words, (values) => {
        assert.deepEqual(rounded(values), plainBfloat16(values));
      }),
      { numRuns: 300 },
    );
  });

  it("widen every bf16", () => {
    const halves = Uint16Array.from({ length: 65_536 }, (_, bits) => bits);
    const widened = new Float32Array(halves.length);
    float32FromBfloat16(halves, widened);
    assert.deepEqual(new Uint32Array(widened.buffer), plainFloat32(halves));
  });

  for (const count of [runElements - 1, runElements, runElements + 1, 2 * runElements + 7]) {
    it(`cut ${count} values into runs without losing one`, () => {
      const values = Float32Array.from({ length: count }, (_, index) => Math.sin(index) * 10 ** (index % 30));
      const halves = rounded(values);
      assert.deepEqual(halves, plainBfloat16(values));
      const widened = new Float32Array(count);
      float32FromBfloat16(halves, widened);
      assert.deepEqual(new Uint32Array(widened.buffer), plainFloat32(halves));
    });
  }

  it("take parts of larger arrays and write nothing beside the result", () => {
    const values = Float32Array.of(9, 1.5, -2.25, 9);
    const result = new Uint16Array(4).fill(7);
    bfloat16FromFloat32(values.subarray(1, 3), result.subarray(1, 3));
    assert.deepEqual(result, Uint16Array.of(7, 0x3fc0, 0xc010, 7));
    assert.throws(() => bfloat16FromFloat32(values, result.subarray(1)), RangeError);
    assert.throws(() => float32FromBfloat16(result, values.subarray(1)), RangeError);
  });
});
