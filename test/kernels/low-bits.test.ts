import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fc from "fast-check";
import { type Feedback, feedbackColumns, feedbackOf, readRows, roundRows } from "../../src/kernels/low-bits.ts";
import { fromHalf, toHalf } from "../../src/model/dtype.ts";
import { someFloats } from "../model/support.ts";

type Bits = 2 | 3 | 4;
const usualStep = { 2: 0.9957 / 2, 3: 0.586 / 2, 4: 0.3352 / 2 };

/** Second moments of `count` inputs that hang together, in blocks. The columns of `dead` are always zero. */
function momentsOf(columns: number, count: number, { seed = 1, dead = [] as number[] } = {}): Float32Array[] {
  const blocks: Float32Array[] = [];
  for (let start = 0; start < columns; start += feedbackColumns) {
    const size = Math.min(feedbackColumns, columns - start);
    const block = new Float32Array(size * size);
    for (let token = 0; token < count; token++) {
      const x = someFloats(seed + 7919 * token + start, size);
      for (let at = 1; at < size; at++) x[at]! += 0.8 * x[at - 1]!;
      for (const column of dead) if (column >= start && column < start + size) x[column - start] = 0;
      for (let row = 0; row < size; row++)
        for (let column = 0; column < size; column++) block[row * size + column]! += x[row]! * x[column]!;
    }
    blocks.push(block);
  }
  return blocks;
}

function codesOf(values: Float32Array, columns: number, bits: Bits, feedback?: Feedback): { codes: Uint8Array; steps: Uint8Array } {
  const rows = values.length / columns;
  const codes = new Uint8Array(rows * Math.ceil((columns * bits) / 8));
  const steps = new Uint8Array(rows * Math.ceil(columns / 64));
  assert.ok(roundRows(values, columns, bits, { codes, steps, feedback }));
  return { codes, steps };
}

/** The same, a row, a column and a value at a time. */
function plainly(values: Float32Array, columns: number, bits: Bits, feedback?: Feedback): { codes: Uint8Array; steps: Uint8Array } {
  const rows = values.length / columns;
  const [rowBytes, runs] = [Math.ceil((columns * bits) / 8), Math.ceil(columns / 64)];
  const [codes, steps] = [new Uint8Array(rows * rowBytes), new Uint8Array(rows * runs)];
  const factorOf = (later: number, column: number) => {
    const factor = feedback?.factors[Math.floor(column / feedbackColumns)];
    if (factor === undefined) return later === column ? 1 : 0;
    const size = Math.min(feedbackColumns, columns - (column - (column % feedbackColumns)));
    return factor[(later % feedbackColumns) * (factor.length / size) + (column % feedbackColumns)]!;
  };
  const whole = (value: number, inverse: number) =>
    Math.min(2 ** (bits - 1) - 1, Math.max(-(2 ** (bits - 1)), Math.floor(value * inverse)));
  for (let row = 0; row < rows; row++) {
    const line = Float64Array.from(values.subarray(row * columns, (row + 1) * columns));
    for (let first = 0; first < columns; first += 64) {
      const last = Math.min(columns, first + 64);
      let squares = 0;
      for (let at = first; at < last; at++) squares += line[at]! * line[at]!;
      const centre = Math.max(1, (toHalf(Math.sqrt(squares / (last - first)) * usualStep[bits]) + 64) >> 7);
      let [chosen, least] = [0, Number.POSITIVE_INFINITY];
      for (let byte = Math.max(1, centre - 6); squares > 0 && byte <= Math.min(0xf7, centre + 6); byte++) {
        const step = fromHalf(byte << 7);
        let error = 0;
        for (let at = first; at < last; at++) {
          const own = factorOf(at, at);
          const scaled = line[at]! * (0.5 / step);
          const rest = scaled - whole(line[at]!, 0.5 / step) - 0.5;
          error += (1 / (own * own)) * (rest * rest);
        }
        error = error * step * step;
        if (error < least) [chosen, least] = [byte, error];
      }
      steps[row * runs + first / 64] = chosen;
      const step = fromHalf(chosen << 7);
      for (let at = first; at < last; at++) {
        const code = whole(line[at]!, chosen === 0 ? 0 : 0.5 / step);
        const place = at * bits;
        const shifted = (code + 2 ** (bits - 1)) << (place & 7);
        codes[row * rowBytes + (place >> 3)]! |= shifted;
        if (shifted > 0xff) codes[row * rowBytes + (place >> 3) + 1]! |= shifted >> 8;
        if (feedback === undefined) continue;
        const lost = (line[at]! - (2 * code + 1) * step) / factorOf(at, at);
        const end = Math.min(columns, at - (at % feedbackColumns) + feedbackColumns);
        for (let later = at + 1; later < end; later++) line[later]! -= lost * factorOf(later, at);
      }
    }
  }
  return { codes, steps };
}

describe("kernels/low-bits", () => {
  for (const columns of [1, 7, 64, 70, 257]) {
    it(`rounds rows of ${columns} values as a plain loop does, to the bit`, () => {
      const feedback = feedbackOf(momentsOf(columns, 12));
      for (const bits of [2, 3, 4] as const)
        for (const rows of [1, 11]) {
          const values = someFloats(columns + rows, rows * columns);
          assert.deepEqual(codesOf(values, columns, bits, feedback), plainly(values, columns, bits, feedback));
          assert.deepEqual(codesOf(values, columns, bits), plainly(values, columns, bits));
        }
    });
  }

  it("does so with more rows than a kernel is given at once, rows of zeros, and values of all sizes", () => {
    const columns = 4100;
    const feedback = feedbackOf(momentsOf(columns, 2));
    const values = someFloats(3, 18 * columns).map((value, at) => value * 2 ** ((Math.floor(at / columns) % 5) * 8 - 16));
    values.fill(0, 5 * columns, 7 * columns);
    values.fill(0, 9 * columns + 64, 9 * columns + 128);
    assert.deepEqual(codesOf(values, columns, 2, feedback), plainly(values, columns, 2, feedback));
    const own = feedbackOf(momentsOf(70, 20));
    fc.assert(
      fc.property(fc.integer({ min: -140, max: 120 }), fc.nat(1000), (power, seed) => {
        const line = someFloats(seed, 3 * 70).map((value) => Math.fround(value * 2 ** power));
        assert.deepEqual(codesOf(line, 70, 3, own), plainly(line, 70, 3, own));
      }),
      { numRuns: 30 },
    );
  });

  it("gives the bytes that it always gave", () => {
    const columns = 320;
    const { codes, steps } = codesOf(someFloats(1, 16 * columns), columns, 2, feedbackOf(momentsOf(columns, 50)));
    const hash = createHash("sha256").update(codes).update(steps).digest("hex");
    assert.equal(hash, "231fe393987ea16e8952975a2cfbb8dc365152b31db7cdf9384be9efa07d11a9");
  });

  it("has a feedback that is the triangular root of the inverse of the damped moments", () => {
    for (const columns of [1, 9, 40]) {
      const moments = momentsOf(columns, 60)[0]!;
      const factor = feedbackOf([moments]).factors[0]!;
      const stride = factor.length / columns;
      const trace = Array.from({ length: columns }, (_, at) => moments[at * columns + at]!).reduce((sum, value) => sum + value);
      for (let row = 0; row < columns; row++) {
        for (let column = 0; column < columns; column++) {
          if (column > row) assert.equal(factor[row * stride + column], 0);
          let product = 0;
          for (let k = 0; k < columns; k++) {
            let inverse = 0;
            for (let m = 0; m < columns; m++) inverse += factor[row * stride + m]! * factor[k * stride + m]!;
            product += inverse * (moments[k * columns + column]! + (k === column ? (0.01 * trace) / columns : 0));
          }
          assert.ok(Math.abs(product - Number(row === column)) < 1e-9);
        }
      }
    }
  });

  it("rounds what no token reached as it is, whatever was rounded before", () => {
    const columns = 300;
    const values = someFloats(4, 9 * columns);
    const unreached = feedbackOf([new Float32Array(256 ** 2), new Float32Array(44 ** 2)]);
    const reached = feedbackOf(momentsOf(columns, 9));
    const alone = codesOf(values, columns, 3);
    assert.deepEqual(codesOf(values, columns, 3, unreached), alone);
    assert.notDeepEqual(codesOf(values, columns, 3, reached), alone);
    assert.deepEqual(codesOf(values, columns, 3, unreached), alone);
  });

  it("takes moments of fewer tokens than columns, inputs that are always zero, and what rounding made no moments", () => {
    const columns = 130;
    const values = someFloats(5, 8 * columns);
    for (const moments of [momentsOf(columns, 1), momentsOf(columns, 40, { dead: [0, 17, 63, 64, 129] })]) {
      const feedback = feedbackOf(moments);
      assert.ok(feedback.factors.every((factor) => factor.every(Number.isFinite)));
      assert.deepEqual(codesOf(values, columns, 2, feedback), plainly(values, columns, 2, feedback));
    }
    // Negative by more than the usual damping makes up for.
    const [first] = momentsOf(columns, 40);
    for (let at = 0; at < columns; at++)
      for (let other = 0; other < columns; other++) first![at * columns + other]! *= at === other ? 0.5 : 1;
    const { factors } = feedbackOf([first!]);
    assert.ok(factors[0]!.every(Number.isFinite));
    assert.deepEqual(codesOf(values, columns, 2, { columns, factors }), plainly(values, columns, 2, { columns, factors }));
  });

  it("reads every code with every step, in rows that end anywhere", () => {
    for (const bits of [2, 3, 4] as const)
      for (const columns of [5, 64, 67]) {
        const rows = 256;
        const runs = Math.ceil(columns / 64);
        const codes = Uint8Array.from({ length: rows * Math.ceil((columns * bits) / 8) }, (_, at) => (at * 89 + 7) & 255);
        const steps = Uint8Array.from({ length: rows * runs }, (_, at) => Math.floor(at / runs) ^ (at % runs));
        const values = new Float32Array(rows * columns);
        readRows({ codes, steps }, columns, bits, values);
        const rowBytes = codes.length / rows;
        const wanted = values.map((_, at) => {
          const [row, column] = [Math.floor(at / columns), at % columns];
          const place = row * rowBytes + ((column * bits) >> 3);
          const code = ((codes[place]! | ((codes[place + 1] ?? 0) << 8)) >> ((column * bits) & 7)) & (2 ** bits - 1);
          return (2 * code + 1 - 2 ** bits) * fromHalf(steps[row * runs + Math.floor(column / 64)]! << 7);
        });
        assert.deepEqual(values, wanted);
      }
    const [codes, steps] = [new Uint8Array(3), new Uint8Array(1)];
    assert.throws(() => readRows({ codes, steps }, 7, 2, new Float32Array(7)), RangeError);
  });

  it("refuses what is not finite, and lengths that do not belong together", () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const values = someFloats(6, 3 * 66);
      values[150] = bad;
      assert.equal(roundRows(values, 66, 2, { codes: new Uint8Array(51), steps: new Uint8Array(6) }), false);
      assert.throws(() => feedbackOf([Float32Array.of(1, 0, bad, 1)]), /not finite/);
    }
    assert.throws(() => roundRows(new Float32Array(7), 3, 2, { codes: new Uint8Array(2), steps: new Uint8Array(2) }), RangeError);
    assert.throws(() => roundRows(new Float32Array(6), 3, 2, { codes: new Uint8Array(3), steps: new Uint8Array(2) }), RangeError);
    const feedback = feedbackOf([new Float32Array(16)]);
    assert.throws(() => roundRows(new Float32Array(6), 3, 2, { codes: new Uint8Array(2), steps: new Uint8Array(2), feedback }), RangeError);
    assert.throws(() => feedbackOf([new Float32Array(3)]), RangeError);
    assert.throws(() => feedbackOf([new Float32Array(4), new Float32Array(4)]), RangeError);
  });
});
