/**
 * Shows that transformers loads what `model export` writes and computes with it what the engine computes: for each family that
 * `model init` can make, a small model is changed in a few experts as a merge would, kept as a version in a state directory, exported by
 * the command in several files, and both sides give the loss of every next token after some texts. With --packed, that the engine computes with what
 * `model convert` writes what transformers computes with the packed checkpoint itself: FP8 with block scales, gpt-oss in MXFP4. Needs Python with torch and
 * transformers, for FP8 accelerate as well: npx tsx scripts/check-export.ts --python /tmp/goldens/bin/python [--packed] [FAMILY ...]
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { execa } from "execa";
import { openEvaluator } from "../src/engine/evaluator.ts";
import { openCheckpoint } from "../src/model/checkpoint.ts";
import { type Architecture, families, readArchitecture } from "../src/model/families/index.ts";
import { indexCheckpoint } from "../src/model/index-checkpoint.ts";
import { pieceName, readPieceFrom } from "../src/model/pieces.ts";
import { loadWeights, newVersion, piecesOf, readValues, type TensorUpdate } from "../src/model/weights.ts";
import { storeManifest } from "../src/steps/manifests.ts";
import { openWorkspace } from "../src/workspace/workspace.ts";
import { packCheckpoint } from "../test/model/packed-checkpoint.ts";

const { values, positionals } = parseArgs({
  options: { python: { type: "string", default: "python3" }, packed: { type: "boolean", default: false } },
  allowPositionals: true,
});
const connito = join(import.meta.dirname, "..", "bin", "run.js");
const vocabulary = 257;
const positions = 8;

/** Two texts of eight tokens, each followed by every token there is: their losses tell all logits of the last position, up to a constant. */
const sequences = [3, 5].flatMap((step) =>
  Array.from({ length: vocabulary }, (_, last) =>
    Int32Array.from({ length: positions + 1 }, (_, at) => (at === positions ? last : (at * step * 29 + step) % vocabulary)),
  ),
);

/** A small model, written by `model init`. */
async function makeBase(family: string, directory: string, hidden: number, inner: number): Promise<string> {
  const base = join(directory, "base");
  const sizes = ["--layers", "3", "--hidden-size", `${hidden}`, "--heads", "4", "--experts", "6", "--intermediate-size", `${inner}`];
  await execa(process.execPath, [connito, "model", "init", base, "--family", family, ...sizes]);
  return base;
}

/** What Python says of the model in a directory, given the losses that the engine computes with these weights. */
async function compare(
  job: { readonly directory: string; readonly dtype: string },
  architecture: Architecture,
  weights: ReadonlyMap<string, Float32Array>,
): Promise<string> {
  const evaluator = await openEvaluator({ architecture, weights, sequenceLength: positions, batchSequences: 32 });
  const losses = await evaluator.losses(sequences);
  evaluator.dispose();
  const file = `${job.directory}.json`;
  await writeFile(file, JSON.stringify({ ...job, sequences: sequences.map((one) => [...one]), losses: [...losses] }));
  return (await execa(values.python, [join(import.meta.dirname, "goldens", "check_export.py"), file])).stdout;
}

async function checkPacked(family: string, directory: string): Promise<string> {
  // MXFP4 has blocks of 32 values; blocks of FP8 that do not fill a matrix, transformers does not unpack.
  const base = await makeBase(family, directory, 64, 32);
  const [packed, plain] = [join(directory, "packed"), join(directory, "plain")];
  await packCheckpoint(base, packed, [8, 8]);
  await execa(process.execPath, [connito, "model", "convert", packed, "--output", plain]);
  const { architecture, ...checkpoint } = await openCheckpoint(plain);
  const { manifest, locations } = await indexCheckpoint({ architecture, ...checkpoint });
  const weights = await loadWeights({ pieces: manifest.pieces, readPiece: readPieceFrom((hash) => locations.get(hash)), architecture });
  return compare({ directory: packed, dtype: "bfloat16" }, architecture, weights);
}

async function checkExport(family: string, directory: string): Promise<string> {
  const base = await makeBase(family, directory, 48, 20);
  const checkpoint = await openCheckpoint(base);
  const { manifest, locations } = await indexCheckpoint(checkpoint);
  const workspace = await openWorkspace(join(directory, "state"), { lock: true });
  await workspace.objects.addView(locations);
  const readPiece = (piece: { readonly hash: string }) => workspace.objects.stream(piece.hash);
  const { architecture } = checkpoint;
  const updates = new Map<string, TensorUpdate>();
  for (const piece of piecesOf(
    manifest,
    "expert",
    architecture.expertLayers.map((layer) => ({ layer, experts: [1, 4] })),
  )) {
    const weights = (await readValues(piece, readPiece)).map((value, index) => 3 * value + 0.01 * Math.sin(index));
    updates.set(pieceName(piece), { weights, momentum: weights });
  }
  const version = await newVersion({
    manifest,
    changed: new Set(updates.keys()),
    update: async (name) => updates.get(name) as TensorUpdate,
    keep: (bytes) => workspace.objects.put(bytes),
  });
  const root = await storeManifest(workspace, version);
  const weights = await loadWeights({
    pieces: version.pieces,
    readPiece,
    architecture: readArchitecture(checkpoint.config),
  });
  await workspace.close();

  const output = join(directory, "exported");
  const options = ["--version", root, "--output", output, "--state-dir", join(directory, "state"), "--max-shard-size", "100KB"];
  await execa(process.execPath, [connito, "model", "export", ...options]);
  return compare({ directory: output, dtype: "float32" }, architecture, weights);
}

for (const { modelType, newConfig } of families) {
  if (newConfig === undefined || (positionals.length > 0 && !positionals.includes(modelType))) continue;
  const directory = await mkdtemp(join(tmpdir(), "connito-export-"));
  try {
    process.stdout.write(`${modelType}: ${await (values.packed ? checkPacked : checkExport)(modelType, directory)}\n`);
  } finally {
    await rm(directory, { recursive: true });
  }
}
