/**
 * Randomness that everybody can recompute (docs/protocol.md, section 1): a seed is bound to its purpose, the task, the cycle and the
 * hash of a block that nobody knew when they made the choice it affects; a stream turns the seed into integers without bias.
 */
import { ConnitoError } from "../errors.ts";
import { blockHashOf, type Hash, hashFields, hashToBytes, sha256, u32, utf8 } from "./hash.ts";

export type SeedPurpose = "assignment" | "evaluation";

/** `blockHash` may be written as the chain's clients print it, with 0x. */
export function seed(purpose: SeedPurpose, taskHash: Hash, cycle: number, blockHash: string): Hash {
  return hashFields("connito/seed/1", utf8(purpose), hashToBytes(taskHash), u32(cycle), hashToBytes(blockHashOf(blockHash)));
}

export interface Stream {
  /** The next integer from 0 up to and without `n`, all equally likely; 1 <= n <= 2^32. */
  uniform(n: number): number;
  /** The indices 0 .. n - 1 in random order. */
  shuffle(n: number): number[];
  /** `k` different indices below `n`, in random order. */
  draw(k: number, n: number): number[];
}

const range = 2 ** 32;
const wordsPerBlock = 8;

/** The stream of a seed. Two streams of one seed give the same integers; a stream is not shared between uses. */
export function stream(from: Hash): Stream {
  const key = hashToBytes(from);
  let counter = 0;
  let word = wordsPerBlock;
  let block: DataView = new DataView(new ArrayBuffer(0));

  function next(): number {
    if (word === wordsPerBlock) {
      const bytes = sha256(key, u32(counter));
      block = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      counter += 1;
      word = 0;
    }
    const value = block.getUint32(4 * word, true);
    word += 1;
    return value;
  }

  function uniform(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > range) throw outOfRange(`uniform(${n})`, `from 1 to ${range}`);
    const limit = Math.floor(range / n) * n;
    let value = next();
    while (value >= limit) value = next();
    return value % n;
  }

  function shuffle(n: number): number[] {
    if (!Number.isInteger(n) || n < 0 || n > range) throw outOfRange(`shuffle(${n})`, `from 0 to ${range}`);
    const indices = Array.from({ length: n }, (_, index) => index);
    for (let last = n - 1; last > 0; last--) {
      const other = uniform(last + 1);
      [indices[last], indices[other]] = [indices[other] as number, indices[last] as number];
    }
    return indices;
  }

  return {
    uniform,
    shuffle,
    draw(k, n) {
      if (!Number.isInteger(k) || k < 0 || k > n) throw outOfRange(`draw(${k}, ${n})`, `from 0 to ${n}`);
      return shuffle(n).slice(0, k);
    },
  };
}

function outOfRange(call: string, accepted: string): ConnitoError {
  return new ConnitoError(`${call} is out of range`, {
    code: "integer-out-of-range",
    exit: "invalidInput",
    hint: `Use a whole number ${accepted}.`,
  });
}
