/**
 * Holds the reference scorer (trainers/torch/score.py) against the built-in engine: a small checkpoint, three candidates that differ in some experts, the same
 * sequences. Usage: node --import tsx scripts/compare-scorer.ts PYTHON, with an interpreter that has torch, transformers, safetensors and numpy.
 * Exits with 1 when a loss differs by more than 1e-5.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { familyNamed, listWeights } from "../src/model/families/index.ts";
import { indexCheckpoint } from "../src/model/index-checkpoint.ts";
import { initializeCheckpoint } from "../src/model/initialize.ts";
import { readPieceFrom } from "../src/model/pieces.ts";
import { tensorsOf } from "../src/model/tensors.ts";
import { weightLoader } from "../src/model/weights.ts";
import { measureExternally } from "../src/steps/evaluate/external-losses.ts";
import { measureByEngine } from "../src/steps/evaluate/losses.ts";
import { silentProgress } from "../src/ui/progress.ts";

const [python = "python3"] = process.argv.slice(2);
const [sequenceLength, count] = [32, 20];
const directory = await mkdtemp(join(tmpdir(), "connito-compare-"));
const config = familyNamed("qwen3_moe").newConfig?.({
  ...{ vocabularySize: 257, layers: 3, hiddenSize: 64, intermediateSize: 32, experts: 8, expertsPerToken: 2, heads: 2, keyValueHeads: 1 },
  normalizeTopK: true,
}) as Record<string, unknown>;
const checkpoint = await initializeCheckpoint({ directory, config, seed: "compare" });
const { architecture } = checkpoint;
const { manifest, locations } = await indexCheckpoint(checkpoint, {});
const load = weightLoader({ pieces: manifest.pieces, readPiece: readPieceFrom((hash) => locations.get(hash)), architecture });
const text = await readFile(new URL("../docs/protocol.md", import.meta.url));
const row = sequenceLength + 1;
const sequences = Array.from({ length: count }, (_, index) => ({
  ...{ domain: 0, index },
  tokens: Int32Array.from(text.subarray(index * row, (index + 1) * row)),
}));
const experts = listWeights(architecture).flatMap(({ name, expert }) => (expert === undefined ? [] : [{ name, expert }]));
const candidates = await Promise.all(
  [0.05, -0.1, 0.2].map(async (size, candidate) => {
    const changed = experts.filter(({ expert }) => expert % 3 === candidate).map(({ name }) => name);
    return tensorsOf(new Map([...(await load(changed))].map(([name, values]) => [name, values.map((value) => size * value)])));
  }),
);
const signal = new AbortController().signal;
const own = measureByEngine({ architecture, sequenceLength, threads: 1, load, scratch: { directory, memoryBytes: 2 ** 30 }, signal });
const external = measureExternally({
  command: [python, fileURLToPath(new URL("../trainers/torch/score.py", import.meta.url))],
  directory: join(directory, "scorer"),
  ...{ base: "b".repeat(64), architecture, sequenceLength, load, engine: own.losses, signal },
  config: await readFile(join(directory, "config.json")),
  tokenizer: await readFile(join(directory, "tokenizer.json")),
  // What is said is why the engine took over: then there is nothing to compare.
  progress: {
    ...silentProgress,
    note(text) {
      throw new Error(text);
    },
  },
});
const [expected, answered] = [await own.losses(sequences, candidates), await external.losses(sequences, candidates)];
let worst = 0;
for (const [model, losses] of [expected.base, ...expected.candidates].entries()) {
  const theirs = [answered.base, ...answered.candidates][model] as Float64Array;
  const apart = losses.reduce((most, loss, index) => Math.max(most, Math.abs(loss - (theirs[index] as number))), 0);
  const mean = losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
  console.log(
    `${model === 0 ? "base" : `candidate ${model - 1}`}: mean loss ${mean.toFixed(6)}, losses differ by at most ${apart.toExponential(2)}`,
  );
  worst = Math.max(worst, apart);
}
own.close();
await external.close();
await rm(directory, { recursive: true });
process.exitCode = worst < 1e-5 ? 0 : 1;
