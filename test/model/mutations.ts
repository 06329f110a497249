/** Ways to break a header, for the fuzzer (scripts/fuzz.ts) and the properties of the parser. */

export const mutationKinds = ["flip", "insert", "delete", "copy"] as const;

export interface Mutation {
  readonly kind: (typeof mutationKinds)[number];
  /** Where; beyond the end means the end. */
  readonly at: number;
  /** The byte of "flip". */
  readonly value: number;
  /** What "insert" inserts: a place in `fragments`. */
  readonly fragment: number;
  /** Bytes that "delete" takes away and "copy" repeats. */
  readonly length: number;
}

/** What JSON is made of, too much of it, and what must not be in it. */
export const fragments = [
  ...['"', "{", "}", "[", "]", ",", ":", "\\", "0", "1", "-", "-1", "e", "1e9", ".", "null", " ", "\0", "\\u0000", "\\ud800"],
  ...['"shape"', '"shape":', "9".repeat(20), "9".repeat(30), "[".repeat(500), '{"a":'.repeat(200)],
];
const encoded = fragments.map((fragment) => new TextEncoder().encode(fragment));

export function mutate(given: Uint8Array, mutations: readonly Mutation[]): Uint8Array {
  let bytes = given;
  for (const { kind, at: wanted, value, fragment, length } of mutations) {
    const at = Math.min(wanted, bytes.length);
    const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)];
    if (kind === "flip") {
      bytes = Uint8Array.from(bytes);
      if (at < bytes.length) bytes[at] = value;
    } else if (kind === "insert") bytes = Buffer.concat([head, encoded[fragment] as Uint8Array, tail]);
    else if (kind === "delete") bytes = Buffer.concat([head, tail.subarray(length)]);
    else bytes = Buffer.concat([head, bytes.subarray(Math.max(0, at - length))]);
  }
  return Uint8Array.from(bytes);
}
