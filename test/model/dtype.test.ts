import assert from "node:assert/strict";
import fc from "fast-check";
import { bytesOf, dtypes, elementsOf, fromFloat32, fromHalf, roundHalfEven, toFloat32, toHalf } from "../../src/model/dtype.ts";
import { bytesOfHex, expected, floatsOfHex } from "./support.ts";

const { rounding } = expected;

/** fp32 to a shorter format bit by bit, in integers: cut the fraction, look at what was cut. */
function shorten(word: number, exponentBits: number, fractionBits: number): bigint {
  const sign = BigInt(word >>> 31);
  const exponent = (word >>> 23) & 0xff;
  const fraction = BigInt(word & 0x7fffff);
  const top = (1n << BigInt(exponentBits)) - 1n;
  const pack = (exponentAndFraction: bigint) => (sign << BigInt(exponentBits + fractionBits)) | exponentAndFraction;
  if (exponent === 255) return fraction === 0n ? pack(top << BigInt(fractionBits)) : -1n;
  const significand = exponent === 0 ? fraction : fraction | 0x800000n;
  const power = Math.max(exponent, 1) - 150;
  const least = 2 - 2 ** (exponentBits - 1) - fractionBits;
  // The value is significand * 2^power; count it in steps of the target's binade, at least those of its subnormals.
  const width = significand.toString(2).length;
  const step = Math.max(least, power + width - 1 - fractionBits);
  const shift = BigInt(step - power);
  let steps = shift <= 0n ? significand << -shift : significand >> shift;
  if (shift > 0n) {
    const rest = significand & ((1n << shift) - 1n);
    const half = 1n << (shift - 1n);
    if (rest > half || (rest === half && (steps & 1n) === 1n)) steps += 1n;
  }
  if (significand === 0n) return pack(0n);
  const result = (BigInt(step - least) << BigInt(fractionBits)) + steps;
  return pack(result >= top << BigInt(fractionBits) ? top << BigInt(fractionBits) : result);
}

function words(bytes: Uint8Array): Uint16Array {
  return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
}

describe("dtype", () => {
  for (const [dtype, key] of [
    ["F16", "f16"],
    ["BF16", "bf16"],
  ] as const) {
    it(`rounds fp32 to ${dtype} as numpy and ml_dtypes do`, () => {
      const values = floatsOfHex(rounding.f32);
      const found = words(fromFloat32(dtype, values));
      const wanted = words(bytesOfHex(rounding[key]));
      const isNaN16 = (bits: number) => (dtype === "F16" ? (bits & 0x7fff) > 0x7c00 : (bits & 0x7fff) > 0x7f80);
      for (let index = 0; index < values.length; index++) {
        const [a, b] = [found[index] as number, wanted[index] as number];
        assert.ok(a === b || (isNaN16(a) && isNaN16(b)), `${values[index]}: ${a.toString(16)} instead of ${b.toString(16)}`);
      }
    });
  }

  it("rounds any fp32 word as integer arithmetic does", () => {
    const word = fc.oneof(
      fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      // Around fp16's steps, where ties are.
      fc
        .tuple(fc.integer({ min: 0x2e00, max: 0x4800 }), fc.integer({ min: -2, max: 2 }))
        .map(([high, low]) => high * 65_536 + 0x1000 + low),
    );
    fc.assert(
      fc.property(word, (bits) => {
        const values = new Float32Array(Uint32Array.of(bits).buffer);
        for (const [dtype, exponentBits, fractionBits] of [
          ["F16", 5, 10],
          ["BF16", 8, 7],
        ] as const) {
          const found = words(fromFloat32(dtype, values))[0] as number;
          const wanted = shorten(bits, exponentBits, fractionBits);
          if (wanted === -1n) assert.ok(Number.isNaN(toFloat32(dtype, fromFloat32(dtype, values))[0]), "NaN stays NaN");
          else assert.equal(found, Number(wanted), `${dtype} of ${bits.toString(16)}`);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it("reads and re-writes every half and every bf16 without change", () => {
    const all = Uint16Array.from({ length: 65_536 }, (_, bits) => bits);
    for (const dtype of ["F16", "BF16"] as const) {
      const values = toFloat32(dtype, new Uint8Array(all.buffer));
      const back = words(fromFloat32(dtype, values));
      for (let bits = 0; bits < all.length; bits++) {
        if (Number.isNaN(values[bits])) assert.ok(Number.isNaN(toFloat32(dtype, fromFloat32(dtype, values.subarray(bits, bits + 1)))[0]));
        else assert.equal(back[bits], bits);
      }
    }
  });

  it("reads halves as numpy does", () => {
    const wanted = floatsOfHex(rounding.f16AsF32);
    for (const [index, value] of wanted.entries()) {
      assert.ok(Object.is(fromHalf(index * 37), value) || (Number.isNaN(value) && Number.isNaN(fromHalf(index * 37))));
    }
  });

  it("rounds doubles to half once, not through fp32", () => {
    // Just above a tie, by less than fp32 can see.
    const tie = 1 + 2 ** -11;
    assert.equal(toHalf(tie), 0x3c00);
    assert.equal(toHalf(tie + 2 ** -50), 0x3c01);
    assert.equal(toHalf(65_519.999), 0x7bff);
    assert.equal(toHalf(65_520), 0x7c00);
  });

  it("rounds halves to even", () => {
    assert.deepEqual([0.5, 1.5, 2.5, -0.5, -1.5, 0.49999999999999994].map(roundHalfEven), [0, 2, 2, 0, -2, 0]);
  });

  it("reads bytes that are not aligned", () => {
    const bytes = new Uint8Array(9);
    bytes.set(new Uint8Array(Float32Array.of(1.25, -3).buffer), 1);
    assert.deepEqual([...toFloat32("F32", bytes.subarray(1))], [1.25, -3]);
    assert.throws(() => toFloat32("F32", bytes), RangeError);
  });

  it("counts elements and bytes, and none where they are no exact integer", () => {
    assert.equal(elementsOf([]), 1);
    assert.equal(elementsOf([3, 0, 2 ** 52]), 0);
    assert.equal(elementsOf([2 ** 40, 2 ** 40]), undefined);
    assert.equal(bytesOf("F4", [3]), undefined);
    assert.equal(bytesOf("F4", [4]), 2);
    assert.equal(bytesOf("F6_E2M3", [4]), 3);
    assert.equal(bytesOf("C64", [2, 3]), 48);
    assert.equal(bytesOf("F64", [2 ** 51]), undefined);
    assert.equal(dtypes.length, 20);
  });
});
