import assert from "node:assert/strict";
import { type CommitmentPreimage, commitmentHash } from "../../src/protocol/commitment.ts";
import { hash, hotkey } from "./support.ts";

const preimage: CommitmentPreimage = {
  netuid: 3,
  taskHash: hash("task"),
  cycle: 7,
  group: 1,
  hotkey: hotkey("miner"),
  baseRoot: hash("base"),
  artifactRoot: hash("artifact"),
  salt: hash("salt"),
};

describe("commitment", () => {
  it("binds every field of its preimage", () => {
    const others: Partial<CommitmentPreimage>[] = [
      { netuid: 4 },
      { taskHash: hash("other") },
      { cycle: 8 },
      { group: 2 },
      { hotkey: hotkey("other") },
      { baseRoot: hash("other") },
      { artifactRoot: hash("other") },
      { salt: hash("other") },
    ];
    assert.equal(others.length, Object.keys(preimage).length);
    const all = [preimage, ...others.map((other) => ({ ...preimage, ...other }))].map(commitmentHash);
    assert.equal(new Set(all).size, all.length);
  });

  it("tells fields apart that hold the same bytes", () => {
    const swapped = { ...preimage, baseRoot: preimage.artifactRoot, artifactRoot: preimage.baseRoot };
    assert.notEqual(commitmentHash(swapped), commitmentHash(preimage));
  });
});
