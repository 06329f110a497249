import assert from "node:assert/strict";
import fc from "fast-check";
import { gainOf, judge, largestScore } from "../../src/protocol/evaluation.ts";
import { normalQuantile, studentQuantile } from "../../src/protocol/quantile.ts";
import { exampleTask } from "./support.ts";

const task = exampleTask();
const loss = fc.double({ min: 0, max: 10, noNaN: true });
const pairs = fc.array(fc.tuple(loss, loss), { minLength: 2, maxLength: 60 });

describe("quantiles", () => {
  it("are those of the published tables", () => {
    // Student's t, one-sided 1% and 0.1%, and the normal distribution: any textbook.
    const table: [number, number, number][] = [
      [0.01, 5, 3.365],
      [0.01, 7, 2.998],
      [0.01, 15, 2.602],
      [0.01, 30, 2.457],
      [0.01, 120, 2.358],
      [0.001, 15, 3.733],
      [0.001, 30, 3.385],
      [0.001, 120, 3.16],
    ];
    for (const [p, freedom, expected] of table) assert.ok(Math.abs(studentQuantile(p, freedom) - expected) < 0.004, `${p} ${freedom}`);
    assert.ok(Math.abs(normalQuantile(0.01) - 2.32635) < 4.5e-4);
    assert.ok(Math.abs(normalQuantile(0.5)) < 4.5e-4);
  });
});

describe("bound of the gain", () => {
  it("lies as far from the mean as Student's t says", () => {
    // Gains 1, 2, 3: mean 2, sample deviation 1.
    const { mean, deviation, lower } = gainOf([2, 4, 6], [1, 2, 3], 0.05);
    assert.deepEqual([mean, deviation], [2, 1]);
    assert.ok(Math.abs(2 - lower - 2.92 / Math.sqrt(3)) < 0.02, String(lower));
  });

  it("falls as the allowed error shrinks", () => {
    const error = fc.double({ min: 1e-6, max: 0.5, noNaN: true });
    fc.assert(
      fc.property(pairs, error, error, (rows, one, other) => {
        const [base, candidate] = [rows.map(([a]) => a), rows.map(([, b]) => b)];
        const strict = gainOf(base, candidate, Math.min(one, other));
        const loose = gainOf(base, candidate, Math.max(one, other));
        assert.ok(strict.lower <= loose.lower);
      }),
    );
  });

  it("refuses what is not finite or not paired", () => {
    assert.throws(() => gainOf([1, 2], [1, Number.NaN], 0.01), { code: "loss-not-finite" });
    assert.throws(() => gainOf([1, Number.POSITIVE_INFINITY], [1, 2], 0.01), { code: "loss-not-finite" });
    assert.throws(() => gainOf([1, 2], [1], 0.01));
    assert.throws(() => gainOf([1], [1], 0.01));
  });
});

/** A small deterministic generator: sums of twelve uniform numbers, close to normal. */
function normals(): () => number {
  let state = 12345;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return () => Array.from({ length: 12 }, uniform).reduce((sum, x) => sum + x, -6);
}

describe("judgement of losses", () => {
  const stagesOf = (first: number) => [first, first, 2 * first];
  const afterStage = (stage: number, candidateLosses: number[], minimumScore = 1_000) =>
    judge({
      task: exampleTask({ evaluation: { minimumScore } }),
      baseLosses: candidateLosses.map(() => 3),
      candidateLosses,
      stage,
      stages: stagesOf(candidateLosses.length / 2 ** (stage - 1)),
    });

  it("accepts at once what clearly gains, with its lower bound as the score", () => {
    assert.deepEqual(afterStage(1, [2, 2, 2, 2]), { status: "accepted", score: 1_000_000, sequences: 4 });
    assert.deepEqual(afterStage(1, [2.5, 2.5], 500_000), { status: "accepted", score: 500_000, sequences: 2 });
  });

  it("gives up at once what the last stage would not pay, were it the most that it may be", () => {
    assert.equal(afterStage(1, [3.1, 3.2, 3.05, 3.15])?.status, "no-gain");
    assert.deepEqual(afterStage(1, [3, 3, 3, 3]), { status: "no-gain", score: 0, sequences: 4 });
    assert.equal(afterStage(1, [2.5, 2.5], 500_001)?.status, "no-gain");
    // Gains of a few hundredths above or below nothing, by noise of tenths.
    const around = (mean: number) => [0.2, -0.1, 0.1, -0.2, 0.15, -0.15, 0.05, -0.05].map((noise) => 3 - mean + noise);
    assert.equal(afterStage(1, around(-0.01)), undefined);
    assert.equal(afterStage(1, around(-0.06))?.status, "no-gain");
    assert.equal(afterStage(2, around(0.01))?.status, "no-gain");
    assert.equal(afterStage(2, around(0.06)), undefined);
  });

  it("gives up at a look no more than one in twenty of what the last stage would just pay", () => {
    const normal = normals();
    const [runs, stages, deviation] = [2_000, stagesOf(16), 0.02];
    const just = (studentQuantile(task.evaluation.errorRate / 3, 63) * deviation) / 8;
    const gaveUp = [0, 0];
    for (let run = 0; run < runs; run++) {
      const losses = Array.from({ length: 32 }, () => 3 - just - deviation * normal());
      for (const [index, count] of [16, 32].entries()) {
        const taken = losses.slice(0, count);
        const judged = judge({ task, baseLosses: taken.map(() => 3), candidateLosses: taken, stage: index + 1, stages });
        if (judged?.status === "no-gain") gaveUp[index] = (gaveUp[index] as number) + 1;
      }
    }
    for (const count of gaveUp) assert.ok(count > 0.02 * runs && count < 0.07 * runs, `${gaveUp} of ${runs}`);
  });

  it("asks for another stage while it is not clear, and decides after the last", () => {
    const unclear = [2.9, 3.1, 2.8, 3, 2.95, 3.02];
    assert.equal(afterStage(1, unclear), undefined);
    assert.equal(afterStage(2, unclear), undefined);
    assert.equal(afterStage(3, unclear)?.status, "no-gain");
    // A gain that is sure, but not yet how large: more than half of the mean is in doubt.
    const rough = [2.6, 2.1, 2.8, 2.4, 2.95, 2.3, 2.9, 2.2];
    assert.equal(afterStage(1, rough), undefined);
    const { lower, mean } = gainOf(
      rough.map(() => 3),
      rough,
      task.evaluation.errorRate / 3,
    );
    assert.ok(lower > 0 && lower < mean / 2);
    assert.equal(afterStage(3, rough)?.score, Math.floor(1e6 * lower));
  });

  it("never rewards equal or worse losses, and never exceeds the mean gain", () => {
    fc.assert(
      fc.property(pairs, (rows) => {
        const [baseLosses, candidateLosses] = [rows.map(([a]) => a), rows.map(([, b]) => b)];
        const stages = [0, 0, rows.length];
        const judged = judge({ task, baseLosses, candidateLosses, stage: 3, stages });
        const { mean } = gainOf(baseLosses, candidateLosses, 0.01);
        const score = judged?.score ?? -1;
        assert.ok(Number.isSafeInteger(score) && score >= 0 && score <= largestScore && score <= Math.max(0, 1e6 * mean));
        assert.equal(judged?.status === "accepted", score > 0);
        assert.equal(judge({ task, baseLosses, candidateLosses: baseLosses, stage: 3, stages })?.score, 0);
      }),
    );
  });

  it("calls a loss that is not finite the miner's, unless it is the base's", () => {
    assert.deepEqual(afterStage(1, [2, 2, Number.NaN, 2]), { status: "non-finite", score: 0, sequences: 4 });
    assert.deepEqual(afterStage(1, [2, 2, Number.POSITIVE_INFINITY, 2]), { status: "non-finite", score: 0, sequences: 4 });
    const blame = { task, baseLosses: [1, Number.NaN], candidateLosses: [1, Number.NaN], stage: 1, stages: stagesOf(2) };
    assert.throws(() => judge(blame), { code: "loss-not-finite" });
  });

  it("pays for noise at most once in a hundred, however often it looks", () => {
    const normal = normals();
    let paid = 0;
    const runs = 2_000;
    for (let run = 0; run < runs; run++) {
      const baseLosses = Array.from({ length: 64 }, () => 3 + 0.1 * normal());
      const candidateLosses = baseLosses.map((value) => value + 0.02 * normal());
      for (const [stage, count] of [16, 32, 64].entries()) {
        const taken = { baseLosses: baseLosses.slice(0, count), candidateLosses: candidateLosses.slice(0, count) };
        const judged = judge({ task, ...taken, stage: stage + 1, stages: [16, 16, 32] });
        if (judged === undefined) continue;
        if (judged.status === "accepted") paid++;
        break;
      }
    }
    assert.ok(paid <= 0.01 * runs, `${paid} of ${runs} were paid`);
  });
});
