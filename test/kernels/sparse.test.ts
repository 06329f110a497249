import assert from "node:assert/strict";
import fc from "fast-check";
import { chunkElements, decodeSparse, encodeSparse, type SparseForm, sparseBytes } from "../../src/kernels/sparse.ts";
import { secondSparseChoice, secondSparseChunk } from "../protocol/vectors/second.ts";

const forms: SparseForm[] = [
  { kept: 39, lowBits: 6 },
  { kept: 205, lowBits: 4 },
];

/** Up to three chunks; often with equal magnitudes, zeros, and values of very different sizes. */
const deltas = fc
  .tuple(
    fc.integer({ min: 0, max: 2 * chunkElements + 50 }),
    fc.integer({ min: 1, max: 0x7fff_ffff }),
    fc.constantFrom("smooth", "few values", "wide", "mostly zero"),
  )
  .map(([length, seed, kind]) => {
    let state = seed;
    const random = () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
      return (state >>> 8) / 2 ** 24 - 0.5;
    };
    return Float32Array.from({ length }, () => {
      const value = random();
      if (kind === "few values") return Math.round(value * 6);
      if (kind === "wide") return value * 10 ** Math.round(70 * random());
      return kind === "mostly zero" && random() < 0.495 ? 0 : value * 1e-3;
    });
  });

/** The plain version of an encoded delta: what each chunk is to say, found in the order that the text has. */
function plainDecoded({ kept }: SparseForm, values: Float32Array): Float32Array {
  const result = new Float32Array(values.length);
  for (let first = 0; first < values.length; first += chunkElements) {
    const chunk = values.subarray(first, first + chunkElements);
    const { indices, scale } = secondSparseChoice(chunk, kept);
    for (const index of indices) {
      const value = chunk[index] as number;
      const size = Math.abs(value) > Math.fround(2 * scale) ? 3 * scale : scale;
      result[first + index] = value < 0 || Object.is(value, -0) ? -size : size;
    }
  }
  return result;
}

/** What the second implementation reads, chunk by chunk. */
function secondDecoded({ kept, lowBits }: SparseForm, bytes: Uint8Array, elements: number): Float32Array | undefined {
  const result = new Float32Array(elements);
  let at = 0;
  for (let first = 0; first < elements; first += chunkElements) {
    const length = Math.min(chunkElements, elements - first);
    const end = at + sparseBytes({ kept, lowBits }, length);
    const chunk = secondSparseChunk(bytes.subarray(at, end), length, kept, lowBits);
    if (chunk === undefined) return undefined;
    result.set(chunk, first);
    at = end;
  }
  return result;
}

const words = (values: Float32Array) => new Uint32Array(values.buffer, values.byteOffset, values.length);

for (const form of forms) {
  describe(`sparse kernels, ${form.kept} of ${chunkElements}`, () => {
    it("keep, round and pack as the plain version does, bit for bit", () => {
      fc.assert(
        fc.property(deltas, (values) => {
          const bytes = encodeSparse(form, values);
          const decoded = decodeSparse(form, bytes, values.length);
          assert.deepEqual(words(decoded), words(plainDecoded(form, values)));
          assert.deepEqual(words(secondDecoded(form, bytes, values.length) as Float32Array), words(decoded));
          assert.deepEqual(encodeSparse(form, values.slice()), bytes);
        }),
        { numRuns: 25 },
      );
    });

    it("refuse what the second implementation refuses, and read the rest alike", () => {
      fc.assert(
        fc.property(
          fc.integer({ min: 1, max: chunkElements + 300 }),
          fc.boolean(),
          fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }),
          (elements, fromGood, changes) => {
            const values = Float32Array.from({ length: elements }, (_, index) => Math.sin(index * index));
            const bytes = fromGood ? encodeSparse(form, values) : new Uint8Array(sparseBytes(form, elements));
            for (const [at, value] of changes) bytes[at % bytes.length] = value;
            const wanted = secondDecoded(form, bytes, elements);
            if (wanted === undefined) assert.throws(() => decodeSparse(form, bytes, elements), RangeError);
            else assert.deepEqual(words(decodeSparse(form, bytes, elements)), words(wanted));
          },
        ),
        { numRuns: 200 },
      );
    });

    it("refuse random bytes", () => {
      fc.assert(
        fc.property(
          fc.uint8Array({ minLength: sparseBytes(form, chunkElements), maxLength: sparseBytes(form, chunkElements) }),
          (bytes) => {
            assert.equal(secondDecoded(form, bytes, chunkElements), undefined);
            assert.throws(() => decodeSparse(form, bytes, chunkElements), RangeError);
          },
        ),
        { numRuns: 100 },
      );
    });

    it("refuse bytes that are too few, too many, or none", () => {
      const bytes = encodeSparse(form, new Float32Array(5000));
      for (const wrong of [bytes.subarray(1), Uint8Array.of(...bytes, 0), new Uint8Array(0)]) {
        assert.throws(() => decodeSparse(form, wrong, 5000), /do not hold 5000 values/);
      }
      assert.equal(decodeSparse(form, new Uint8Array(0), 0).length, 0);
    });
  });
}

describe("sparse kernels", () => {
  const [form] = forms as [SparseForm];
  const good = () =>
    encodeSparse(
      form,
      Float32Array.from({ length: chunkElements }, (_, index) => (index % 105 === 0 ? index + 1 : 0)),
    );
  const refused = (change: (bytes: Uint8Array) => void, why: RegExp) => {
    const bytes = good();
    change(bytes);
    assert.throws(() => decodeSparse(form, bytes, chunkElements), why);
  };
  const bit = (at: number) => (bytes: Uint8Array) => {
    bytes[2 + (at >> 3)] = (bytes[2 + (at >> 3)] as number) ^ (1 << (at & 7));
  };
  const markBits = 39 + 64;

  it("say what is wrong", () => {
    refused((bytes) => bytes.fill(0x80, 1, 2), /scale is negative/);
    // The last mark taken away, and one more set behind it.
    refused(bit(markBits - 2), /as many values as are kept/);
    refused(bit(markBits - 1), /as many values as are kept/);
    // All indices are the same: the marks stand together, all low bits are equal.
    refused((bytes) => {
      bytes.fill(0, 2);
      for (let i = 0; i < 39; i++) bit(i)(bytes);
    }, /out of range or repeated/);
    // A place behind the last of a chunk that is short.
    const short = new Uint8Array(sparseBytes(form, 100));
    bit(1 + 1)(short);
    for (let i = 0; i < 6; i++) bit(3 + i)(short);
    assert.throws(() => decodeSparse(form, short, 100), /out of range or repeated/);
    refused(bit(markBits + 39 * 8), /behind its end/);
    assert.ok(decodeSparse(form, good(), chunkElements));
  });

  it("read values that are not finite as what they are", () => {
    const bytes = good();
    bytes[0] = 0x80;
    bytes[1] = 0x7f;
    assert.equal(decodeSparse(form, bytes, chunkElements)[4095], Number.POSITIVE_INFINITY);
    assert.throws(() => encodeSparse(form, Float32Array.of(1, Number.NaN)), RangeError);
  });

  it("keep the larger of two neighbouring values, though it stands behind", () => {
    assert.deepEqual([...decodeSparse(form, encodeSparse(form, Float32Array.of(1, 1 + 2 ** -23)), 2)], [0, 1]);
  });

  it("take 54 bytes a chunk where 39 are kept: a 151st of bf16", () => {
    assert.equal(sparseBytes(form, 10 * chunkElements), 540);
    assert.equal(sparseBytes(form, chunkElements + 1), 54 + sparseBytes(form, 1));
  });
});
