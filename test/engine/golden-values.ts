/**
 * The weights and tokens of the golden files, which store neither: `scripts/goldens/generate.py` makes the same.
 *
 * `count` numbers in [-1, 1) are made from a name: x_i = hash + i * 0x9E3779B9 modulo 2^32, where the hash is FNV-1a over the name's UTF-8 bytes; x is mixed
 * by MurmurHash3's finaliser, and its upper 24 bits give x / 2^23 - 1. All of it is exact. A weight of a case is made from `SEED/NAME`: 1 + u / 4 where it is
 * a norm's, u / 2 else. The tokens are floor((u + 1) / 2 * vocabulary) of `SEED/tokens`.
 */

function hashText(text: string): number {
  let state = 2166136261;
  for (const byte of new TextEncoder().encode(text)) state = Math.imul(state ^ byte, 16777619);
  return state;
}

export function goldenValues(name: string, count: number): Float64Array {
  const start = hashText(name);
  return Float64Array.from({ length: count }, (_, index) => {
    let x = (start + Math.imul(index, 0x9e3779b9)) | 0;
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    x ^= x >>> 16;
    return (x >>> 8) / 2 ** 23 - 1;
  });
}

export function goldenWeight(seed: string, name: string, shape: readonly number[]): Float32Array {
  const isNorm = name.includes("norm") && name.endsWith(".weight");
  const values = goldenValues(
    `${seed}/${name}`,
    shape.reduce((product, length) => product * length, 1),
  );
  return Float32Array.from(values, (u) => (isNorm ? 1 + u / 4 : u / 2));
}

/** Sequences of `length` tokens. */
export function goldenTokens(seed: string, count: number, length: number, vocabulary: number): Int32Array[] {
  const values = goldenValues(`${seed}/tokens`, count * length);
  return Array.from({ length: count }, (_, sequence) =>
    Int32Array.from(values.subarray(sequence * length, (sequence + 1) * length), (u) => Math.floor(((u + 1) / 2) * vocabulary)),
  );
}

/**
 * Makes the second expert of each pair like the first, router included: `combine` gives the value of both from the two. A name says which expert's a tensor
 * is, or else its leading dimension is the experts.
 */
export function withTwins<Values extends Float32Array | Float64Array>(
  tensors: ReadonlyMap<string, Values>,
  twins: readonly (readonly [number, number])[],
  experts: number,
  combine: (first: number, second: number) => number,
): void {
  const join = (a: Values, b: Values) => {
    for (const index of a.keys()) a[index] = b[index] = combine(a[index] as number, b[index] as number);
  };
  const perExpert = /\.experts\.\D|\.(gate|router)\.(weight|bias|e_score_correction_bias)$/;
  for (const [first, second] of twins) {
    for (const [name, values] of tensors) {
      if (name.includes(`.experts.${first}.`))
        join(values, tensors.get(name.replace(`.experts.${first}.`, `.experts.${second}.`)) as Values);
      if (!perExpert.test(name)) continue;
      const length = values.length / experts;
      const part = (expert: number) => values.subarray(expert * length, (expert + 1) * length) as Values;
      join(part(first), part(second));
    }
  }
}
