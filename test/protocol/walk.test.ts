import assert from "node:assert/strict";
import fc from "fast-check";
import type { Run } from "../../src/protocol/training-share.ts";
import { createWalk, walkSeed } from "../../src/protocol/walk.ts";
import { hash, hotkey } from "./support.ts";

/** Runs of so many sequences, each the last of a shard of ten. */
const runsOf = (sizes: readonly number[]): Run[] =>
  sizes.map((sequences, shard) => ({ shard, first: 10 * shard + 10 - sequences, sequences }));
const shape = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 }).map(runsOf);
const count = (runs: readonly Run[]) => runs.reduce((sum, { sequences }) => sum + sequences, 0);
const seed = (text: string) => text.repeat(32);

describe("protocol/walk", () => {
  it("comes to every sequence of a share once in an epoch, run by run, in another order each time", () => {
    fc.assert(
      fc.property(shape, fc.integer({ min: 0, max: 2 }), (runs, epoch) => {
        const walk = createWalk([runs], seed("a7"));
        const places = Array.from({ length: count(runs) }, (_, turn) => walk.at(epoch * count(runs) + turn));
        assert.deepEqual(
          places.map(({ index }) => index).sort((a, b) => a - b),
          runs.flatMap(({ first, sequences }) => Array.from({ length: sequences }, (_, at) => first + at)),
        );
        assert.ok(places.every(({ index, shard }) => Math.floor(index / 10) === shard));
        const changes = places.filter(({ shard }, turn) => shard !== places[turn - 1]?.shard).length;
        assert.equal(changes, runs.length);
      }),
    );
    const walk = createWalk([[{ shard: 0, first: 0, sequences: 100 }]], seed("01"));
    const order = (epoch: number) => Array.from({ length: 100 }, (_, turn) => walk.at(100 * epoch + turn).index);
    assert.notDeepEqual(order(0), order(1));
  });

  it("is the same wherever it is entered, and for the same seed only", () => {
    const domains = [runsOf([7, 7, 7, 7, 3]), runsOf([4])];
    const way = (from: string) => {
      const walk = createWalk(domains, seed(from));
      return Array.from({ length: 200 }, (_, place) => walk.at(place));
    };
    const whole = way("ab");
    for (const place of [199, 0, 77, 76, 150]) assert.deepEqual(createWalk(domains, seed("ab")).at(place), whole[place]);
    assert.notDeepEqual(way("cd"), whole);
  });

  it("tells the order in which its first epoch takes runs", () => {
    fc.assert(
      fc.property(fc.array(shape, { minLength: 1, maxLength: 3 }), (domains) => {
        const walk = createWalk(domains, seed("3e"));
        for (const [domain, runs] of walk.runs().entries()) {
          const shards = Array.from({ length: count(runs) }, (_, turn) => walk.at(turn * domains.length + domain).shard);
          assert.deepEqual(
            runs.flatMap(({ shard, sequences }) => Array<number>(sequences).fill(shard)),
            shards,
          );
        }
      }),
    );
  });

  it("is drawn anew for each task, cycle and hotkey", () => {
    const seeds = [
      walkSeed(hash("task"), 3, hotkey("miner")),
      walkSeed(hash("other"), 3, hotkey("miner")),
      walkSeed(hash("task"), 4, hotkey("miner")),
      walkSeed(hash("task"), 3, hotkey("other")),
    ];
    assert.equal(new Set(seeds).size, seeds.length);
  });

  it("takes runs in another order in each epoch, and in each domain", () => {
    const runs = runsOf(Array(40).fill(1));
    const walk = createWalk([runs, runs], seed("2e"));
    const shards = (domain: number, epoch: number) => runs.map((_, turn) => walk.at(2 * (40 * epoch + turn) + domain).shard);
    assert.notDeepEqual(shards(0, 1), shards(0, 0));
    assert.notDeepEqual(shards(1, 0), shards(0, 0));
  });

  it("lets domains take turns, whatever their sizes", () => {
    const walk = createWalk([runsOf([9, 9, 9]), runsOf([1]), runsOf([3, 1])], seed("ef"));
    for (let place = 0; place < 300; place++) assert.equal(walk.at(place).domain, place % 3);
  });

  it("says which shard comes next, over the end of an epoch too", () => {
    fc.assert(
      fc.property(shape, (runs) => {
        const walk = createWalk([runs], seed("5c"));
        const total = count(runs);
        for (let place = 0; place < 2 * total; place++) {
          const { shard } = walk.at(place);
          let later = place;
          while (walk.at(later).shard === shard && Math.floor(later / total) === Math.floor(place / total)) later++;
          assert.deepEqual(walk.shardAfter(place), { domain: 0, shard: walk.at(later).shard });
        }
      }),
    );
  });
});
