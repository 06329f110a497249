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
  // Of few values: what is not at a place is lost; what is comes back as one magnitude, which is not above the largest but by its rounding.
  "signs-10": () => Number.POSITIVE_INFINITY,
};

const seed = 0x9d2c5680;

describe("codecs", () => {
  for (const codec of codecs) {
    it(`${codec.name}: every value within the bound, the same bytes each time, as long as announced`, () => {
      fc.assert(
        fc.property(deltas, (delta) => {
          const encoded = codec.encode(delta, seed);
          assert.deepEqual(codec.encode(delta.slice(), seed), encoded);
          const parts = codec.parts("a", [delta.length]);
          assert.deepEqual(
            encoded.map((bytes) => bytes.length),
            parts.map((part) => bytesOf(part.dtype, part.shape)),
          );
          const decoded = codec.decode(encoded, delta.length, seed);
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
          const once = codec.decode(codec.encode(delta, seed), delta.length, seed);
          const twice = codec.decode(codec.encode(once, seed), delta.length, seed);
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
      const decoded = codec.decode(codec.encode(delta, seed), delta.length, seed);
      for (const [index, value] of delta.entries()) assert.ok(value * (decoded[index] as number) >= 0);
      assert.deepEqual([...codec.decode(codec.encode(new Float32Array(300), seed), 300, seed)], Array(300).fill(0));
      assert.equal(codec.decode(codec.encode(new Float32Array(0), seed), 0, seed).length, 0);
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
    assert.deepEqual([...codec.decode(codec.encode(delta, seed), delta.length, seed)], [127, 0, 2, 2, 0, -2, -127]);
  });

  it("block-int8 reads every int8, signed", () => {
    const values = Uint8Array.from({ length: 256 }, (_, index) => index);
    const decoded = codecNamed("block-int8").decode([values, new Uint8Array(Float32Array.of(0.5).buffer)], 256, seed);
    assert.deepEqual(
      [...decoded],
      [...new Int8Array(values.buffer)].map((value) => value / 2),
    );
  });

  it("signs-10 gives the mean magnitude of each 400 places, with their signs, and nothing elsewhere", () => {
    const { encode, decode, place } = codecNamed("signs-10");
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 9000 }), fc.integer({ min: -(2 ** 31), max: 2 ** 32 - 1 }), (length, drawn) => {
        const delta = Float32Array.from({ length }, (_, index) => Math.sin(index) * 2 ** -Math.floor(index / 4000));
        const decoded = decode(encode(delta, drawn), length, drawn);
        const expected = new Float32Array(length);
        const places = Array.from({ length: Math.ceil(length / 10) }, (_, i) => place?.(drawn, i, length) as number);
        for (let first = 0; first < places.length; first += 400) {
          const some = places.slice(first, first + 400);
          const mean = some.reduce((sum, at) => sum + Math.abs(delta[at] as number), 0) / some.length;
          for (const at of some) {
            assert.ok(Math.abs(Math.abs(decoded[at] as number) - mean) <= mean * 2 ** -8, `${decoded[at]} for a mean of ${mean}`);
            expected[at] = (delta[at] as number) < 0 ? -Math.abs(decoded[at] as number) : Math.abs(decoded[at] as number);
          }
        }
        assert.deepEqual(decoded, expected);
      }),
      { numRuns: 40 },
    );
  });

  it("signs-10 refuses bytes that no delta is encoded as", () => {
    const { encode, decode } = codecNamed("signs-10");
    const [good] = encode(Float32Array.from({ length: 4090 }, Math.cos), seed) as [Uint8Array];
    const decodes = (bytes: Uint8Array) => () => decode([bytes], 4090, seed);
    assert.doesNotThrow(decodes(good));
    assert.throws(decodes(good.subarray(1)), RangeError);
    assert.throws(decodes(Uint8Array.from([...good, 0])), RangeError);
    assert.throws(decodes(good.with(1, 0x80 | (good[1] as number))), /chunk 0: its scale is negative/);
    assert.throws(decodes(good.with(53, 0x80 | (good[53] as number))), /chunk 1: its scale is negative/);
    assert.throws(decodes(good.with(-1, 0x80 | (good.at(-1) as number))), /behind the last place/);
  });

  it("are known by the names that tasks use, and no others", () => {
    assert.deepEqual(
      codecs.map((codec) => codec.name),
      ["dense-bf16", "block-int8", "signs-10"],
    );
    assert.throws(() => codecNamed("sparse"), failure("unknown-codec"));
    assert.throws(() => codecNamed("toString"), failure("unknown-codec"));
  });
});
