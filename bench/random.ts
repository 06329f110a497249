/** Numbers that look random and are the same in each run: benchmarks want inputs of no meaning. */

/** Integers from 0 to 2^24 - 1 of a linear congruential generator (Numerical Recipes), its upper bits. */
export function createRandom(seed = 1): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 8;
  };
}

/** Sequences of `length + 1` tokens below `vocabularySize`. */
export function randomSequences(count: number, length: number, vocabularySize: number, random = createRandom()): Int32Array[] {
  return Array.from({ length: count }, () => Int32Array.from({ length: length + 1 }, () => random() % vocabularySize));
}
