import assert from "node:assert/strict";
import fc from "fast-check";
import { drawSequences, judgeLosses, largestScore, scoreOf } from "../../src/protocol/evaluation.ts";
import { exampleTask, hash } from "./support.ts";

const task = exampleTask({ evaluation: { sequencesPerDomain: 5 } });
const loss = fc.double({ min: 0, max: 10, noNaN: true });
const pairs = fc.array(fc.tuple(loss, loss), { minLength: 2, maxLength: 60 });

describe("drawn sequences", () => {
  it("are as many different ones of each domain, in the task's order, as the task says", () => {
    fc.assert(
      fc.property(fc.string().map(hash), fc.integer({ min: 5, max: 90 }), fc.integer({ min: 5, max: 90 }), (seed, first, second) => {
        const drawn = drawSequences({ task, seed, available: [first, second] });
        assert.deepEqual(
          drawn.map(({ domain }) => domain),
          [0, 0, 0, 0, 0, 1, 1, 1, 1, 1],
        );
        assert.equal(new Set(drawn.map(({ domain, index }) => `${domain} ${index}`)).size, 10);
        assert.ok(drawn.every(({ domain, index }) => index >= 0 && index < (domain === 0 ? first : second)));
      }),
    );
  });

  it("go on with one stream from domain to domain", () => {
    const drawn = drawSequences({ task, seed: hash("seed"), available: [40, 40] });
    assert.notDeepEqual(
      drawn.slice(0, 5).map(({ index }) => index),
      drawn.slice(5).map(({ index }) => index),
    );
  });

  it("need enough text, and say which domain has too little", () => {
    assert.throws(() => drawSequences({ task, seed: hash("seed"), available: [5, 4] }), {
      code: "held-out-too-short",
      message: /novel has 4 sequences; the task draws 5/,
    });
  });
});

describe("score", () => {
  it("is the lower confidence bound of the paired gain", () => {
    // Gains 1, 2, 3: mean 2, sample deviation 1.
    assert.deepEqual(scoreOf([2, 4, 6], [1, 2, 3], 1), { score: Math.floor(1e6 * (2 - 1 / Math.sqrt(3))), mean: 2, deviation: 1 });
    assert.equal(scoreOf([2, 4, 6], [1, 2, 3], 0).score, 2_000_000);
    assert.equal(scoreOf([2, 4, 6], [1, 2, 3], 4).score, 0);
  });

  it("never rewards equal or worse losses, and never exceeds the mean gain", () => {
    fc.assert(
      fc.property(pairs, fc.double({ min: 0, max: 5, noNaN: true }), (rows, z) => {
        const [base, candidate] = [rows.map(([a]) => a), rows.map(([, b]) => b)];
        const { score, mean } = scoreOf(base, candidate, z);
        assert.ok(Number.isSafeInteger(score) && score >= 0 && score <= largestScore);
        assert.ok(score <= Math.max(0, 1e6 * mean));
        assert.equal(scoreOf(base, base, z).score, 0);
        if (mean <= 0) assert.equal(score, 0);
      }),
    );
  });

  it("falls as confidence rises", () => {
    fc.assert(
      fc.property(pairs, fc.double({ min: 0, max: 3, noNaN: true }), fc.double({ min: 0, max: 3, noNaN: true }), (rows, one, other) => {
        const [base, candidate] = [rows.map(([a]) => a), rows.map(([, b]) => b)];
        assert.ok(scoreOf(base, candidate, Math.max(one, other)).score <= scoreOf(base, candidate, Math.min(one, other)).score);
      }),
    );
  });

  it("earns nothing for noise: of 400 candidates without gain at most 2% pass", () => {
    // A small deterministic generator: sums of twelve uniform numbers, close to normal.
    let state = 12345;
    const uniform = () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 32;
    };
    const normal = () => Array.from({ length: 12 }, uniform).reduce((sum, x) => sum + x, -6);
    let passed = 0;
    for (let run = 0; run < 400; run++) {
      const base = Array.from({ length: 64 }, () => 3 + 0.1 * normal());
      const candidate = base.map((value) => value + 0.02 * normal());
      if (scoreOf(base, candidate, 2.33).score > 0) passed += 1;
    }
    assert.ok(passed <= 8, `${passed} passed`);
  });

  it("refuses what is not finite or not paired", () => {
    assert.throws(() => scoreOf([1, 2], [1, Number.NaN], 1), { code: "loss-not-finite" });
    assert.throws(() => scoreOf([1, Number.POSITIVE_INFINITY], [1, 2], 1), { code: "loss-not-finite" });
    assert.throws(() => scoreOf([1, 2], [1], 1));
    assert.throws(() => scoreOf([1], [1], 1));
  });
});

describe("judgement of losses", () => {
  it("gives the last three statuses, with a score only for the accepted", () => {
    const judge = (candidateLosses: number[], minimumScore = 1_000) =>
      judgeLosses({ task: exampleTask({ evaluation: { minimumScore } }), baseLosses: [3, 3, 3, 3], candidateLosses });
    assert.deepEqual(judge([2, 2, 2, 2]), { status: "accepted", score: 1_000_000, mean: 1, deviation: 0 });
    assert.equal(judge([3, 3, 3, 3]).status, "no-gain");
    assert.deepEqual(judge([2.5, 2.5, 2.5, 2.5], 500_001), { status: "no-gain", score: 0, mean: 0.5, deviation: 0 });
    assert.equal(judge([2.5, 2.5, 2.5, 2.5], 500_000).status, "accepted");
    assert.deepEqual(judge([2, 2, Number.NaN, 2]), { status: "non-finite", score: 0 });
    assert.deepEqual(judge([2, 2, Number.POSITIVE_INFINITY, 2]), { status: "non-finite", score: 0 });
  });

  it("never blames a miner for a base that is not finite", () => {
    const baseLosses = [1, Number.NaN];
    assert.throws(() => judgeLosses({ task, baseLosses, candidateLosses: [1, Number.NaN] }), { code: "loss-not-finite" });
  });
});
