/**
 * The root of an artifact, the file a miner submits (docs/protocol.md, section 6): a Merkle root over chunks of 1 MiB, with the total
 * length. It is computed while the bytes stream by, whatever the sizes they come in.
 */
import { createHash } from "node:crypto";
import { type Hash, hashFields, hashToBytes, u64 } from "./hash.ts";
import { createMerkleBuilder, leafPrefix } from "./merkle.ts";

export const chunkBytes = 1_048_576;

export interface ArtifactDigest {
  readonly root: Hash;
  /** Total length. */
  readonly bytes: number;
}

export interface ArtifactHasher {
  update(bytes: Uint8Array): void;
  /** Ends the artifact; afterwards the hasher is spent. */
  digest(): ArtifactDigest;
}

export function createArtifactHasher(): ArtifactHasher {
  const chunks = createMerkleBuilder();
  const startChunk = () => createHash("sha256").update(leafPrefix);
  let chunk = startChunk();
  let inChunk = 0;
  let total = 0;

  function endChunk(): void {
    chunks.addHash(new Uint8Array(chunk.digest()));
    chunk = startChunk();
    inChunk = 0;
  }

  return {
    update(bytes) {
      for (let offset = 0; offset < bytes.length; ) {
        const part = bytes.subarray(offset, offset + chunkBytes - inChunk);
        chunk.update(part);
        inChunk += part.length;
        offset += part.length;
        if (inChunk === chunkBytes) endChunk();
      }
      total += bytes.length;
    },
    digest() {
      if (inChunk > 0) endChunk();
      return { root: hashFields("connito/artifact/1", u64(total), hashToBytes(chunks.root())), bytes: total };
    },
  };
}

/** The root of an artifact that is in memory. */
export function artifactRoot(bytes: Uint8Array): Hash {
  const hasher = createArtifactHasher();
  hasher.update(bytes);
  return hasher.digest().root;
}
