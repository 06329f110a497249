import assert from "node:assert/strict";
import fc from "fast-check";
import { largestWeight, weightsOf } from "../../src/protocol/weights.ts";
import { hotkey } from "./support.ts";

const names = Array.from({ length: 8 }, (_, index) => hotkey(index));
const uids = new Map(names.map((name, index) => [name, index * 3]));
const scores = fc.array(fc.option(fc.nat(5_000_000), { nil: undefined }), { minLength: 8, maxLength: 8 });
const histories = fc.array(scores, { minLength: 1, maxLength: 6 });

function historyOf(rows: readonly (readonly (number | undefined)[])[]) {
  return rows.map((row, cycle) => ({
    cycle,
    scores: new Map(row.flatMap((score, index) => (score === undefined ? [] : [[names[index] as string, score] as const]))),
  }));
}

describe("weights", () => {
  it("are the means over the window, the largest at 65535, rounded down", () => {
    fc.assert(
      fc.property(histories, fc.integer({ min: 1, max: 8 }), (rows, window) => {
        const cycle = rows.length - 1;
        const result = weightsOf(historyOf(rows), window, cycle, uids);
        const recent = rows.slice(Math.max(0, rows.length - window));
        const means = names.map((_, miner) => recent.reduce((sum, row) => sum + (row[miner] ?? 0), 0) / window);
        const largest = Math.max(...means);
        const expected = means.map((mean, miner) => ({ uid: miner * 3, share: largest > 0 ? (mean / largest) * largestWeight : 0 }));
        for (const { uid, share } of expected) {
          const weight = result.find((entry) => entry.uid === uid)?.weight ?? 0;
          assert.ok(weight <= share + 1e-6 && weight > share - 1 - 1e-6, `${uid}: ${weight} for ${share}`);
        }
        assert.equal(Math.max(0, ...result.map(({ weight }) => weight)), largest > 0 ? largestWeight : 0);
        assert.ok(result.every(({ weight }) => Number.isInteger(weight) && weight > 0));
        assert.deepEqual(
          result,
          [...result].sort((a, b) => a.uid - b.uid),
        );
        assert.ok(result.reduce((sum, { weight }) => sum + weight, 0) <= largestWeight * result.length);
      }),
    );
  });

  it("do not change when every score is as many times larger", () => {
    fc.assert(
      fc.property(histories, fc.integer({ min: 2, max: 9 }), (rows, factor) => {
        const larger = rows.map((row) => row.map((score) => (score === undefined ? undefined : score * factor)));
        assert.deepEqual(weightsOf(historyOf(larger), 4, 5, uids), weightsOf(historyOf(rows), 4, 5, uids));
      }),
    );
  });

  it("forget what is older than the window and ignore what is yet to come", () => {
    const [a, b] = names as [string, string];
    const history = [
      { cycle: 1, scores: new Map([[a, 900]]) },
      { cycle: 2, scores: new Map([[b, 10]]) },
      { cycle: 9, scores: new Map([[a, 900]]) },
    ];
    assert.deepEqual(weightsOf(history, 2, 3, uids), [{ uid: 3, weight: 65_535 }]);
    assert.deepEqual(weightsOf(history, 3, 3, uids), [
      { uid: 0, weight: 65_535 },
      { uid: 3, weight: 728 },
    ]);
    assert.deepEqual(weightsOf(history, 1, 5, uids), []);
  });

  it("leave out hotkeys without a uid before they scale", () => {
    const [a, b] = names as [string, string];
    const history = [
      {
        cycle: 0,
        scores: new Map([
          [a, 1],
          [b, 1_000_000],
          [hotkey("gone"), 9_000_000],
        ]),
      },
    ];
    assert.deepEqual(weightsOf(history, 1, 0, uids), [{ uid: 3, weight: 65_535 }]);
  });

  it("refuse scores that are not whole micro-nats, and a cycle given twice", () => {
    const a = names[0] as string;
    for (const score of [-1, 0.5, Number.NaN]) {
      assert.throws(() => weightsOf([{ cycle: 0, scores: new Map([[a, score]]) }], 1, 0, uids), { code: "score-invalid" });
    }
    const twice = { cycle: 0, scores: new Map([[a, 1]]) };
    assert.throws(() => weightsOf([twice, twice], 1, 0, uids), /twice/);
  });
});
