/** 1 where all of the `count` fp32 values at `source` are finite, 0 where one is NaN or infinite: its exponent is all ones. */
export function allFinite(source: usize, count: i32): i32 {
  const exponent = i32x4.splat(0x7f800000);
  const vectors = count & ~3;
  let bad = i32x4.splat(0);
  for (let index = 0; index < vectors; index += 4) {
    bad = v128.or(bad, i32x4.eq(v128.and(v128.load(source + ((<usize>index) << 2)), exponent), exponent));
  }
  if (v128.any_true(bad)) return 0;
  for (let index = vectors; index < count; index++) {
    if ((load<u32>(source + ((<usize>index) << 2)) & 0x7f800000) === 0x7f800000) return 0;
  }
  return 1;
}
