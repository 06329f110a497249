import assert from "node:assert/strict";
import fc from "fast-check";
import { codecNamed, codecs } from "../../../src/model/codecs/index.ts";
import { bytesOf } from "../../../src/model/dtype.ts";
import { failure } from "../support.ts";

const deltas = fc
  .tuple(fc.array(fc.float({ min: -1, max: 1, noNaN: true }), { maxLength: 700 }), fc.integer({ min: -100, max: 100 }))
  .map(([values, power]) => Float32Array.from(values, (value) => value * 2 ** power));

/** How far a decoded value may be from the delta's, given the largest magnitude among the 256 that share its block. */
const bounds: Record<string, (value: number, largest: number) => number> = {
  "dense-bf16": (value) => Math.max(Math.abs(value) * 2 ** -8, 2 ** -134),
  "block-int8": (_, largest) => (largest / 254) * (1 + 1e-5) + 2 ** -142,
  // What is not kept is lost; what is kept comes back as one of two magnitudes, neither above the largest by more than its rounding.
  "sparse-1": (value, largest) => Math.max(Math.abs(value), largest),
  "sparse-5": (value, largest) => Math.max(Math.abs(value), largest),
};

describe("codecs", () => {
  for (const codec of codecs) {
    it(`${codec.name}: every value within the bound, the same bytes each time, as long as announced`, () => {
      fc.assert(
        fc.property(deltas, (delta) => {
          const encoded = codec.encode(delta);
          assert.deepEqual(codec.encode(delta.slice()), encoded);
          const parts = codec.parts("a", [delta.length]);
          assert.deepEqual(
            encoded.map((bytes) => bytes.length),
            parts.map((part) => bytesOf(part.dtype, part.shape)),
          );
          const decoded = codec.decode(encoded, delta.length);
          assert.equal(decoded.length, delta.length);
          for (const [index, value] of delta.entries()) {
            const block = delta.subarray(index - (index % 256), index - (index % 256) + 256);
            const largest = block.reduce((most, one) => Math.max(most, Math.abs(one)), 0);
            const error = Math.abs(value - (decoded[index] as number));
            const bound = (bounds[codec.name] as (typeof bounds)[string])(value, largest);
            assert.ok(error <= bound, `${value} became ${decoded[index]} beside ${largest}`);
          }
        }),
        { numRuns: 150 },
      );
    });

    it(`${codec.name}: decoding what it decoded changes nothing more`, () => {
      fc.assert(
        fc.property(deltas, (delta) => {
          const once = codec.decode(codec.encode(delta), delta.length);
          const twice = codec.decode(codec.encode(once), delta.length);
          for (const [index, value] of once.entries()) {
            const scale = once.reduce((most, one) => Math.max(most, Math.abs(one)), 0);
            assert.ok(Math.abs(value - (twice[index] as number)) <= scale * 2 ** -22, `${value} became ${twice[index]}`);
          }
        }),
        { numRuns: 50 },
      );
    });

    it(`${codec.name}: zeros stay zeros, and no value changes its sign`, () => {
      const delta = Float32Array.of(0, -0, 1, -1, 0.001, -0.001, 0);
      const decoded = codec.decode(codec.encode(delta), delta.length);
      for (const [index, value] of delta.entries()) assert.ok(value * (decoded[index] as number) >= 0);
      assert.deepEqual([...codec.decode(codec.encode(new Float32Array(300)), 300)], Array(300).fill(0));
      assert.equal(codec.decode(codec.encode(new Float32Array(0)), 0).length, 0);
    });
  }

  it("block-int8 has a scale for each 256 values of the flattened tensor, and a name for them", () => {
    const { parts } = codecNamed("block-int8");
    assert.deepEqual(parts("x.weight", [3, 100]), [
      { name: "x.weight", dtype: "I8", shape: [3, 100] },
      { name: "x.weight.scales", dtype: "F32", shape: [2] },
    ]);
    assert.deepEqual(parts("x", [256])[1]?.shape, [1]);
    assert.deepEqual(parts("x", [257])[1]?.shape, [2]);
  });

  it("block-int8 rounds halves to even", () => {
    const codec = codecNamed("block-int8");
    const delta = Float32Array.of(127, 0.5, 1.5, 2.5, -0.5, -1.5, -127);
    assert.deepEqual([...codec.decode(codec.encode(delta), delta.length)], [127, 0, 2, 2, 0, -2, -127]);
  });

  it("block-int8 reads every int8, signed", () => {
    const values = Uint8Array.from({ length: 256 }, (_, index) => index);
    const decoded = codecNamed("block-int8").decode([values, new Uint8Array(Float32Array.of(0.5).buffer)], 256);
    assert.deepEqual(
      [...decoded],
      [...new Int8Array(values.buffer)].map((value) => value / 2),
    );
  });

  it("are known by the names that tasks use, and no others", () => {
    assert.deepEqual(
      codecs.map((codec) => codec.name),
      ["dense-bf16", "block-int8", "sparse-1", "sparse-5"],
    );
    assert.throws(() => codecNamed("sparse"), failure("unknown-codec"));
    assert.throws(() => codecNamed("toString"), failure("unknown-codec"));
  });
});
