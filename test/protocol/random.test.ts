import assert from "node:assert/strict";
import fc from "fast-check";
import { seed, stream } from "../../src/protocol/random.ts";
import { hash } from "./support.ts";
import { secondStream } from "./vectors/second.ts";

const seeds = fc.string().map(hash);

describe("seed", () => {
  it("changes with every part of it", () => {
    const parts = ["assignment", hash("task"), 7, hash("block")] as const;
    const all = [
      seed(...parts),
      seed("evaluation", parts[1], parts[2], parts[3]),
      seed(parts[0], hash("other"), parts[2], parts[3]),
      seed(parts[0], parts[1], 8, parts[3]),
      seed(parts[0], parts[1], parts[2], hash("other")),
    ];
    assert.equal(new Set(all).size, all.length);
  });

  it("takes block hashes as the chain's clients print them", () => {
    const block = hash("block");
    assert.equal(seed("assignment", hash("task"), 1, `0x${block}`), seed("assignment", hash("task"), 1, block));
    assert.throws(() => seed("assignment", hash("task"), 1, "0x00"), { code: "hash-invalid" });
  });
});

describe("stream", () => {
  it("gives the integers that a second implementation gives", () => {
    const bounds = fc.array(fc.oneof(fc.integer({ min: 1, max: 300 }), fc.constantFrom(2 ** 32, 2 ** 31 + 1, 2 ** 32 - 1)), {
      maxLength: 40,
    });
    fc.assert(
      fc.property(seeds, bounds, (from, limits) => {
        const random = stream(from);
        const second = secondStream(from);
        assert.deepEqual(
          limits.map((n) => random.uniform(n)),
          limits.map((n) => second.uniform(n)),
        );
      }),
    );
  });

  it("is uniform: each of ten values within five standard deviations of its share", () => {
    const random = stream(hash("uniform"));
    const counts = new Array<number>(10).fill(0);
    const draws = 50_000;
    for (let i = 0; i < draws; i++) counts[random.uniform(10)]! += 1;
    const deviation = Math.sqrt(draws * 0.1 * 0.9);
    for (const count of counts) assert.ok(Math.abs(count - draws / 10) < 5 * deviation, String(counts));
  });

  it("rejects what would favour small values", () => {
    // Without rejection a bound of 3 * 2^30 would give values below 2^30 twice as often as the others.
    const random = stream(hash("rejection"));
    let small = 0;
    for (let i = 0; i < 6_000; i++) if (random.uniform(3 * 2 ** 30) < 2 ** 30) small += 1;
    assert.ok(small > 1_800 && small < 2_200, String(small));
  });

  it("shuffles: each of the 24 orders of four within five standard deviations of its share", () => {
    const random = stream(hash("shuffle"));
    const counts = new Map<string, number>();
    const shuffles = 12_000;
    for (let i = 0; i < shuffles; i++) {
      const order = random.shuffle(4).join("");
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    assert.equal(counts.size, 24);
    const deviation = Math.sqrt((shuffles / 24) * (23 / 24));
    for (const count of counts.values()) assert.ok(Math.abs(count - shuffles / 24) < 5 * deviation);
  });

  it("shuffles to a permutation and draws its beginning, the same every time", () => {
    fc.assert(
      fc.property(seeds, fc.nat(200), fc.nat(200), (from, a, b) => {
        const [k, n] = a < b ? [a, b] : [b, a];
        const shuffled = stream(from).shuffle(n);
        assert.deepEqual(
          [...shuffled].sort((x, y) => x - y),
          Array.from({ length: n }, (_, index) => index),
        );
        assert.deepEqual(stream(from).draw(k, n), shuffled.slice(0, k));
      }),
    );
  });

  it("goes on where it was", () => {
    const [one, two] = [stream(hash("on")), stream(hash("on"))];
    const first = one.draw(5, 20);
    assert.notDeepEqual(one.draw(5, 20), first);
    assert.deepEqual(two.draw(5, 20), first);
  });

  it("refuses bounds it cannot serve", () => {
    const random = stream(hash("bounds"));
    for (const attempt of [
      () => random.uniform(0),
      () => random.uniform(2 ** 32 + 1),
      () => random.uniform(1.5),
      () => random.draw(3, 2),
    ]) {
      assert.throws(attempt, { code: "integer-out-of-range" });
    }
  });
});
