import assert from "node:assert/strict";
import fc from "fast-check";
import { artifactRoot, chunkBytes, createArtifactHasher } from "../../src/protocol/artifact.ts";
import { secondArtifactRoot } from "./vectors/second.ts";

/** Bytes that differ from place to place, without drawing megabytes at random. */
function content(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 2654435761) >>> 24);
}

describe("artifact root", () => {
  it("does not depend on the sizes in which the bytes come", () => {
    const bytes = content(2 * chunkBytes + 12_345);
    const whole = artifactRoot(bytes);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: chunkBytes + 100_000 }), { minLength: 1, maxLength: 12 }), (sizes) => {
        const hasher = createArtifactHasher();
        let offset = 0;
        for (let turn = 0; offset < bytes.length; turn++) {
          const end = offset + (sizes[turn % sizes.length] as number);
          hasher.update(bytes.subarray(offset, end));
          offset = end;
        }
        assert.deepEqual(hasher.digest(), { root: whole, bytes: bytes.length });
      }),
      { numRuns: 15 },
    );
  });

  it("equals a second implementation around the chunk's size", () => {
    for (const length of [0, 1, chunkBytes - 1, chunkBytes, chunkBytes + 1, 3 * chunkBytes]) {
      assert.equal(artifactRoot(content(length)), secondArtifactRoot(content(length)), String(length));
    }
  });

  it("binds the length", () => {
    assert.notEqual(artifactRoot(new Uint8Array(5)), artifactRoot(new Uint8Array(6)));
  });
});
