import assert from "node:assert/strict";
import { expertMoments } from "../../src/engine/expert-moments.ts";
import { routerStatistics } from "../../src/engine/router-statistics.ts";
import { energyUnit } from "../../src/protocol/experts/router-statistics.ts";
import { smallModels, smallSequences, smallWeights } from "./small-models.ts";

describe("engine/expert-moments", () => {
  for (const architecture of smallModels) {
    it(`has the squares along its diagonal that the statistics of a ${architecture.family} count`, async () => {
      const sequenceLength = 64;
      const weights = smallWeights(architecture);
      // Whole batches, so that nothing fills up.
      const domains = [{ name: "text", sequences: smallSequences(architecture, 32, sequenceLength) }];
      const sample = { architecture, load: async () => weights, domains, sequenceLength, threads: 1 };
      const statistics = await routerStatistics(sample);
      let place = 0;
      for await (const { layer, experts } of expertMoments(sample)) {
        const counted = statistics.domains[0]?.layers[place++];
        assert.equal(counted?.layer, layer);
        assert.equal(experts.length, architecture.experts);
        for (const [expert, { input, inner }] of experts.entries()) {
          const meanOf = (blocks: readonly Float32Array[]) => {
            const diagonal = blocks.flatMap((block) => {
              const size = Math.sqrt(block.length);
              for (let row = 0; row < size; row++)
                for (let column = 0; column < row; column++)
                  assert.ok(Math.abs((block[row * size + column] as number) - (block[column * size + row] as number)) < 1e-3);
              return Array.from({ length: size }, (_, at) => block[at * size + at] as number);
            });
            return diagonal.reduce((sum, value) => sum + value, 0) / diagonal.length;
          };
          const energy = (counted?.energy[expert] as number) / energyUnit;
          const found = 2 * meanOf(input) + meanOf(inner);
          assert.ok(Math.abs(found - energy) <= 1e-3 * energy + 1 / energyUnit, `${found} instead of ${energy}`);
        }
      }
      assert.equal(place, architecture.expertLayers.length);
    });
  }
});
