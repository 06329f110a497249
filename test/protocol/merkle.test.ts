import assert from "node:assert/strict";
import fc from "fast-check";
import { fromHex, sha256, toHex } from "../../src/protocol/hash.ts";
import { createMerkleBuilder, leafHash, merkleRoot, merkleRootOfHashes } from "../../src/protocol/merkle.ts";
import { secondMerkleRoot } from "./vectors/second.ts";

/** The leaves and roots that Certificate Transparency's implementations test themselves with (the roots of the first 1, 2, .. leaves). */
const leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"].map(fromHex);
const published = [
  "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
  "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
  "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
  "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
  "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
  "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
  "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
  "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

describe("Merkle root", () => {
  it("equals the published roots of RFC 6962 trees", () => {
    assert.equal(merkleRoot([]), toHex(sha256()));
    for (const [index, root] of published.entries()) assert.equal(merkleRoot(leaves.slice(0, index + 1)), root);
  });

  it("equals the RFC's recursive definition", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 8 }), { maxLength: 70 }), (data) => {
        assert.equal(merkleRoot(data), secondMerkleRoot(data));
        assert.equal(merkleRootOfHashes(data.map(leafHash)), merkleRoot(data));
      }),
    );
  });

  it("can be asked for between leaves", () => {
    const builder = createMerkleBuilder();
    leaves.forEach((leaf, index) => {
      builder.addHash(leafHash(leaf));
      assert.equal(builder.root(), published[index]);
    });
  });
});
