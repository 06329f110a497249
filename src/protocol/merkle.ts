/**
 * The Merkle tree of RFC 6962, section 2.1, over SHA-256. It is built in one pass with one hash a level in memory: whenever two
 * neighbouring subtrees of the same size are complete they are joined, and what is left over at the end is joined from the right,
 * which is the RFC's split at the largest power of two smaller than the count.
 */
import { type Hash, sha256, toHex } from "./hash.ts";

/** Hashed before a leaf's data. */
export const leafPrefix = Uint8Array.of(0);
const nodePrefix = Uint8Array.of(1);

export interface MerkleBuilder {
  /** Adds the next leaf by its leaf hash, `SHA-256(0x00 || data)`. */
  addHash(leafHash: Uint8Array): void;
  /** The root of the leaves so far; more may be added afterwards. */
  root(): Hash;
}

export function leafHash(data: Uint8Array): Uint8Array {
  return sha256(leafPrefix, data);
}

function join(left: Uint8Array, right: Uint8Array): Uint8Array {
  return sha256(nodePrefix, left, right);
}

export function createMerkleBuilder(): MerkleBuilder {
  /** Complete subtrees from left to right, each at least twice as large as the next. */
  const subtrees: { leaves: number; hash: Uint8Array }[] = [];
  return {
    addHash(hash) {
      let subtree = { leaves: 1, hash };
      for (let last = subtrees.at(-1); last !== undefined && last.leaves === subtree.leaves; last = subtrees.at(-1)) {
        subtrees.pop();
        subtree = { leaves: 2 * subtree.leaves, hash: join(last.hash, subtree.hash) };
      }
      subtrees.push(subtree);
    },
    root() {
      const right = subtrees.at(-1);
      if (right === undefined) return toHex(sha256());
      return toHex(subtrees.slice(0, -1).reduceRight((hash, left) => join(left.hash, hash), right.hash));
    },
  };
}

/** Root over leaves given by their data. */
export function merkleRoot(leaves: Iterable<Uint8Array>): Hash {
  const builder = createMerkleBuilder();
  for (const leaf of leaves) builder.addHash(leafHash(leaf));
  return builder.root();
}

/** Root over leaves given by their leaf hashes. */
export function merkleRootOfHashes(leafHashes: Iterable<Uint8Array>): Hash {
  const builder = createMerkleBuilder();
  for (const hash of leafHashes) builder.addHash(hash);
  return builder.root();
}
