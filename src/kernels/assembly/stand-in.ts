/** Stand-ins of 4 bits (docs/protocol.md, section 4, encoding q4-32): runs of 32 values, each with one fp16 scale. The scale is found in doubles, as the rule has it. */

const largestHalf: f64 = 65_504;

/**
 * Quantises `runs` runs of 32 fp32 values at `source`: 16 bytes of nibbles each at `target`, and their fp16 scales at `scales`.
 * 1 where all values were finite; 0 where one was not, and then what was written is not to be used.
 */
export function quantizeRuns(source: usize, runs: i32, target: usize, scales: usize): i32 {
  for (let run = 0; run < runs; run++) {
    const from = source + ((<usize>run) << 7);
    // Magnitudes are ordered as their bits are, infinity and NaN above all others.
    let largest = i32x4.splat(0);
    for (let at: usize = 0; at < 128; at += 16) largest = i32x4.max_u(largest, v128.and(v128.load(from + at), i32x4.splat(0x7fffffff)));
    largest = i32x4.max_u(largest, i8x16.shuffle(largest, largest, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    const most = max<u32>(i32x4.extract_lane(largest, 0), i32x4.extract_lane(largest, 1));
    if (most >= 0x7f800000) return 0;
    const bits = halfOf(min<f64>(<f64>reinterpret<f32>(most) / 7, largestHalf));
    store<u16>(scales + ((<usize>run) << 1), <u16>bits);
    const to = target + ((<usize>run) << 4);
    if (bits === 0) {
      memory.fill(to, 0x88, 16);
      continue;
    }
    const step = <f32>halfValue(bits);
    const scale = f32x4.splat(step);
    const inverse = f32x4.splat(1 / step);
    const half = f32x4.splat(step / 2);
    const low = i8x16.narrow_i16x8_s(eightCodes(from, scale, inverse, half), eightCodes(from + 32, scale, inverse, half));
    const high = i8x16.narrow_i16x8_s(eightCodes(from + 64, scale, inverse, half), eightCodes(from + 96, scale, inverse, half));
    const even = i8x16.shuffle(low, high, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const odd = i8x16.shuffle(low, high, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    v128.store(to, v128.or(even, i8x16.shl(odd, 4)));
  }
  return 1;
}

function eightCodes(from: usize, scale: v128, inverse: v128, half: v128): v128 {
  const first = fourCodes(v128.load(from), scale, inverse, half);
  return i16x8.narrow_i32x4_s(first, fourCodes(v128.load(from, 16), scale, inverse, half));
}

/**
 * `clamp(round-half-even(x / scale), -7, 7) + 8`, of the exact quotient. A guess by the reciprocal is off by one at most; what is left of the value
 * tells, without an error where it matters: a multiple of a scale of 11 bits by up to 7 is exact, and so is its distance to a value that is near.
 */
function fourCodes(values: v128, scale: v128, inverse: v128, half: v128): v128 {
  const quotient = f32x4.pmax(f32x4.pmin(f32x4.mul(values, inverse), f32x4.splat(7)), f32x4.splat(-7));
  // Adding 1.5 * 2^23 rounds to a whole number, which then stands in the lowest bits.
  const rounded = f32x4.add(quotient, f32x4.splat(12_582_912));
  const whole = i32x4.sub(rounded, i32x4.splat(0x4b400000));
  const rest = f32x4.sub(values, f32x4.mul(f32x4.sub(rounded, f32x4.splat(12_582_912)), scale));
  const far = f32x4.abs(rest);
  const odd = i32x4.shr_s(i32x4.shl(whole, 31), 31);
  const moves = v128.or(f32x4.gt(far, half), v128.and(f32x4.eq(far, half), odd));
  const towards = v128.or(i32x4.shr_s(rest, 31), i32x4.splat(1));
  const code = i32x4.add(whole, v128.and(moves, towards));
  return i32x4.add(i32x4.max_s(i32x4.min_s(code, i32x4.splat(7)), i32x4.splat(-7)), i32x4.splat(8));
}

/** The bits of the fp16 number nearest to a value from 0 to the largest of them, ties to even. */
export function halfOf(value: f64): i32 {
  const exponent = max<i32>(<i32>((reinterpret<u64>(value) >> 52) & 0x7ff) - 1023, -14);
  // Times 2^(10 - exponent). A carry out of the fraction runs into the exponent, which is what rounding up to the next binade is.
  const steps = <i32>nearest<f64>(value * reinterpret<f64>((<u64>(1023 + 10 - exponent)) << 52));
  return exponent === -14 ? steps : ((exponent + 14) << 10) + steps;
}

export function halfValue(bits: i32): f64 {
  const exponent = bits >> 10;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return <f64>fraction * reinterpret<f64>((<u64>(1023 - 24)) << 52);
  return <f64>(1024 + fraction) * reinterpret<f64>((<u64>(1023 + exponent - 25)) << 52);
}
