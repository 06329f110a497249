/**
 * The work of one cycle on a small model of every family that the engine computes, without a chain: a checkpoint is made and indexed, a group's slice is loaded
 * with stand-ins, experts are selected by what the routers do, trained and merged into a new version, and the streaming evaluator, as validators have it,
 * measures both versions.
 */
import assert from "node:assert/strict";
import { createStreamEvaluator } from "../../src/engine/layers/stream-evaluator.ts";
import { routerStatistics } from "../../src/engine/router-statistics.ts";
import { openTrainer } from "../../src/engine/trainer.ts";
import { creatableFamilies } from "../../src/model/families/index.ts";
import { pieceName } from "../../src/model/pieces.ts";
import { planSlice } from "../../src/model/slice.ts";
import { loadWeights, piecesOf } from "../../src/model/weights.ts";
import { minimumScoreTokens, selectForGroup } from "../../src/protocol/experts/esft.ts";
import { scoresOf } from "../../src/protocol/experts/router-statistics.ts";
import { makeExample } from "../model/example.ts";
import { inDirectory, newConfig, versionWith } from "../model/support.ts";
import { smallSequences } from "./small-models.ts";

const sequenceLength = 16;
const optimizer = { learningRate: 3e-2, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0, clipNorm: 1 };

describe("a cycle's work on every family", () => {
  for (const modelType of creatableFamilies) {
    it(modelType, () =>
      inDirectory(async (directory) => {
        const config = newConfig(modelType, {
          hiddenSize: 16,
          heads: 2,
          keyValueHeads: 1,
          ...(modelType === "llama4" && { expertsPerToken: 1 }),
        });
        const { checkpoint, manifest, standIns, manager, readPiece } = await makeExample(directory, config);
        const { architecture } = checkpoint;
        const sequences = smallSequences(architecture, Math.ceil(minimumScoreTokens / sequenceLength), sequenceLength);
        const whole = await loadWeights({ pieces: manifest.pieces, readPiece, architecture });
        const domains = [{ name: "text", sequences }];
        const scores = scoresOf(await routerStatistics({ architecture, weights: whole, domains, sequenceLength, threads: 1 }));
        const selection = selectForGroup(scores, manager, 1, { score: "token", threshold: 0.9 });
        const selected = piecesOf(manifest, "expert", selection);
        assert.ok(selected.length > 0 && selected.length < manifest.pieces.length);

        const { pieces } = planSlice({ manifest, standIns, manager, group: 1 });
        const weights = await loadWeights({ pieces, readPiece, architecture });
        const batch = sequences.slice(0, 4);
        const trainable = selected.map(pieceName);
        const trainer = await openTrainer({ architecture, weights, trainable, optimizer, sequenceLength, batchSequences: 4, threads: 1 });
        for (let step = 0; step < 8; step++) await trainer.step([batch]);
        const trained = await trainer.weights();
        trainer.dispose();

        const updates = new Map(
          [...trained].map(([name, values]) => [name, { weights: values, momentum: new Float32Array(values.length) }]),
        );
        const version = await versionWith(manifest, updates);
        const changed = version.manifest.pieces.filter((piece) => version.objects.has(piece.hash) && piece.role === "expert");
        assert.deepEqual(changed.map(pieceName).sort(), trainable.toSorted());

        const lossOf = async (of: ReadonlyMap<string, Float32Array>) => {
          const evaluator = createStreamEvaluator({
            architecture,
            sequenceLength,
            batchSequences: 4,
            threads: 1,
            load: async (names) => new Map(names.map((name) => [name, of.get(name) as Float32Array])),
          });
          const { base } = await evaluator.losses(batch);
          evaluator.dispose();
          return base.reduce((sum, loss) => sum + loss, 0) / base.length;
        };
        const [before, after] = [await lossOf(whole), await lossOf(new Map([...whole, ...trained]))];
        assert.ok(after < before, `${after} after ${before}`);
      }),
    );
  }
});
