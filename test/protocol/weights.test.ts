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
  it("are what was earned for each cycle since the first and half a window, the largest at 65535, rounded down", () => {
    fc.assert(
      fc.property(histories, fc.integer({ min: 1, max: 8 }), (rows, window) => {
        const cycle = rows.length - 1;
        const result = weightsOf(historyOf(rows), window, cycle, uids);
        const recent = rows.slice(Math.max(0, rows.length - window));
        const means = names.map((_, miner) => {
          const first = recent.findIndex((row) => row[miner] !== undefined);
          const sum = recent.reduce((total, row) => total + (row[miner] ?? 0), 0);
          return first < 0 ? 0 : sum / (recent.length - first + window / 2);
        });
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
    // 900 / (3 + 1.5) against 10 / (2 + 1.5).
    assert.deepEqual(weightsOf(history, 3, 3, uids), [
      { uid: 0, weight: 65_535 },
      { uid: 3, weight: 936 },
    ]);
    assert.deepEqual(weightsOf(history, 1, 5, uids), []);
  });

  it("neither starve a newcomer nor overpay a lucky one", () => {
    const [old, fresh] = names as [string, string];
    const history = (luck: number) =>
      Array.from({ length: 8 }, (_, cycle) => ({
        cycle,
        scores: new Map(cycle === 7 ? [[old, 100] as const, [fresh, luck] as const] : [[old, 100] as const]),
      }));
    const share = (luck: number) => {
      const [first, second] = weightsOf(history(luck), 8, 7, uids).map(({ weight }) => weight) as [number, number];
      return second / first;
    };
    // One cycle of five believed, where the window is 8: 1 / (1 + 4) against 8 / (8 + 4).
    assert.ok(Math.abs(share(100) - 0.3) < 1e-4, String(share(100)));
    assert.ok(share(300) < 1);
  });

  it("fall with every cycle that a miner stays away, whatever it earned before", () => {
    const [worker, gone] = names as [string, string];
    const weightAfter = (away: number) => {
      const history = Array.from({ length: away + 1 }, (_, cycle) => ({
        cycle,
        scores: new Map(cycle === 0 ? [[worker, 100] as const, [gone, 100] as const] : [[worker, 100] as const]),
      }));
      return weightsOf(history, 8, away, uids).find(({ uid }) => uid === 3)?.weight ?? 0;
    };
    const weights = [0, 1, 2, 5, 7, 8].map(weightAfter);
    assert.deepEqual(
      weights,
      [...weights].sort((a, b) => b - a),
    );
    assert.deepEqual([weights[0], weights.at(-1)], [65_535, 0]);
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
