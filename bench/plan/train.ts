/** One training in a process of its own: `train.ts SHAPE whole|layers MEMORY adamw|muon`. Prints the peak of its memory and of its data, before and after. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLayerTrainer } from "../../src/engine/layers/layer-trainer.ts";
import { needByLayers } from "../../src/engine/plan.ts";
import { loadLibrary } from "../../src/engine/runtime/library.ts";
import { type OptimizerOptions, openTrainer } from "../../src/engine/trainer.ts";
import { listWeights, type TensorSpec } from "../../src/model/families/index.ts";
import { readLowBits } from "../../src/model/low-bits.ts";
import { bytesOfPiece } from "../../src/model/pieces.ts";
import { dataBytes } from "../memory.ts";
import { createRandom, randomSequences } from "../random.ts";
import { optimizers, placesOf, plannedOf, type Shape, shapes, standInOf, threads, trainableOf } from "./shapes.ts";

const [name = "", way, memory, optimizerName = ""] = process.argv.slice(2);
const shape = shapes[name] as Shape;
const { architecture, sequenceLength, batchSequences, accumulation } = shape;
const trainable = trainableOf(shape);
await loadLibrary();
const before = process.resourceUsage().maxRSS * 1024;
const dataBefore = await dataBytes();

const random = createRandom();
const specs = new Map(listWeights(architecture).map((spec) => [spec.name, spec]));
/** Stand-ins of one shape, as they lie on the disk, and what all without bits share. */
const packed = new Map<string, Uint8Array>();
const zeros = new Map<number, Float32Array>();
const order = [...specs.keys()];
/** Weights of no meaning: small, and not all the same, in no two tensors: the runtime keeps one packed copy of equal ones. */
const weightsOf = (wanted: string) => {
  const { shape: lengths, expert } = specs.get(wanted) as TensorSpec;
  const length = lengths.reduce((product, one) => product * one, 1);
  const standIn = standInOf(shape, expert);
  if (standIn === "none") {
    const shared = zeros.get(length) ?? new Float32Array(length);
    zeros.set(length, shared);
    return shared;
  }
  if (standIn === "packed") {
    const bytes = packed.get(`${lengths}`) ?? new Uint8Array(bytesOfPiece("Q2_64", lengths) as number).map((_, at) => at % 13);
    packed.set(`${lengths}`, bytes);
    return readLowBits(bytes, lengths, 2);
  }
  const values = new Float32Array(length);
  const start = 7919 * order.indexOf(wanted);
  for (let index = 0; index < values.length; index++) values[index] = (((((start + index) * 2654435761) >>> 0) % 1024) - 512) / 16384;
  return values;
};
const load = async (names: readonly string[]) => new Map(names.map((one) => [one, weightsOf(one)]));
const batch = () => randomSequences(batchSequences, sequenceLength, architecture.vocabularySize, random);
const optimizer = optimizers[optimizerName] as OptimizerOptions;
const places = placesOf(shape);
const options = { architecture, trainable, optimizer, sequenceLength, batchSequences, threads, ...(places && { places }) };
const micro = () => Array.from({ length: accumulation }, batch);

const directory = await mkdtemp(join(tmpdir(), "connito-plan-"));
const started = performance.now();
const losses: number[] = [];
if (way === "whole") {
  const trainer = await openTrainer({ ...options, weights: await load([...specs.keys()]) });
  for (let step = 0; step < 3; step++) losses.push((await trainer.step(micro())).loss);
  // What a checkpoint copies, and a step beside it.
  const kept = await trainer.state();
  losses.push((await trainer.step(micro())).loss);
  if (kept.step === 0) throw new Error("nothing was kept");
  trainer.dispose();
} else {
  const { room } = needByLayers(plannedOf(shape, optimizer), Number(memory));
  const trainer = await openLayerTrainer({ ...options, load, scratch: { directory, memoryBytes: room } });
  for (let step = 0; step < 4; step++) losses.push((await trainer.step(micro())).loss);
  trainer.dispose();
}
await rm(directory, { recursive: true, force: true });
const seconds = (performance.now() - started) / 1000;
process.stdout.write(`${JSON.stringify({ before, peak: process.resourceUsage().maxRSS * 1024, dataBefore, losses, seconds })}\n`);
