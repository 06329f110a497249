/** The base of the benchmarks of learning: a small model, trained for thousands of steps on two domains, and what its routers do with them. */
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { readSequences } from "../../src/data/text.ts";
import { writeTexts } from "../../src/demo/texts.ts";
import { expertMoments } from "../../src/engine/expert-moments.ts";
import { routerStatistics } from "../../src/engine/router-statistics.ts";
import { openCheckpoint } from "../../src/model/checkpoint.ts";
import { familyNamed } from "../../src/model/families/index.ts";
import { indexCheckpoint } from "../../src/model/index-checkpoint.ts";
import { initializeCheckpoint } from "../../src/model/initialize.ts";
import type { LayerMoments } from "../../src/model/make-stand-ins.ts";
import { readPieceFrom } from "../../src/model/pieces.ts";
import { loadWeights } from "../../src/model/weights.ts";
import { scoresOf } from "../../src/protocol/experts/router-statistics.ts";
import { pretrain } from "../../src/steps/train/pretrain.ts";
import type { Progress } from "../../src/ui/progress.ts";
import type { Base, Domain, TrainedBase } from "./experiment.ts";

const family = familyNamed("qwen3_moe");
const config = family.newConfig?.({
  vocabularySize: 257,
  hiddenSize: 128,
  layers: 4,
  heads: 4,
  keyValueHeads: 2,
  intermediateSize: 128,
  experts: 16,
  expertsPerToken: 2,
  normalizeTopK: true,
}) as Record<string, unknown>;
export const architecture = family.architecture(config);
export const batchSequences = 8;
const sequenceLength = 128;
const heldOutSequences = 128;
/** Of each domain, for the stand-ins: what a task takes by default, 131,072 tokens of both. */
const sampleSequences = 512;

/** The base in `directory`, trained where it is not there. */
export async function openBase(directory: string, steps: number, threads: number, progress: Progress): Promise<TrainedBase> {
  await mkdir(directory, { recursive: true });
  const texts = await writeTexts(directory);
  const place = join(directory, "base");
  const signal = new AbortController().signal;
  if (!existsSync(join(place, "model.safetensors"))) {
    const start = await initializeCheckpoint({
      directory: join(directory, "start"),
      config,
      seed: "transfer",
    });
    const input = {
      checkpoint: start,
      files: texts.map(({ train }) => train),
      directory: place,
      steps,
      sequenceLength,
      batchSequences,
      learningRate: 3e-3,
      seed: 1,
    };
    await pretrain({ threads, progress, signal }, input);
  }
  const checkpoint = await openCheckpoint(place);
  const { manifest, locations } = await indexCheckpoint(checkpoint);
  const weights = await loadWeights({ pieces: manifest.pieces, readPiece: readPieceFrom((hash) => locations.get(hash)), architecture });
  const domains = await Promise.all(
    texts.map(async ({ name, train, heldOut }): Promise<Domain> => {
      const read = async (file: string, maximumSequences: number) =>
        (await readSequences({ file, tokenizer: checkpoint.tokenizer, sequenceLength, maximumSequences })).sequences;
      const sequences = await read(train, 20_000);
      const sample = [{ name, sequences: sequences.slice(0, 128) }];
      const scores = scoresOf(
        await routerStatistics({ architecture, load: async () => weights, domains: sample, sequenceLength, threads }),
      );
      const held = await read(heldOut, 2 * heldOutSequences);
      return { name, train: sequences, heldOut: held.slice(0, heldOutSequences), pool: held.slice(heldOutSequences), scores };
    }),
  );
  return { architecture, specs: checkpoint.specs, weights, domains, sequenceLength };
}

/** With what the routers do on its domains, and what comes to its experts there. */
export async function observeBase(base: TrainedBase, threads: number): Promise<Base> {
  const { architecture, weights, domains, sequenceLength } = base;
  const sample = domains.map(({ name, train }) => ({ name, sequences: train.slice(0, sampleSequences) }));
  const observed = { architecture, load: async () => weights, domains: sample, sequenceLength, threads };
  const moments: LayerMoments[] = [];
  for await (const layer of expertMoments(observed)) moments.push(layer);
  const statistics = await routerStatistics(observed);
  return { ...base, statistics, moments };
}
