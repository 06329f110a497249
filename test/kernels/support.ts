import fc from "fast-check";

/** fp32 arrays of any bits at all (NaN with every payload, infinities, subnormals), often near a tie of bf16. */
export const float32Words: fc.Arbitrary<Float32Array> = fc
  .array(
    fc.oneof(
      fc.integer({ min: 0, max: 0xffff_ffff }),
      fc.tuple(fc.integer({ min: 0, max: 0xffff }), fc.constantFrom(0x7fff, 0x8000, 0x8001)).map(([high, low]) => high * 65_536 + low),
    ),
    { maxLength: 100 },
  )
  .map((words) => new Float32Array(Uint32Array.from(words).buffer));

/** Bits, which tell 0 from -0. */
export const bitsOf = (values: Float32Array): Uint32Array => new Uint32Array(values.buffer, values.byteOffset, values.length);
