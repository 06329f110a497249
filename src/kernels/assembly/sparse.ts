/**
 * One chunk of a sparse delta (docs/protocol.md, section 6): the `kept` largest of `count` fp32 values. Its bytes are a bf16 scale, then,
 * as one string of bits, lowest first:
 *
 *   marks   kept + ceil(count / 2^lowBits) bits: bit `(index >> lowBits) + i` is set for the i-th kept index, counted from 0
 *   lows    the lower `lowBits` bits of each index
 *   values  two bits each: 1 for the larger magnitude (three scales, not one), 2 for a negative value
 *
 * Marks and lows are the code of Elias and Fano: indices in rising order, near the least bits that they can have, and always equally many.
 */

/** Bits of magnitude: fp32 without its sign, which compare as integers in the order of the magnitudes. */
const magnitude: i32 = 0x7fffffff;

/**
 * Encodes `count` values at `source`, a multiple of 16 (what pads a chunk is 0 and stands behind `length`, its true length), at `target`,
 * which holds `bytes` bytes and 8 more that are overwritten. Of equal magnitudes the lower index is kept. `scratch` takes 6 bytes for each kept value.
 */
export function encodeSparse(
  source: usize,
  count: i32,
  length: i32,
  kept: i32,
  lowBits: i32,
  target: usize,
  bytes: i32,
  scratch: usize,
): void {
  const indices = scratch;
  const magnitudes = scratch + ((<usize>kept) << 1);
  select(source, count, kept, indices);
  for (let i = 0; i < kept; i++) store<f32>(magnitudes + ((<usize>i) << 2), abs(valueAt(source, indexAt(indices, i))));

  const scale = scaleOf(magnitudes, kept);
  memory.fill(target, 0, bytes + 8);
  store<u16>(target, <u16>(reinterpret<u32>(scale) >> 16));
  const bits = target + 2;
  const markBits = kept + ((length + (1 << lowBits) - 1) >> lowBits);
  const limit = scale + scale;
  let low = markBits;
  let value = markBits + kept * lowBits;
  for (let i = 0; i < kept; i++) {
    const index = indexAt(indices, i);
    putBits(bits, (index >> lowBits) + i, 1);
    putBits(bits, low, index & ((1 << lowBits) - 1));
    const larger = load<f32>(magnitudes + ((<usize>i) << 2)) > limit ? 1 : 0;
    const negative = (reinterpret<u32>(valueAt(source, index)) >> 31) << 1;
    putBits(bits, value, larger | negative);
    low += lowBits;
    value += 2;
  }
}

/** Writes the indices of the `kept` largest magnitudes among `count` values, rising, as u16 at `indices`. */
function select(source: usize, count: i32, kept: i32, indices: usize): void {
  // Invariant: fewer than `kept` magnitudes reach `high`, and `reached` of them, at least `kept`, reach `low`.
  let high = largest(source, count) + 1;
  let low = high;
  let reached = 0;
  for (let step: i32 = 1 << 22; reached < kept; step <<= step < 1 << 29 ? 1 : 0) {
    low = low > step ? low - step : 0;
    reached = reaching(source, count, low);
    if (reached < kept) high = low;
  }
  while (reached > kept && high - low > 1) {
    const middle = low + ((high - low) >> 1);
    const some = reaching(source, count, middle);
    if (some < kept) high = middle;
    else {
      low = middle;
      reached = some;
    }
  }
  // All that are left between low and high are equal: the first of them are taken.
  let ties = reached > kept ? kept - reaching(source, count, high) : kept;
  let written = indices;
  for (let index = 0; index < count; index += 4) {
    const words = v128.and(v128.load(source + ((<usize>index) << 2)), i32x4.splat(magnitude));
    let found = i32x4.bitmask(i32x4.ge_s(words, i32x4.splat(low)));
    while (found !== 0) {
      const at = index + ctz(found);
      found &= found - 1;
      const isTie = (load<i32>(source + ((<usize>at) << 2)) & magnitude) < high;
      if (isTie) {
        if (ties === 0) continue;
        ties--;
      }
      store<u16>(written, <u16>at);
      written += 2;
    }
  }
}

/** The bits of the largest magnitude. */
function largest(source: usize, count: i32): i32 {
  let most = i32x4.splat(0);
  for (let index = 0; index < count; index += 4) {
    most = i32x4.max_s(most, v128.and(v128.load(source + ((<usize>index) << 2)), i32x4.splat(magnitude)));
  }
  return max(max(i32x4.extract_lane(most, 0), i32x4.extract_lane(most, 1)), max(i32x4.extract_lane(most, 2), i32x4.extract_lane(most, 3)));
}

/** How many magnitudes reach `bound`. */
function reaching(source: usize, count: i32, bound: i32): i32 {
  const bounds = i32x4.splat(bound);
  const mask = i32x4.splat(magnitude);
  // A comparison that holds is -1.
  let a = i32x4.splat(0);
  let b = i32x4.splat(0);
  for (let index = 0; index < count; index += 16) {
    const from = source + ((<usize>index) << 2);
    a = i32x4.add(a, i32x4.ge_s(v128.and(v128.load(from), mask), bounds));
    b = i32x4.add(b, i32x4.ge_s(v128.and(v128.load(from, 16), mask), bounds));
    a = i32x4.add(a, i32x4.ge_s(v128.and(v128.load(from, 32), mask), bounds));
    b = i32x4.add(b, i32x4.ge_s(v128.and(v128.load(from, 48), mask), bounds));
  }
  const sum = i32x4.add(a, b);
  return -(i32x4.extract_lane(sum, 0) + i32x4.extract_lane(sum, 1) + i32x4.extract_lane(sum, 2) + i32x4.extract_lane(sum, 3));
}

/**
 * The bf16 scale s that fits `kept` magnitudes best by s or 3 s: Lloyd's iteration from the mean and from a third of the largest, of
 * which the one with the smaller squared error is taken (the mean's where they are equal).
 */
function scaleOf(magnitudes: usize, kept: i32): f32 {
  let sum: f32 = 0;
  let most: f32 = 0;
  for (let i = 0; i < kept; i++) {
    const value = load<f32>(magnitudes + ((<usize>i) << 2));
    sum += value;
    most = max(most, value);
  }
  const fromMean = fitted(magnitudes, kept, sum / <f32>kept);
  const fromLargest = fitted(magnitudes, kept, most / 3);
  return errorOf(magnitudes, kept, fromLargest) < errorOf(magnitudes, kept, fromMean) ? fromLargest : fromMean;
}

/** Four rounds: which magnitudes are nearer to 3 s than to s, then the s with the least squared error for that; rounded to bf16. */
function fitted(magnitudes: usize, kept: i32, start: f32): f32 {
  let scale = start;
  for (let round = 0; round < 4; round++) {
    let product: f32 = 0;
    let squares: f32 = 0;
    for (let i = 0; i < kept; i++) {
      const value = load<f32>(magnitudes + ((<usize>i) << 2));
      const level: f32 = value > scale + scale ? 3 : 1;
      product += level * value;
      squares += level * level;
    }
    scale = product / squares;
  }
  const word = reinterpret<u32>(scale);
  return reinterpret<f32>((word + 0x7fff + ((word >> 16) & 1)) & 0xffff0000);
}

function errorOf(magnitudes: usize, kept: i32, scale: f32): f32 {
  let error: f32 = 0;
  for (let i = 0; i < kept; i++) {
    const value = load<f32>(magnitudes + ((<usize>i) << 2));
    const off = value - (value > scale + scale ? 3 * scale : scale);
    error += off * off;
  }
  return error;
}

/**
 * Decodes a chunk of `bytes` bytes at `source` (8 more are read, and must be 0) into `length` fp32 values at `target`, of which nothing is
 * written outside. 0 where the bytes are the one encoding of what they decode to, else what is wrong: 1 a negative scale, 2 not `kept`
 * marks, 3 an index beyond the chunk or not above the one before it, 4 a bit behind the last.
 */
export function decodeSparse(source: usize, length: i32, kept: i32, lowBits: i32, bytes: i32, target: usize): i32 {
  memory.fill(target, 0, (<usize>length) << 2);
  const half = load<u16>(source);
  if (half >> 15 !== 0) return 1;
  const scale = reinterpret<f32>((<u32>half) << 16);
  const bits = source + 2;
  const markBits = kept + ((length + (1 << lowBits) - 1) >> lowBits);
  let low = markBits;
  let value = markBits + kept * lowBits;
  const end = value + 2 * kept;
  let i = 0;
  let previous = -1;
  for (let first = 0; first < markBits; first += 32) {
    let word = load<u32>(bits + <usize>(first >> 3));
    if (markBits - first < 32) word &= (1 << (markBits - first)) - 1;
    while (word !== 0) {
      if (i === kept) return 2;
      const index = ((first + ctz(word) - i) << lowBits) | bitsAt(bits, low, lowBits);
      word &= word - 1;
      if (index <= previous || index >= length) return 3;
      previous = index;
      const code = bitsAt(bits, value, 2);
      const size: f32 = code & 1 ? 3 * scale : scale;
      store<f32>(target + ((<usize>index) << 2), code & 2 ? -size : size);
      i++;
      low += lowBits;
      value += 2;
    }
  }
  if (i !== kept) return 2;
  const spare = 8 * (bytes - 2) - end;
  return spare > 0 && bitsAt(bits, end, spare) !== 0 ? 4 : 0;
}

function indexAt(indices: usize, i: i32): i32 {
  return load<u16>(indices + ((<usize>i) << 1));
}

function valueAt(source: usize, index: i32): f32 {
  return load<f32>(source + ((<usize>index) << 2));
}

/** Sets bits of a zeroed string: at most 25 from bit `at` on. */
function putBits(bits: usize, at: i32, value: u32): void {
  const address = bits + <usize>(at >> 3);
  store<u32>(address, load<u32>(address) | (value << (at & 7)));
}

/** `width` bits from bit `at` on, at most 25. */
function bitsAt(bits: usize, at: i32, width: i32): i32 {
  return (load<u32>(bits + <usize>(at >> 3)) >> (at & 7)) & ((1 << width) - 1);
}
