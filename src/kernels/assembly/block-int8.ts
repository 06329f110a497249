/** Blocks of fp32 values as int8 with one fp32 scale. Blocks are padded: a kernel works on whole vectors of 16 values. */

/**
 * Quantises one block of `count` fp32 values at `source`, a multiple of 16: their int8 at `target`, and at `scale` the fp32 `max|x| / 127`.
 * A value becomes `clamp(round-half-even(x / scale), -127, 127)`, 0 where the scale is 0. With a NaN among the values the scale is one.
 */
export function quantizeBlock(source: usize, count: i32, target: usize, scale: usize): void {
  let largest = f32x4.splat(0);
  for (let index = 0; index < count; index += 4) {
    largest = f32x4.max(largest, f32x4.abs(v128.load(source + ((<usize>index) << 2))));
  }
  const pair = f32x4.max(largest, i8x16.shuffle(largest, largest, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  const step = max<f32>(f32x4.extract_lane(pair, 0), f32x4.extract_lane(pair, 1)) / 127;
  store<f32>(scale, step);
  if (step === 0) {
    memory.fill(target, 0, count);
    return;
  }
  const steps = f32x4.splat(step);
  for (let index = 0; index < count; index += 16) {
    const from = source + ((<usize>index) << 2);
    const low = i16x8.narrow_i32x4_s(quotients(v128.load(from), steps), quotients(v128.load(from, 16), steps));
    const high = i16x8.narrow_i32x4_s(quotients(v128.load(from, 32), steps), quotients(v128.load(from, 48), steps));
    v128.store(target + <usize>index, i8x16.narrow_i16x8_s(low, high));
  }
}

/** Four quotients as whole numbers from -127 to 127. */
function quotients(values: v128, steps: v128): v128 {
  const whole = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.div(values, steps)));
  return i32x4.max_s(i32x4.min_s(whole, i32x4.splat(127)), i32x4.splat(-127));
}

/** Writes `int8 * scale` as fp32 at `target` for the `count` int8 at `source`, a multiple of 16. */
export function dequantizeBlock(source: usize, count: i32, scale: f32, target: usize): void {
  const steps = f32x4.splat(scale);
  for (let index = 0; index < count; index += 16) {
    const bytes = v128.load(source + <usize>index);
    const low = i16x8.extend_low_i8x16_s(bytes);
    const high = i16x8.extend_high_i8x16_s(bytes);
    const to = target + ((<usize>index) << 2);
    v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(low)), steps));
    v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(low)), steps), 16);
    v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(high)), steps), 32);
    v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(high)), steps), 48);
  }
}
