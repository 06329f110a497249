import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { type ExpertScores, parseExpertScores, selectExperts, selectForGroup, sharesOf } from "../../../src/protocol/experts/esft.ts";
import { createExpertManager } from "../../../src/protocol/experts/expert-manager.ts";

const scoreList = fc.array(fc.oneof(fc.constant(0), fc.double({ min: 0.001, max: 1, noNaN: true })), { minLength: 1, maxLength: 64 });
const thresholds = fc.double({ min: 0.01, max: 1, noNaN: true });
const all = (scores: readonly number[]) => scores.map((_, expert) => expert);
const sum = (list: readonly number[]) => list.reduce((total, score) => total + score, 0);

describe("ESFT selection", () => {
  it("takes the fewest experts whose shares reach the threshold", () => {
    fc.assert(
      fc.property(scoreList, thresholds, (list, threshold) => {
        const scores = sharesOf(list);
        const selected = selectExperts({ scores, candidates: all(scores), threshold });
        const taken = selected.map((expert) => scores[expert] as number);
        assert.ok(selected.length >= 1);
        assert.ok(sum(taken.slice(0, -1)) < threshold, "one less would have been enough");
        const left = scores.filter((_, expert) => !selected.includes(expert));
        assert.ok(sum(taken) >= threshold - 1e-9 || left.every((score) => score === 0), "too few");
        assert.ok(Math.min(...taken) >= Math.max(0, ...left), "a better expert was left");
        assert.deepEqual(
          taken,
          [...taken].sort((x, y) => y - x),
        );
      }),
    );
  });

  it("selects no less at a higher threshold, and the same first", () => {
    fc.assert(
      fc.property(scoreList, thresholds, thresholds, (list, one, other) => {
        const scores = sharesOf(list);
        const [few, many] = [Math.min(one, other), Math.max(one, other)].map((threshold) =>
          selectExperts({ scores, candidates: all(scores), threshold }),
        ) as [number[], number[]];
        assert.deepEqual(many.slice(0, few.length), few);
      }),
    );
  });

  it("takes the lower index of equal scores, by original index", () => {
    assert.deepEqual(selectExperts({ scores: [0.25, 0.25, 0.25, 0.25], candidates: [9, 4, 7, 5], threshold: 0.5 }), [4, 5]);
  });

  it("never takes an expert without a share, and treats all alike where none has", () => {
    assert.deepEqual(selectExperts({ scores: sharesOf([0, 3, 0, 1]), candidates: [0, 1, 2, 3], threshold: 1 }), [1, 3]);
    // Ten tenths add up to a little less than one.
    const scores = sharesOf([...new Array<number>(10).fill(1), 0]);
    assert.equal(selectExperts({ scores, candidates: all(scores), threshold: 1 }).length, 10);
    assert.deepEqual(sharesOf([0, 0, 0, 0]), [0.25, 0.25, 0.25, 0.25]);
  });

  it("refuses a threshold outside (0, 1]", () => {
    for (const threshold of [0, -0.1, 1.1, Number.NaN]) {
      assert.throws(() => selectExperts({ scores: [1], candidates: [0], threshold }), { code: "threshold-out-of-range" });
    }
  });
});

const manager = createExpertManager(
  {
    layers: [
      { layer: 0, experts: 4 },
      { layer: 1, experts: 4 },
    ],
  },
  2,
);
const scores: ExpertScores = {
  format: "connito/expert-scores/1",
  tokens: 4096,
  layers: [
    { layer: 0, gate: [0.1, 0.2, 0.3, 0.4], token: [0.4, 0.1, 0.25, 0.25] },
    { layer: 1, gate: [0.7, 0.1, 0.1, 0.1], token: [0.05, 0.05, 0, 0.9] },
  ],
};

describe("selection for a group", () => {
  it("normalises within the layer and the group, and gives rising experts", () => {
    const select = (group: number, score: "token" | "gate", threshold: number) =>
      selectForGroup(scores, manager, group, { score, threshold }).map(({ experts }) => experts);
    // Of the whole layer expert 0 has 0.4; of its group it has 0.8, which alone reaches 0.7.
    assert.deepEqual(select(0, "token", 0.7), [[0], [0, 1]]);
    assert.deepEqual(select(1, "token", 0.7), [[2, 3], [3]]);
    assert.deepEqual(select(0, "gate", 0.7), [[0, 1], [0]]);
    assert.deepEqual(selectForGroup(scores, manager, 1, { score: "gate", threshold: 0.5 })[1], { layer: 1, experts: [2] });
  });

  it("refuses too few tokens, scores of another model, and what are no scores", () => {
    const rule = { score: "token", threshold: 0.2 } as const;
    const [first, second] = scores.layers as [ExpertScores["layers"][0], ExpertScores["layers"][0]];
    assert.throws(() => selectForGroup({ ...scores, tokens: 1023 }, manager, 0, rule), { code: "too-few-tokens" });
    assert.throws(() => selectForGroup(scores, manager, 0, { ...rule, threshold: 2 }), { code: "threshold-out-of-range" });
    for (const layers of [[first], [first, { ...second, layer: 2 }], [first, { ...second, gate: [1] }]]) {
      assert.throws(() => selectForGroup({ ...scores, layers }, manager, 0, rule), { code: "expert-scores-invalid" });
    }
    for (const value of [null, {}, { ...scores, more: 1 }, { ...scores, layers: [{ ...first, token: [0.4, 0.1, 0.25, Number.NaN] }] }]) {
      assert.throws(() => parseExpertScores(value), { code: "expert-scores-invalid" });
    }
    assert.deepEqual(parseExpertScores(JSON.parse(JSON.stringify(scores)), manager), scores);
  });
});

describe("published ESFT results", () => {
  const reference = process.env["CONNITO_REFERENCE"] ?? join(import.meta.dirname, "../../../../shared");
  const folder = join(reference, "data/esft");

  for (const domain of ["intent", "summary"]) {
    it(`token ratio with p = 0.2 gives the authors' experts in every layer (${domain})`, function () {
      const [scoreFile, configFile] = ["scores", "config"].map((kind) => join(folder, `${domain}.expert_${kind}.json`)) as [string, string];
      if (!existsSync(scoreFile) || !existsSync(configFile)) {
        console.log(`      skipped: ${scoreFile} is not here; set CONNITO_REFERENCE to the folder that has data/esft`);
        this.skip();
      }
      const published = JSON.parse(readFileSync(scoreFile, "utf8")) as { token_scores: Record<string, Record<string, number>> };
      const config = JSON.parse(readFileSync(configFile, "utf8")) as { experts: Record<string, number[]> };
      const layers = Object.keys(config.experts);
      assert.equal(layers.length, 26);
      for (const layer of layers) {
        const byExpert = published.token_scores[layer] ?? {};
        // They are shares already, rounded to four digits: scaling the rounded sum to one would move the threshold.
        const selected = selectExperts({ scores: Object.values(byExpert), candidates: Object.keys(byExpert).map(Number), threshold: 0.2 });
        const rising = (list: readonly number[] | undefined) => [...(list ?? [])].sort((x, y) => x - y);
        assert.deepEqual(rising(selected), rising(config.experts[layer]), `layer ${layer}`);
      }
    });
  }
});
