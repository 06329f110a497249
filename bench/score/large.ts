/**
 * The second half of `npm run bench -- score`, in a process that is given little memory: `large.ts DIRECTORY streamed|whole`. A base and candidates
 * on the model in the directory, which is several times larger; `whole` only loads it, which must fail. What is printed is one JSON document.
 */
import { createStreamEvaluator } from "../../src/engine/layers/stream-evaluator.ts";
import { loadLibrary } from "../../src/engine/runtime/library.ts";
import { openCheckpoint } from "../../src/model/checkpoint.ts";
import { listWeights } from "../../src/model/families/index.ts";
import { dataBytes } from "../memory.ts";
import { randomSequences } from "../random.ts";
import { changedNames, loaderOf, perturbed, vocabularySize } from "./model.ts";

const [directory = "", way] = process.argv.slice(2);
const candidates = 3;
const sequenceLength = 64;

await loadLibrary();
const checkpoint = await openCheckpoint(directory);
const modelBytes = [...checkpoint.tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0);
const load = await loaderOf(checkpoint);
const opened = { peakBytes: process.resourceUsage().maxRSS * 1024, dataBytes: await dataBytes() };
const started = performance.now();
if (way === "whole") {
  const weights = await load(listWeights(checkpoint.architecture).map(({ name }) => name));
  for (const values of weights.values()) if (!Number.isFinite(values[0])) throw new Error("a weight is not finite");
} else {
  const evaluator = createStreamEvaluator({
    architecture: checkpoint.architecture,
    sequenceLength,
    batchSequences: 8,
    threads: 1,
    load,
    scratch: { directory, memoryBytes: 0 },
  });
  const { layers } = checkpoint.architecture;
  const losses = await evaluator.losses(
    randomSequences(16, sequenceLength, vocabularySize),
    Array.from({ length: candidates }, (_, submission) => ({
      layers: Array.from({ length: layers }, (_layer, layer) => layer),
      tensors: async (layer: number, base: ReadonlyMap<string, Float32Array>) =>
        new Map(changedNames(checkpoint, layer, 2).map((name) => [name, perturbed(base.get(name) as Float32Array, submission)])),
    })),
  );
  evaluator.dispose();
  if (!losses.candidates.every((of) => of.every(Number.isFinite))) throw new Error("a loss is not finite");
}
const seconds = (performance.now() - started) / 1000;
const peakBytes = process.resourceUsage().maxRSS * 1024;
process.stdout.write(`${JSON.stringify({ modelBytes, candidates, seconds, opened, peakBytes, dataBytes: await dataBytes() })}\n`);
