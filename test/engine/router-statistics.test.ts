import assert from "node:assert/strict";
import { expertScores } from "../../src/engine/router-statistics.ts";
import { referenceLosses } from "./reference-decoder.ts";
import { inFloat64, smallModels, smallSequences, smallWeights } from "./small-models.ts";

const positions = 64;
const count = 17;

describe("engine/router-statistics", () => {
  for (const architecture of smallModels) {
    it(`counts what the routers of a ${architecture.family} choose, over whole batches and a padded one`, async () => {
      const { experts, expertsPerToken, expertLayers } = architecture;
      const sequences = smallSequences(architecture, count, positions);
      const weights = smallWeights(architecture);
      const seen: number[] = [];
      const scores = await expertScores({
        architecture,
        weights,
        sequences,
        sequenceLength: positions,
        threads: 1,
        onProgress: ({ done }) => seen.push(done),
      });
      const gate = new Map(expertLayers.map((layer) => [layer, new Array<number>(experts).fill(0)]));
      const token = new Map(expertLayers.map((layer) => [layer, new Array<number>(experts).fill(0)]));
      for (const sequence of sequences) {
        referenceLosses(architecture, inFloat64(weights), sequence, (layer, chosen, gates) => {
          for (const [choice, expert] of chosen.entries()) {
            gate.get(layer)![expert]! += gates[choice]! / (count * positions);
            token.get(layer)![expert]! += 1 / (count * positions * expertsPerToken);
          }
        });
      }
      assert.equal(scores.format, "connito/expert-scores/1");
      assert.equal(scores.tokens, count * positions);
      assert.deepEqual(seen, [16, 17]);
      assert.deepEqual(
        scores.layers.map(({ layer }) => layer),
        expertLayers,
      );
      for (const { layer, ...own } of scores.layers) {
        // A tie that rounding decides may move one token.
        for (const [index, value] of own.gate.entries()) assert.ok(Math.abs(value - gate.get(layer)![index]!) < 1e-3);
        for (const [index, value] of own.token.entries()) assert.ok(Math.abs(value - token.get(layer)![index]!) < 1e-3);
        assert.ok(Math.abs(own.token.reduce((sum, value) => sum + value, 0) - 1) < 1e-9);
      }
    });
  }

  it("has no tokens where there are no sequences", async () => {
    const architecture = smallModels[0]!;
    const scores = await expertScores({ architecture, weights: smallWeights(architecture), sequences: [], sequenceLength: 8 });
    assert.equal(scores.tokens, 0);
    assert.ok(scores.layers.every(({ gate, token }) => [...gate, ...token].every((value) => value === 0)));
  });
});
