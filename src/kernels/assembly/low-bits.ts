/**
 * Stand-ins of 2 to 4 bits (docs/protocol.md, section 4, encoding q2-64 and its like), rounded for what the rows are multiplied by. Rows lie in the lanes of
 * the vectors, eight at a time, and columns are computed from the first to the last: so what every sum adds up, and in which order, is what a loop over one row does.
 * All in fp64.
 */
import { halfOf, halfValue } from "./stand-in";

/** Values that share a step: columns of a run. */
const run = 64;
/** Bytes of eight fp64, a column of a tile. */
const column: usize = 64;
/** The upper byte of the largest finite fp16 number, with three bits of fraction. */
const largestStep = 0xf7;
/** Steps to either side of the usual one that are tried. */
const stepsTried = 6;

/** `target -= source[0] * factors[0]`, then `source[1] * factors[1]`, ..: eight fp64 at a time, `count` times; strides in bytes. */
function subtract(target: usize, source: usize, stride: usize, factors: usize, factorStride: usize, count: i32): void {
  let a = v128.load(target);
  let b = v128.load(target, 16);
  let c = v128.load(target, 32);
  let d = v128.load(target, 48);
  for (let index = 0; index < count; index++) {
    const factor = v128.load64_splat(factors);
    a = f64x2.sub(a, f64x2.mul(v128.load(source), factor));
    b = f64x2.sub(b, f64x2.mul(v128.load(source, 16), factor));
    c = f64x2.sub(c, f64x2.mul(v128.load(source, 32), factor));
    d = f64x2.sub(d, f64x2.mul(v128.load(source, 48), factor));
    source += stride;
    factors += factorStride;
  }
  v128.store(target, a);
  v128.store(target, b, 16);
  v128.store(target, c, 32);
  v128.store(target, d, 48);
}

function divide(target: usize, by: f64): void {
  const divisor = f64x2.splat(by);
  for (let at: usize = 0; at < column; at += 16) v128.store(target + at, f64x2.div(v128.load(target + at), divisor));
}

/**
 * The triangular root of a symmetric positive matrix's inverse: L at `target`, lower, with L L^T = H^-1. H is at `matrix`, `size` rows of `stride` bytes, a multiple
 * of 64 and room for eight values more than a row has, and is overwritten; `target` has as many rows, of zeros. 0 where H is not positive definite. (Of H = R R^T
 * with R upper, L is the transpose of R's inverse.)
 */
export function inverseRoot(matrix: usize, size: i32, stride: usize, target: usize): i32 {
  for (let row = size - 1; row >= 0; row--) {
    const own = matrix + <usize>row * stride;
    const place = (<usize>row) << 3;
    for (let from = 0; from <= row; from += 8) {
      const at = (<usize>from) << 3;
      subtract(own + at, own + stride + at, stride, own + stride + place, stride, size - 1 - row);
    }
    const pivot = load<f64>(own + place);
    if (!(pivot > 0)) return 0;
    const root = sqrt<f64>(pivot);
    for (let from = 0; from <= row; from += 8) divide(own + ((<usize>from) << 3), root);
    store<f64>(own + place, root);
  }
  for (let row = 0; row < size; row++) {
    const factors = matrix + <usize>row * stride;
    const own = target + <usize>row * stride;
    const root = load<f64>(factors + ((<usize>row) << 3));
    for (let from = 0; from <= row; from += 8) {
      const at = (<usize>from) << 3;
      subtract(own + at, target + <usize>from * stride + at, stride, factors + at, 8, row - from);
      divide(own + at, root);
    }
    store<f64>(own + ((<usize>row) << 3), 1 / root);
  }
  return 1;
}

/**
 * Rounds `size` columns, from `start` on, of `rows` rows of `columns` fp32 values at `source`: codes of `bits` bits to rows of codes at `target`, a byte for each run's
 * step to rows of `runs` at `steps`. `factor`, if not 0, is what `inverseRoot` made of the columns' moments, rows of `stride` bytes: what a column loses is made up
 * for by those after it. `usual` is the step that suits a deviation of 1. `scratch` has room for 2 * `size` + 24 columns of a tile.
 */
export function roundBlock(
  source: usize,
  rows: i32,
  columns: i32,
  start: i32,
  size: i32,
  bits: i32,
  usual: f64,
  factor: usize,
  stride: usize,
  target: usize,
  steps: usize,
  scratch: usize,
): void {
  const lost = scratch + <usize>size * column;
  const scales = lost + <usize>size * column;
  const codes = scales + 16 * column;
  const rowBytes = <usize>((columns * bits + 7) >> 3);
  const runs = <usize>((columns + run - 1) / run);
  for (let row = 0; row < rows; row += 8) {
    const lines = min(8, rows - row);
    readTile(source + ((<usize>(row * columns + start)) << 2), lines, columns, size, scratch);
    for (let first = 0; first < size; first += run) {
      const last = min(size, first + run);
      if (factor !== 0) {
        for (let at = first; at < last; at++) {
          subtract(scratch + <usize>at * column, lost, column, factor + <usize>at * stride, 8, first);
        }
      }
      const index = <usize>((start + first) / run);
      chooseSteps(scratch, first, last, bits, usual, factor, stride, scales);
      for (let line = 0; line < lines; line++) {
        store<u8>(steps + <usize>(row + line) * runs + index, load<u8>(scales + 2 * column + <usize>line));
      }
      for (let at = first; at < last; at++) {
        const values = scratch + <usize>at * column;
        const factors = factor + <usize>at * stride;
        if (factor !== 0) {
          const before = (<usize>first) << 3;
          subtract(values, lost + <usize>first * column, column, factors + before, 8, at - first);
        }
        const own = factor !== 0 ? load<f64>(factors + ((<usize>at) << 3)) : 1;
        roundColumn(values, bits, scales, own, lost + <usize>at * column, codes + ((<usize>(at - first)) << 3));
      }
      const place = <usize>((start + first) * bits) >> 3;
      for (let line = 0; line < lines; line++) {
        pack(codes + <usize>line, last - first, bits, target + <usize>(row + line) * rowBytes + place);
      }
    }
  }
}

/** Up to eight rows of fp32 to columns of eight fp64, zeros where there is no row. */
function readTile(source: usize, lines: i32, columns: i32, size: i32, tile: usize): void {
  if (lines < 8) memory.fill(tile, 0, <usize>size * column);
  for (let line = 0; line < lines; line++) {
    const from = source + ((<usize>(line * columns)) << 2);
    const to = tile + ((<usize>line) << 3);
    for (let at = 0; at < size; at++) store<f64>(to + <usize>at * column, <f64>load<f32>(from + ((<usize>at) << 2)));
  }
}

/**
 * For each row of the tile the step, of those about the usual one, that leaves the least squared error in columns `first` to `last`, each column's times the inverse
 * square of its factor. To `scales`: eight steps, eight halves of their inverses, and eight bytes that name them, all 0 where the values are; what lies behind
 * them is for this function to work in, up to 16 columns of a tile.
 */
function chooseSteps(tile: usize, first: i32, last: i32, bits: i32, usual: f64, factor: usize, stride: usize, scales: usize): void {
  const inverses = scales + column;
  const chosen = scales + 2 * column;
  const tried = scales + 3 * column;
  const leasts = scales + 4 * column;
  const errors = scales + 5 * column;
  const centres = scales + 6 * column;
  const triedSteps = scales + 7 * column;
  const weights = scales + 8 * column;
  for (let at = first; at < last; at++) {
    const own = factor !== 0 ? load<f64>(factor + <usize>at * stride + ((<usize>at) << 3)) : 1;
    store<f64>(weights + ((<usize>(at - first)) << 3), 1 / (own * own));
  }
  sumSquares(tile, first, last, errors);
  for (let lane: usize = 0; lane < 8; lane++) {
    const squares = load<f64>(errors + (lane << 3));
    const centre = (halfOf(min<f64>(sqrt<f64>(squares / <f64>(last - first)) * usual, 65_504)) + 64) >> 7;
    store<i32>(centres + (lane << 2), squares === 0 ? 0 : max(1, centre));
    store<f64>(leasts + (lane << 3), Infinity);
    store<u8>(chosen + lane, 0);
    store<f64>(scales + (lane << 3), 0);
    store<f64>(inverses + (lane << 3), 0);
  }
  for (let move = -stepsTried; move <= stepsTried; move++) {
    for (let lane: usize = 0; lane < 8; lane++) {
      const step = halfValue(max(1, min(largestStep, load<i32>(centres + (lane << 2)) + move)) << 7);
      store<f64>(triedSteps + (lane << 3), step);
      store<f64>(tried + (lane << 3), 0.5 / step);
    }
    squaredErrors(tile, first, last, bits, tried, weights, errors);
    for (let lane: usize = 0; lane < 8; lane++) {
      const centre = load<i32>(centres + (lane << 2));
      const step = load<f64>(triedSteps + (lane << 3));
      const error = load<f64>(errors + (lane << 3)) * step * step;
      if (centre === 0 || !(error < load<f64>(leasts + (lane << 3)))) continue;
      store<f64>(leasts + (lane << 3), error);
      store<u8>(chosen + lane, <u8>max(1, min(largestStep, centre + move)));
      store<f64>(scales + (lane << 3), step);
      store<f64>(inverses + (lane << 3), load<f64>(tried + (lane << 3)));
    }
  }
}

/** Sums of the squares of columns `first` to `last`, for each of eight rows. */
function sumSquares(tile: usize, first: i32, last: i32, target: usize): void {
  let a = f64x2.splat(0);
  let b = f64x2.splat(0);
  let c = f64x2.splat(0);
  let d = f64x2.splat(0);
  for (let at = first; at < last; at++) {
    const values = tile + <usize>at * column;
    a = f64x2.add(a, square(v128.load(values)));
    b = f64x2.add(b, square(v128.load(values, 16)));
    c = f64x2.add(c, square(v128.load(values, 32)));
    d = f64x2.add(d, square(v128.load(values, 48)));
  }
  v128.store(target, a);
  v128.store(target, b, 16);
  v128.store(target, c, 32);
  v128.store(target, d, 48);
}

function square(x: v128): v128 {
  return f64x2.mul(x, x);
}

/** Sums of the weighed squares of what rounding would lose, in units of twice the step. */
function squaredErrors(tile: usize, first: i32, last: i32, bits: i32, inverses: usize, weights: usize, target: usize): void {
  const p = v128.load(inverses);
  const q = v128.load(inverses, 16);
  const r = v128.load(inverses, 32);
  const s = v128.load(inverses, 48);
  const most = f64x2.splat(<f64>((1 << (bits - 1)) - 1));
  const least = f64x2.splat(<f64>-(1 << (bits - 1)));
  let a = f64x2.splat(0);
  let b = f64x2.splat(0);
  let c = f64x2.splat(0);
  let d = f64x2.splat(0);
  for (let at = first; at < last; at++) {
    const values = tile + <usize>at * column;
    const weight = v128.load64_splat(weights + ((<usize>(at - first)) << 3));
    a = f64x2.add(a, f64x2.mul(weight, square(rest(f64x2.mul(v128.load(values), p), least, most))));
    b = f64x2.add(b, f64x2.mul(weight, square(rest(f64x2.mul(v128.load(values, 16), q), least, most))));
    c = f64x2.add(c, f64x2.mul(weight, square(rest(f64x2.mul(v128.load(values, 32), r), least, most))));
    d = f64x2.add(d, f64x2.mul(weight, square(rest(f64x2.mul(v128.load(values, 48), s), least, most))));
  }
  v128.store(target, a);
  v128.store(target, b, 16);
  v128.store(target, c, 32);
  v128.store(target, d, 48);
}

/** The whole part of x within the codes' range: an odd multiple of half a unit is that and a half. */
function whole(x: v128, least: v128, most: v128): v128 {
  return f64x2.pmin(f64x2.pmax(f64x2.floor(x), least), most);
}

function rest(x: v128, least: v128, most: v128): v128 {
  return f64x2.sub(f64x2.sub(x, whole(x, least, most)), f64x2.splat(0.5));
}

/** A column of eight rows: their codes to eight bytes at `codes`; what they lose, divided by `own`, to `lost`. */
function roundColumn(values: usize, bits: i32, scales: usize, own: f64, lost: usize, codes: usize): void {
  const most = f64x2.splat(<f64>((1 << (bits - 1)) - 1));
  const least = f64x2.splat(<f64>-(1 << (bits - 1)));
  const divisor = f64x2.splat(own);
  for (let at: usize = 0; at < column; at += 16) {
    const x = v128.load(values + at);
    const code = whole(f64x2.mul(x, v128.load(scales + at, column)), least, most);
    const odd = f64x2.add(f64x2.add(code, code), f64x2.splat(1));
    v128.store(lost + at, f64x2.div(f64x2.sub(x, f64x2.mul(odd, v128.load(scales + at))), divisor));
    const integers = i32x4.add(i32x4.trunc_sat_f64x2_s_zero(code), i32x4.splat(1 << (bits - 1)));
    store<u8>(codes + (at >> 3), <u8>i32x4.extract_lane(integers, 0));
    store<u8>(codes + (at >> 3), <u8>i32x4.extract_lane(integers, 1), 1);
  }
}

/**
 * The fp32 values of a row of `columns` codes of `bits` bits at `source`, a byte for each run's step at `steps`. Up to three bytes behind the codes are read, and up to
 * seven values behind the row written.
 */
export function readRow(source: usize, columns: i32, bits: i32, steps: usize, target: usize): void {
  // Four codes of a word come to the top by a product each, and down again by one shift for all.
  const top = 32 - bits;
  const up = i32x4(1 << top, 1 << (top - bits), 1 << (top - 2 * bits), 1 << (top - 3 * bits));
  const lowest = i32x4.splat(1 - (1 << bits));
  for (let first = 0; first < columns; first += run) {
    const step = f32x4.splat(<f32>stepValue(load<u8>(steps++)));
    const last = min(columns, first + run);
    for (let at = first; at < last; at += 8) {
      const word = load<u32>(source);
      const low = i32x4.shr_u(i32x4.mul(i32x4.splat(word), up), top);
      const high = i32x4.shr_u(i32x4.mul(i32x4.splat(word >>> (4 * bits)), up), top);
      v128.store(target, f32x4.mul(f32x4.convert_i32x4_s(i32x4.add(i32x4.add(low, low), lowest)), step));
      v128.store(target, f32x4.mul(f32x4.convert_i32x4_s(i32x4.add(i32x4.add(high, high), lowest)), step), 16);
      source += <usize>bits;
      target += 32;
    }
  }
}

/** The fp16 number whose upper byte but for the sign this is; beyond the largest infinity, then none. */
function stepValue(byte: i32): f64 {
  if (byte > largestStep) return byte === largestStep + 1 ? Infinity : NaN;
  return halfValue(byte << 7);
}

/** `count` codes, eight bytes apart, one behind the other from the lowest bit of the first byte on. */
function pack(codes: usize, count: i32, bits: i32, target: usize): void {
  let held: u32 = 0;
  let room = 0;
  for (let at = 0; at < count; at++) {
    held |= (<u32>load<u8>(codes + ((<usize>at) << 3))) << room;
    room += bits;
    if (room < 8) continue;
    store<u8>(target++, <u8>held);
    held >>= 8;
    room -= 8;
  }
  if (room > 0) store<u8>(target, <u8>held);
}
