import assert from "node:assert/strict";
import { enoughOf } from "../../../src/steps/train/train-by-command.ts";

const share = Array.from({ length: 100 }, (_, shard) => ({ shard, first: 10 * shard, sequences: 10 }));
const parts = (tokens?: number) => enoughOf(share, 128, tokens).map(({ shard }) => shard);
const first = (count: number) => Array.from({ length: count }, (_, shard) => shard);

describe("steps/train/train-by-command", () => {
  it("gives the program 16 parts of a domain where nothing tells how much it needs, or all there are", () => {
    assert.deepEqual(parts(), first(16));
    assert.deepEqual(enoughOf(share.slice(0, 3), 128), share.slice(0, 3));
  });

  it("gives as many as hold the tokens that are wanted, and no more", () => {
    assert.deepEqual(parts(1), first(16));
    assert.deepEqual(parts(50 * 1280), first(50));
    assert.deepEqual(parts(50 * 1280 + 1), first(51));
    assert.deepEqual(parts(1e9), first(100));
  });
});
