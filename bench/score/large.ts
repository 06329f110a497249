/**
 * The second half of `npm run bench -- score`: a base and candidates on a model several times larger than the process may become. The model lies in
 * the directory that is given; what is printed is one JSON document.
 */
import { createStreamEvaluator } from "../../src/engine/layers/stream-evaluator.ts";
import { openCheckpoint } from "../../src/model/checkpoint.ts";
import { changedNames, loaderOf, perturbed, randomSequences } from "./model.ts";

const [directory = "", count = "3"] = process.argv.slice(2);
const candidates = Number(count);
const peakBytes = () => process.resourceUsage().maxRSS * 1024;
const checkpoint = await openCheckpoint(directory);
const modelBytes = [...checkpoint.tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0);
const load = await loaderOf(checkpoint);
const openedBytes = peakBytes();
const sequenceLength = 64;
const evaluator = createStreamEvaluator({
  architecture: checkpoint.architecture,
  sequenceLength,
  batchSequences: 8,
  load,
  scratch: { directory, memoryBytes: 0 },
});
const { layers } = checkpoint.architecture;
const started = performance.now();
await evaluator.losses(
  randomSequences(16, sequenceLength),
  Array.from({ length: candidates }, (_, submission) => ({
    layers: Array.from({ length: layers }, (_layer, layer) => layer),
    tensors: async (layer: number, base: ReadonlyMap<string, Float32Array>) =>
      new Map(changedNames(checkpoint, layer, 2).map((name) => [name, perturbed(base.get(name) as Float32Array, submission)])),
  })),
);
const seconds = (performance.now() - started) / 1000;
evaluator.dispose();
process.stdout.write(`${JSON.stringify({ modelBytes, candidates, seconds, openedBytes, peakBytes: peakBytes() })}\n`);
