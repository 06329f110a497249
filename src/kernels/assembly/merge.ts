/** What a merge does to fp32 values: sums, means of the middle, and the outer step. Every operation is one fp32 operation, in the order written. */

/**
 * Writes to `target` the sums of `count` values of `arrays` arrays, added in the order of their addresses, which are u32 words at `table`, times
 * `factor`. The target may be one of them.
 */
export function sumOf(table: usize, arrays: i32, target: usize, factor: f32, count: i32): void {
  const factors = f32x4.splat(factor);
  const vectors = count & ~7;
  const first = <usize>load<u32>(table);
  for (let index = 0; index < vectors; index += 8) {
    const at = (<usize>index) << 2;
    let low = v128.load(first + at);
    let high = v128.load(first + at, 16);
    for (let array = 1; array < arrays; array++) {
      const address = <usize>load<u32>(table + ((<usize>array) << 2)) + at;
      low = f32x4.add(low, v128.load(address));
      high = f32x4.add(high, v128.load(address, 16));
    }
    v128.store(target + at, f32x4.mul(low, factors));
    v128.store(target + at, f32x4.mul(high, factors), 16);
  }
  for (let index = vectors; index < count; index++) {
    const at = (<usize>index) << 2;
    let sum = load<f32>(first + at);
    for (let array = 1; array < arrays; array++) sum += load<f32>(<usize>load<u32>(table + ((<usize>array) << 2)) + at);
    store<f32>(target + at, sum * factor);
  }
}

/** Puts the smaller of each pair of the `count` values at `low` and `high` to `low`, the larger to `high`; -0 counts as smaller than 0. */
export function sortPair(low: usize, high: usize, count: i32): void {
  const vectors = count & ~3;
  for (let index = 0; index < vectors; index += 4) {
    const at = (<usize>index) << 2;
    const a = v128.load(low + at);
    const b = v128.load(high + at);
    v128.store(low + at, f32x4.min(a, b));
    v128.store(high + at, f32x4.max(a, b));
  }
  for (let index = vectors; index < count; index++) {
    const at = (<usize>index) << 2;
    const a = load<f32>(low + at);
    const b = load<f32>(high + at);
    store<f32>(low + at, min<f32>(a, b));
    store<f32>(high + at, max<f32>(a, b));
  }
}

/**
 * `v' = mu * v + g`, `step = rate * (g + mu * v')`, `new = base + scale * step` for `count` values: g at `gradient`, v at `momentum`; v' goes to
 * `nextMomentum`, new to `weights`, which may be where v and base are.
 */
export function outerStep(
  gradient: usize,
  momentum: usize,
  base: usize,
  nextMomentum: usize,
  weights: usize,
  rate: f32,
  mu: f32,
  scale: f32,
  count: i32,
): void {
  const rates = f32x4.splat(rate);
  const mus = f32x4.splat(mu);
  const scales = f32x4.splat(scale);
  const vectors = count & ~3;
  for (let index = 0; index < vectors; index += 4) {
    const at = (<usize>index) << 2;
    const g = v128.load(gradient + at);
    const v = f32x4.add(f32x4.mul(mus, v128.load(momentum + at)), g);
    const step = f32x4.mul(rates, f32x4.add(g, f32x4.mul(mus, v)));
    v128.store(nextMomentum + at, v);
    v128.store(weights + at, f32x4.add(v128.load(base + at), f32x4.mul(scales, step)));
  }
  for (let index = vectors; index < count; index++) {
    const at = (<usize>index) << 2;
    const g = load<f32>(gradient + at);
    const v = mu * load<f32>(momentum + at) + g;
    const step = rate * (g + mu * v);
    store<f32>(nextMomentum + at, v);
    store<f32>(weights + at, load<f32>(base + at) + scale * step);
  }
}

/**
 * Adds the squares of `a - b` (of `a`, where `b` is 0) of `count` values to four fp64 sums at `lanes`, by place modulo 4. Each difference, product and
 * sum is one fp64 operation.
 */
export function addSquares(a: usize, b: usize, lanes: usize, count: i32): void {
  let low = v128.load(lanes);
  let high = v128.load(lanes, 16);
  const vectors = count & ~3;
  for (let index = 0; index < vectors; index += 4) {
    const at = (<usize>index) << 2;
    const values = v128.load(a + at);
    let first = f64x2.promote_low_f32x4(values);
    let second = f64x2.promote_low_f32x4(v128.shuffle<u64>(values, values, 1, 0));
    if (b !== 0) {
      const others = v128.load(b + at);
      first = f64x2.sub(first, f64x2.promote_low_f32x4(others));
      second = f64x2.sub(second, f64x2.promote_low_f32x4(v128.shuffle<u64>(others, others, 1, 0)));
    }
    low = f64x2.add(low, f64x2.mul(first, first));
    high = f64x2.add(high, f64x2.mul(second, second));
  }
  v128.store(lanes, low);
  v128.store(lanes, high, 16);
  for (let index = vectors; index < count; index++) {
    const at = (<usize>index) << 2;
    const difference = <f64>load<f32>(a + at) - (b !== 0 ? <f64>load<f32>(b + at) : 0);
    const lane = lanes + ((<usize>(index & 3)) << 3);
    store<f64>(lane, load<f64>(lane) + difference * difference);
  }
}
