import assert from "node:assert/strict";
import fc from "fast-check";
import { createWalk } from "../../src/data/walk.ts";

/** Data whose shards all have `each` sequences, but for a last one with `rest`. */
const data = (shards: number, each: number, rest: number) => {
  const sizes = Array.from({ length: shards }, (_, shard) => ({ sequences: shard === shards - 1 ? rest : each }));
  return { sequences: sizes.reduce((sum, { sequences }) => sum + sequences, 0), shards: sizes };
};
const shape = fc
  .tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 9 }))
  .chain(([shards, each]) => fc.integer({ min: 1, max: each }).map((rest) => data(shards, each, rest)));
const seed = (text: string) => text.repeat(32);

describe("data/walk", () => {
  it("comes to every sequence of a domain once in an epoch, shard by shard, in another order each time", () => {
    fc.assert(
      fc.property(shape, fc.integer({ min: 0, max: 2 }), (domain, epoch) => {
        const walk = createWalk([domain], seed("a7"));
        const places = Array.from({ length: domain.sequences }, (_, turn) => walk.at(epoch * domain.sequences + turn));
        assert.deepEqual(
          places.map(({ index }) => index).sort((a, b) => a - b),
          Array.from({ length: domain.sequences }, (_, index) => index),
        );
        const each = domain.shards[0]?.sequences ?? 0;
        assert.ok(places.every(({ index, shard }) => Math.floor(index / each) === shard));
        const changes = places.filter(({ shard }, turn) => shard !== places[turn - 1]?.shard).length;
        assert.equal(changes, domain.shards.length);
      }),
    );
    const walk = createWalk([data(1, 100, 100)], seed("01"));
    const order = (epoch: number) => Array.from({ length: 100 }, (_, turn) => walk.at(100 * epoch + turn).index);
    assert.notDeepEqual(order(0), order(1));
  });

  it("is the same wherever it is entered, and for the same seed only", () => {
    const domains = [data(5, 7, 3), data(1, 4, 4)];
    const way = (from: string) => {
      const walk = createWalk(domains, seed(from));
      return Array.from({ length: 200 }, (_, place) => walk.at(place));
    };
    const whole = way("ab");
    for (const place of [199, 0, 77, 76, 150]) assert.deepEqual(createWalk(domains, seed("ab")).at(place), whole[place]);
    assert.notDeepEqual(way("cd"), whole);
  });

  it("lets domains take turns, whatever their sizes", () => {
    const walk = createWalk([data(9, 9, 9), data(1, 1, 1), data(2, 3, 1)], seed("ef"));
    for (let place = 0; place < 300; place++) assert.equal(walk.at(place).domain, place % 3);
  });

  it("says which shard comes next, over the end of an epoch too", () => {
    fc.assert(
      fc.property(shape, (domain) => {
        const walk = createWalk([domain], seed("5c"));
        for (let place = 0; place < 2 * domain.sequences; place++) {
          const { shard } = walk.at(place);
          let later = place;
          while (walk.at(later).shard === shard && Math.floor(later / domain.sequences) === Math.floor(place / domain.sequences)) later++;
          assert.deepEqual(walk.shardAfter(place), { domain: 0, shard: walk.at(later).shard });
        }
      }),
    );
  });
});
