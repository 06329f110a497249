import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { routerStatistics } from "../../src/engine/router-statistics.ts";
import type { Architecture } from "../../src/model/families/index.ts";
import { pairPlace, parseRouterStatistics, scoresOf } from "../../src/protocol/experts/router-statistics.ts";
import { referenceLosses } from "./reference-decoder.ts";
import { inFloat64, smallModels, smallSequences, smallWeights } from "./small-models.ts";

const positions = 64;
const count = 17;
const split = 3;

describe("engine/router-statistics", () => {
  for (const architecture of smallModels) {
    it(`counts what the routers of a ${architecture.family} choose, over whole batches and a padded one`, async () => {
      const { experts, expertsPerToken, expertLayers } = architecture;
      const sequences = smallSequences(architecture, count, positions);
      const weights = smallWeights(architecture);
      const seen: number[] = [];
      const asked: string[][] = [];
      const counted = await routerStatistics({
        architecture,
        load: async (names) => {
          asked.push([...names]);
          return weights;
        },
        domains: [
          { name: "one", sequences: sequences.slice(0, split) },
          { name: "other", sequences: sequences.slice(split) },
        ],
        sequenceLength: positions,
        threads: 1,
        scratch: { directory: tmpdir(), memoryBytes: 0 },
        onProgress: (done) => seen.push(done),
      });
      assert.deepEqual(parseRouterStatistics(JSON.parse(JSON.stringify(counted))), counted);
      assert.deepEqual(
        counted.domains.map(({ tokens }) => tokens),
        [split * positions, (count - split) * positions],
      );
      const scores = scoresOf(counted);
      const together = new Map(expertLayers.map((layer) => [layer, new Array<number>((experts * (experts - 1)) / 2).fill(0)]));
      const gate = new Map(expertLayers.map((layer) => [layer, new Array<number>(experts).fill(0)]));
      const token = new Map(expertLayers.map((layer) => [layer, new Array<number>(experts).fill(0)]));
      for (const sequence of sequences) {
        referenceLosses(architecture, inFloat64(weights), sequence, (layer, chosen, gates) => {
          for (const [choice, expert] of chosen.entries()) {
            gate.get(layer)![expert]! += gates[choice]! / (count * positions);
            token.get(layer)![expert]! += 1 / (count * positions * expertsPerToken);
            for (const other of chosen.slice(0, choice)) together.get(layer)![pairPlace(expert, other, experts)]! += 1;
          }
        });
      }
      assert.equal(scores.format, "connito/expert-scores/1");
      assert.equal(scores.tokens, count * positions);
      assert.deepEqual(
        seen,
        Array.from({ length: architecture.layers }, (_, layer) => layer + 1),
      );
      // One layer's weights at a time.
      assert.equal(asked.length, 1 + architecture.layers);
      for (const [layer, names] of asked.slice(1).entries()) assert.ok(names.every((name) => name.startsWith(`model.layers.${layer}.`)));
      for (const [place, layer] of expertLayers.entries()) {
        const pairs = counted.domains.map((domain) => domain.layers[place]!.pairs);
        for (const [index, expected] of together.get(layer)!.entries()) {
          assert.ok(Math.abs(pairs.reduce((sum, own) => sum + own[index]!, 0) - expected) <= 2 * expertsPerToken);
        }
      }
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
    const domains = [{ name: "nothing", sequences: [] }];
    const scores = scoresOf(
      await routerStatistics({ architecture, load: async () => smallWeights(architecture), domains, sequenceLength: 8 }),
    );
    assert.equal(scores.tokens, 0);
    assert.ok(scores.layers.every(({ gate, token }) => [...gate, ...token].every((value) => value === 0)));
  });

  it("says in which layer a model computes what is not finite", async () => {
    const architecture = smallModels[0] as Architecture;
    const weights = new Map(smallWeights(architecture));
    for (const [name, values] of weights)
      if (name.includes(".experts."))
        weights.set(
          name,
          values.map(() => Number.POSITIVE_INFINITY),
        );
    const domains = [{ name: "one", sequences: smallSequences(architecture, 1, positions) }];
    const counted = routerStatistics({ architecture, load: async () => weights, domains, sequenceLength: positions, threads: 1 });
    await assert.rejects(counted, { code: "statistics-non-finite", message: /layer \d+ do on one/ });
  });
});
