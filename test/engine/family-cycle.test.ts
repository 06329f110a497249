/**
 * The work of one cycle on a small model of every family that the engine computes, without a chain: a checkpoint is made and indexed, a group's slice is loaded
 * with stand-ins, experts are selected by what the routers do, trained and merged into a new version, and the streaming evaluator, as validators have it,
 * measures both versions. The same on what `model convert` makes of checkpoints with packed weights.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { expertMoments } from "../../src/engine/expert-moments.ts";
import { createStreamEvaluator } from "../../src/engine/layers/stream-evaluator.ts";
import { routerStatistics } from "../../src/engine/router-statistics.ts";
import { openTrainer } from "../../src/engine/trainer.ts";
import { openCheckpoint } from "../../src/model/checkpoint.ts";
import { convertCheckpoint } from "../../src/model/convert.ts";
import { creatableFamilies } from "../../src/model/families/index.ts";
import { initializeCheckpoint } from "../../src/model/initialize.ts";
import { makeStandInsByUse } from "../../src/model/make-stand-ins.ts";
import { pieceName } from "../../src/model/pieces.ts";
import { planSlice } from "../../src/model/slice.ts";
import { loadWeights, piecesOf } from "../../src/model/weights.ts";
import { allotBits } from "../../src/protocol/experts/allot-bits.ts";
import { minimumScoreTokens, selectForGroup } from "../../src/protocol/experts/esft.ts";
import { scoresOf } from "../../src/protocol/experts/router-statistics.ts";
import { type Example, exampleOf, makeExample } from "../model/example.ts";
import { type SmallModel, smallModels, writeSmallModel } from "../model/families/goldens.ts";
import { packCheckpoint } from "../model/packed-checkpoint.ts";
import { inDirectory, newConfig, versionWith } from "../model/support.ts";
import { smallSequences } from "./small-models.ts";

const sequenceLength = 16;
const optimizer = { learningRate: 3e-2, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0, clipNorm: 1 };

const sizes = { hiddenSize: 16, heads: 2, keyValueHeads: 1 };

/** The base, made from sizes alone, as transformers saves one, or converted from one whose weights are packed. */
async function makeBase(directory: string, family: string, from: "sizes" | "saved" | "packed"): Promise<Example> {
  if (from === "saved") {
    await writeSmallModel(join(directory, "saved"), smallModels().find(({ name }) => name === family) as SmallModel);
    const checkpoint = await openCheckpoint(join(directory, "saved"));
    return exampleOf(checkpoint, directory, checkpoint.architecture.experts);
  }
  if (from === "sizes") return makeExample(directory, newConfig(family, { ...sizes, ...(family === "llama4" && { expertsPerToken: 1 }) }));
  const at = (name: string) => join(directory, name);
  // MXFP4 has blocks of 32 values.
  const config = newConfig(family, { ...sizes, hiddenSize: 32, intermediateSize: 32 });
  await initializeCheckpoint({ directory: at("made"), config, seed: "packed" });
  await packCheckpoint(at("made"), at("packed"), [24, 20]);
  await convertCheckpoint(await openCheckpoint(at("packed")), { directory: at("converted"), maximumShardBytes: 2 ** 30 });
  return exampleOf(await openCheckpoint(at("converted")), directory);
}

describe("a cycle's work on every family", () => {
  const bases = [
    ...creatableFamilies.map((family) => ({ name: family, family, from: "sizes" as const })),
    { name: "llama4 with its vision tower", family: "llama4", from: "saved" as const },
    { name: "deepseek_v3 that was in FP8", family: "deepseek_v3", from: "packed" as const },
    { name: "gpt_oss that was in MXFP4", family: "gpt_oss", from: "packed" as const },
  ];
  for (const { name, family, from } of bases) {
    it(name, () =>
      inDirectory(async (directory) => {
        const { checkpoint, manifest, manager, readPiece, locate, objects } = await makeBase(directory, family, from);
        const { architecture } = checkpoint;
        const sequences = smallSequences(architecture, Math.ceil(minimumScoreTokens / sequenceLength), sequenceLength);
        const whole = await loadWeights({ pieces: manifest.pieces, readPiece, architecture });
        const domains = [{ name: "text", sequences }];
        const sample = { architecture, load: async () => whole, domains, sequenceLength, threads: 1 };
        const statistics = await routerStatistics(sample);
        const scores = scoresOf(statistics);
        const allotted = allotBits(statistics, manager.layers(), manager.groups, 2);
        const making = { manifest, locate, store: async (bytes: Uint8Array, hash: string) => objects.set(hash, bytes) };
        const standIns = await makeStandInsByUse(making, { architecture, allotted, layers: expertMoments(sample) });
        for (const { layer, bits } of allotted) {
          const encodings = standIns.pieces.filter((piece) => piece.layer === layer).map(({ expert, dtype }) => [expert, dtype]);
          assert.ok(encodings.every(([expert, dtype]) => dtype === `Q${bits[expert as number]}_64`));
        }
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
