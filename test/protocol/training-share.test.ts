import assert from "node:assert/strict";
import fc from "fast-check";
import { trainingShare, wholeShare } from "../../src/protocol/training-share.ts";

const place = { taskHash: "5a".repeat(32), cycle: 3, group: 1, domain: 0 };
const data = (sizes: readonly number[]) => ({
  sequences: sizes.reduce((sum, size) => sum + size, 0),
  shards: sizes.map((sequences) => ({ hash: "00".repeat(32), sequences })),
});
const shape = fc
  .tuple(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 9 }))
  .chain(([shards, each]) => fc.integer({ min: 1, max: each }).map((rest) => data([...Array(shards - 1).fill(each), rest])));
const numbers = (share: ReturnType<typeof wholeShare>) =>
  share.flatMap(({ first, sequences }) => Array.from({ length: sequences }, (_, at) => first + at));

describe("protocol/training-share", () => {
  it("gives every sequence to one miner, and all miners as many, but for one", () => {
    fc.assert(
      fc.property(shape, fc.integer({ min: 1, max: 12 }), (given, miners) => {
        fc.pre(given.sequences >= miners);
        const shares = Array.from({ length: miners }, (_, miner) => numbers(trainingShare(given, { ...place, miner, miners })));
        assert.deepEqual(
          shares.flat().sort((a, b) => a - b),
          numbers(wholeShare(given)),
        );
        const sizes = shares.map(({ length }) => length);
        assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1);
      }),
    );
  });

  it("gives each miner a sequence where there are fewer than miners", () => {
    fc.assert(
      fc.property(shape, fc.integer({ min: 1, max: 200 }), (given, miners) => {
        for (let miner = 0; miner < miners; miner++)
          assert.ok(numbers(trainingShare(given, { ...place, miner, miners })).every((index) => index < given.sequences));
        const shares = Array.from({ length: miners }, (_, miner) => trainingShare(given, { ...place, miner, miners }));
        assert.ok(shares.every((share) => share.length > 0));
      }),
    );
  });

  it("names each run's shard, of which it holds a part", () => {
    fc.assert(
      fc.property(shape, fc.integer({ min: 1, max: 5 }), (given, miners) => {
        const each = given.shards[0]?.sequences as number;
        for (const { shard, first, sequences } of trainingShare(given, { ...place, miner: 0, miners })) {
          assert.equal(Math.floor(first / each), shard);
          assert.equal(Math.floor((first + sequences - 1) / each), shard);
        }
      }),
    );
  });

  it("asks for few shards, and for others in another cycle, group, domain or task", () => {
    const many = data(Array(64).fill(10));
    const share = (change: object) => trainingShare(many, { ...place, miner: 2, miners: 8, ...change });
    const shards = (change: object) => share(change).map(({ shard }) => shard);
    assert.equal(shards({}).length, 8);
    assert.deepEqual(share({}), share({}));
    for (const change of [{ cycle: 4 }, { group: 2 }, { domain: 1 }, { taskHash: "5b".repeat(32) }])
      assert.notDeepEqual(shards(change), shards({}));
  });
});
