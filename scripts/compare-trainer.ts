/**
 * Holds the reference trainer (trainers/torch/train.py) against the built-in engine: the same small checkpoint, the same walk through two domains, the
 * loss of every step side by side. Usage: node --import tsx scripts/compare-trainer.ts PYTHON [PROCESSES] [adamw|muon] [places], with an
 * interpreter that has torch, transformers, safetensors and numpy; `places` trains one value in ten. Exits with 1 when the losses differ by more than 1e-4.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { elementCount } from "../src/engine/flat-tensors.ts";
import { openTrainer } from "../src/engine/trainer.ts";
import type { TrainingJob } from "../src/external/job.ts";
import { familyNamed, listWeights } from "../src/model/families/index.ts";
import { indexCheckpoint } from "../src/model/index-checkpoint.ts";
import { initializeCheckpoint } from "../src/model/initialize.ts";
import { readPieceFrom } from "../src/model/pieces.ts";
import { writeSafetensors } from "../src/model/safetensors.ts";
import { loadWeights } from "../src/model/weights.ts";
import { muonDefaults } from "../src/protocol/task-defaults.ts";
import type { Run } from "../src/protocol/training-share.ts";
import { createWalk } from "../src/protocol/walk.ts";
import { readResult } from "../src/steps/train/external-training.ts";
import { rowsOfWalk, writeWalk } from "../src/steps/train/walk-file.ts";

const [python = "python3", processes = "1", optimizer = "adamw", kept] = process.argv.slice(2);
const [sequenceLength, batchSequences, accumulation, steps] = [32, 2, 2, 12];
const inner = {
  learningRate: 3e-3,
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 0.01,
  clipNorm: 1,
  batchSequences,
  accumulation,
  ...(optimizer === "muon" ? { muon: { ...muonDefaults, coefficients: [...muonDefaults.coefficients] as [number, number, number] } } : {}),
};

const directory = await mkdtemp(join(tmpdir(), "connito-compare-"));
const at = (name: string) => join(directory, name);
const config = familyNamed("qwen3_moe").newConfig?.({
  ...{ vocabularySize: 257, layers: 2, hiddenSize: 64, intermediateSize: 32, experts: 8, expertsPerToken: 2, heads: 2, keyValueHeads: 1 },
  normalizeTopK: true,
}) as Record<string, unknown>;
const checkpoint = await initializeCheckpoint({ directory, config, seed: "compare" });
const { architecture } = checkpoint;
const { manifest, locations } = await indexCheckpoint(checkpoint, {});
const weights = await loadWeights({ pieces: manifest.pieces, readPiece: readPieceFrom((hash) => locations.get(hash)), architecture });
const trainable = listWeights(architecture).filter(({ expert }) => expert !== undefined && expert % 2 === 1);
const text = await readFile(new URL("../docs/protocol.md", import.meta.url));
const tokensOf = (first: number, sequences: number) =>
  text.subarray(first * (sequenceLength + 1), (first + sequences) * (sequenceLength + 1));
// The second domain comes to its end before the first.
const share: Run[][] = [
  [5, 11, 9].map((sequences, shard) => ({ shard, first: 20 * shard, sequences })),
  [4, 9].map((sequences, shard) => ({ shard, first: 100 + 20 * shard, sequences })),
];
const walk = createWalk(share, "5a".repeat(32));
const rowsInStep = batchSequences * accumulation;

const places = new Map(
  trainable.map(({ name, shape }) => [name, Uint32Array.from({ length: Math.ceil(elementCount(shape) / 10) }, (_, index) => 10 * index)]),
);
if (kept !== undefined) {
  const masks = trainable.map(({ name, shape }) => {
    const data = new Uint8Array(elementCount(shape));
    for (const index of places.get(name) as Uint32Array) data[index] = 1;
    return { name, dtype: "U8" as const, shape, data };
  });
  await writeSafetensors(at("places.safetensors"), masks, {});
}
const data: TrainingJob["data"] = [];
for (const [domain, runs] of walk.runs().entries()) {
  for (const { shard, first, sequences } of runs) {
    const bytes = Buffer.from(Uint16Array.from(tokensOf(first, sequences)).buffer);
    const file = at(`shard-${domain}-${shard}`);
    await writeFile(file, bytes);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    data.push({ domain: `${domain}`, file, offset: 0, dtype: "u16", sequences, sha256 });
  }
}
await mkdir(at("checkpoint"));
const job: TrainingJob = {
  format: "connito/training-job/1",
  ...{ task: "a".repeat(64), cycle: 0, group: 0, base: "b".repeat(64), seed: 1, sequenceLength, maximumSteps: steps, graceSeconds: 60 },
  model: { config: at("config.json"), tokenizer: at("tokenizer.json"), weights: at("model.safetensors") },
  trainable: trainable.map(({ name, shape }) => ({ name, shape: [...shape] })),
  data,
  walk: await writeWalk(at("walk"), rowsOfWalk(walk, steps * rowsInStep, walk.runs())),
  hyperparameters: inner,
  ...(kept === undefined ? {} : { places: at("places.safetensors") }),
  opens: new Date().toISOString(),
  deadline: new Date().toISOString(),
  checkpoint: at("checkpoint"),
  output: at("result.safetensors"),
};
const launch = processes === "1" ? [] : ["-m", "torch.distributed.run", "--nproc-per-node", processes];
const environment = { ...process.env, CONNITO_TRAINER_DEVICE: "cpu", OMP_NUM_THREADS: "1" };
const theirs: number[] = [];
// In two runs, the second of which goes on from what the first one saved.
for (const maximumSteps of [steps / 2, steps]) {
  await writeFile(at("job.json"), JSON.stringify({ ...job, maximumSteps }));
  const { stdout, stderr, status } = spawnSync(python, [...launch, "trainers/torch/train.py", at("job.json")], {
    encoding: "utf8",
    env: environment,
  });
  if (status !== 0) throw new Error(`the trainer ended with ${status}:\n${stderr}`);
  for (const line of stdout.split("\n")) if (line.includes('"step"')) theirs.push(JSON.parse(line).loss as number);
}

const trainer = await openTrainer({
  architecture,
  weights,
  trainable: trainable.map(({ name }) => name),
  optimizer: inner,
  sequenceLength,
  batchSequences,
  threads: 1,
  ...(kept === undefined ? {} : { places }),
});
let worst = 0;
for (let step = 0; step < steps; step++) {
  const sequences = Array.from({ length: rowsInStep }, (_, row) => Int32Array.from(tokensOf(walk.at(step * rowsInStep + row).index, 1)));
  const micro = (number: number) => sequences.slice(number * batchSequences, (number + 1) * batchSequences);
  const { loss } = await trainer.step(Array.from({ length: accumulation }, (_, number) => micro(number)));
  worst = Math.max(worst, Math.abs(loss - (theirs[step] as number)));
  console.log(`step ${step + 1}: engine ${loss.toFixed(6)}, torch ${theirs[step]?.toFixed(6)}`);
}
const own = await trainer.weights();
trainer.dispose();
const result = await readResult(job);
let apart = 0;
for (const [name, values] of own) {
  const other = result.get(name) as Float32Array;
  for (let index = 0; index < values.length; index++)
    apart = Math.max(apart, Math.abs((values[index] as number) - (other[index] as number)));
}
console.log(`losses differ by at most ${worst.toExponential(2)}, trained weights by ${apart.toExponential(2)}`);
await rm(directory, { recursive: true });
process.exitCode = worst < 1e-4 ? 0 : 1;
