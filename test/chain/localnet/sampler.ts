/** Draws that a seed decides, for tests that must fail the same way twice. */

/** mulberry32 by Tommy Ettinger, in the public domain. */
export function createSampler(seed: number): { next(): number; shuffled<T>(list: readonly T[]): T[] } {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    shuffled(list) {
      const result = [...list];
      for (let last = result.length - 1; last > 0; last--) {
        const at = Math.floor(next() * (last + 1));
        [result[last], result[at]] = [result[at] as never, result[last] as never];
      }
      return result;
    },
  };
}
