/** fp32 and bf16, which is the upper half of an fp32: eight values at a time, and what is left over one by one. */

/** Writes `count` fp32 values at `target` for the bf16 values at `source`. Exact. */
export function float32FromBfloat16(source: usize, target: usize, count: i32): void {
  const vectors = count & ~7;
  for (let index = 0; index < vectors; index += 8) {
    const halves = v128.load(source + ((<usize>index) << 1));
    const address = target + ((<usize>index) << 2);
    v128.store(address, i32x4.shl(i32x4.extend_low_i16x8_u(halves), 16));
    v128.store(address, i32x4.shl(i32x4.extend_high_i16x8_u(halves), 16), 16);
  }
  for (let index = vectors; index < count; index++) {
    store<u32>(target + ((<usize>index) << 2), (<u32>load<u16>(source + ((<usize>index) << 1))) << 16);
  }
}

/**
 * Writes `count` bf16 values at `target` for the fp32 values at `source`: rounded to nearest, ties to even; beyond the largest, infinity.
 * A NaN keeps its sign and upper bits and becomes quiet.
 */
export function bfloat16FromFloat32(source: usize, target: usize, count: i32): void {
  const vectors = count & ~7;
  for (let index = 0; index < vectors; index += 8) {
    const address = source + ((<usize>index) << 2);
    const low = rounded(v128.load(address));
    const high = rounded(v128.load(address, 16));
    // The lower half of each 32-bit lane.
    v128.store(target + ((<usize>index) << 1), i8x16.shuffle(low, high, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29));
  }
  for (let index = vectors; index < count; index++) {
    const word = rounded(v128.load32_zero(source + ((<usize>index) << 2)));
    store<u16>(target + ((<usize>index) << 1), <u16>i32x4.extract_lane(word, 0));
  }
}

/** The bf16 bits of four fp32 values, each in the lower half of its lane. */
function rounded(words: v128): v128 {
  const upper = i32x4.shr_u(words, 16);
  const even = v128.and(upper, i32x4.splat(1));
  const nearest = i32x4.shr_u(i32x4.add(words, i32x4.add(even, i32x4.splat(0x7fff))), 16);
  const notANumber = i32x4.gt_s(v128.and(words, i32x4.splat(0x7fffffff)), i32x4.splat(0x7f800000));
  return v128.bitselect(v128.or(upper, i32x4.splat(0x40)), nearest, notANumber);
}
