/**
 * What a codec costs and what it keeps. First, on a small pre-trained model and real text: the experts of one group are trained for 20 cycles, each cycle
 * starting from what the cycle before left of its change once encoded and decoded, and the held-out loss is compared with that of the run that sends everything in fp32.
 * Then the speed of encoding and decoding, beside copying the same memory. Options: --json, --cycles 1,5,20, --steps N (a cycle's), --only NAME, --threads N.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { readSequences } from "../src/data/text.ts";
import { createWalk } from "../src/data/walk.ts";
import { writeTexts } from "../src/demo/texts.ts";
import { openEvaluator } from "../src/engine/evaluator.ts";
import { createSparseTraining } from "../src/engine/sparse-training.ts";
import { openTrainer } from "../src/engine/trainer.ts";
import { openCheckpoint } from "../src/model/checkpoint.ts";
import { type Codec, codecs } from "../src/model/codecs/index.ts";
import { bytesOf } from "../src/model/dtype.ts";
import { familyNamed, listWeights } from "../src/model/families/index.ts";
import { indexCheckpoint } from "../src/model/index-checkpoint.ts";
import { initializeCheckpoint } from "../src/model/initialize.ts";
import { readPieceFrom } from "../src/model/pieces.ts";
import { loadWeights } from "../src/model/weights.ts";
import { hashFields } from "../src/protocol/hash.ts";
import { pretrain } from "../src/steps/train/pretrain.ts";
import { silentProgress } from "../src/ui/progress.ts";
import { table } from "../src/ui/table.ts";

type Tensors = Map<string, Float32Array>;

const sequenceLength = 64;
const batchSequences = 8;
const heldOutSequences = 96;
const pretrainSteps = 600;
const inner = { learningRate: 5e-4, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.01, clipNorm: 1 };

/** A way of sending: how the run before it trains, and what becomes of its change. */
interface Policy {
  readonly name: string;
  readonly codec?: Codec;
  /** Trains what will be sent, as `connito train` does; else trains everything and sends the largest changes. */
  readonly trained?: boolean;
  readonly feedback?: boolean;
  readonly exploreShare?: number;
  readonly rateFactor?: number;
}

const policies: readonly Policy[] = [
  { name: "fp32" },
  ...codecs.flatMap((codec): Policy[] =>
    codec.kept === undefined
      ? [{ name: codec.name, codec }]
      : [
          { name: `${codec.name}, largest changes of a dense run`, codec, feedback: true },
          { name: codec.name, codec, trained: true, feedback: true },
        ],
  ),
];

async function openScene(directory: string, threads: number) {
  const context = { threads, progress: silentProgress, signal: new AbortController().signal };
  const texts = await writeTexts(directory);
  const config = familyNamed("qwen3_moe").newConfig?.({
    vocabularySize: 257,
    layers: 3,
    hiddenSize: 64,
    intermediateSize: 64,
    experts: 8,
    expertsPerToken: 2,
    heads: 2,
    keyValueHeads: 1,
    normalizeTopK: true,
  }) as Record<string, unknown>;
  const base = join(directory, "base");
  const untrained = await initializeCheckpoint({ directory: base, config, seed: "codec" });
  const files = texts.map(({ train }) => train);
  const options = { sequenceLength, batchSequences, learningRate: 3e-3, seed: 1, steps: pretrainSteps };
  await pretrain(context, { checkpoint: untrained, files, directory: base, ...options });
  const checkpoint = await openCheckpoint(base);
  const { manifest, locations } = await indexCheckpoint(checkpoint, {});
  const { architecture } = checkpoint;
  const weights = await loadWeights({ pieces: manifest.pieces, readPiece: readPieceFrom((hash) => locations.get(hash)), architecture });
  const read = async (file: string) => (await readSequences({ file, tokenizer: checkpoint.tokenizer, sequenceLength })).sequences;
  const domains = await Promise.all(files.map(read));
  const walk = createWalk(
    domains.map(({ length }) => [{ shard: 0, first: 0, sequences: length }]),
    hashFields("connito/bench-codec/1"),
  );
  const batches = (first: number, count: number) =>
    Array.from({ length: count }, (_, place) => {
      const { domain, index } = walk.at(first + place);
      return domains[domain]?.[index] as Int32Array;
    });
  const heldOut = (await Promise.all(texts.map((text) => read(text.heldOut)))).flatMap((sequences) => {
    const stride = Math.floor((2 * sequences.length) / heldOutSequences);
    return Array.from({ length: heldOutSequences / 2 }, (_, index) => sequences[index * stride] as Int32Array);
  });
  const trainable = listWeights(architecture)
    .filter(({ expert }) => expert !== undefined && expert < 4)
    .map(({ name }) => name);
  return { architecture, weights, batches, heldOut, trainable, threads };
}

type Scene = Awaited<ReturnType<typeof openScene>>;

/** Held-out loss before, and after each cycle. */
async function losses(scene: Scene, policy: Policy, cycles: number, steps: number): Promise<number[]> {
  const { architecture, trainable, threads, batches, heldOut } = scene;
  const evaluator = await openEvaluator({ architecture, weights: scene.weights, sequenceLength, batchSequences: 16, threads });
  const loss = async (weights: Tensors) => {
    evaluator.replace(weights);
    return mean(await evaluator.losses(heldOut));
  };
  let base: Tensors = new Map(trainable.map((name) => [name, scene.weights.get(name) as Float32Array]));
  let residual: Tensors | undefined;
  const result = [await loss(base)];
  for (let cycle = 0; cycle < cycles; cycle++) {
    const weights = new Map([...scene.weights, ...base]);
    const options = { architecture, weights, trainable, optimizer: inner, sequenceLength, batchSequences, threads };
    const trainer = await openTrainer(options);
    const sparse = policy.trained && policy.codec && createSparseTraining({ ...policy, trainer, codec: policy.codec, base, residual });
    for (let step = 0; step < steps; step++) {
      const batch = batches((cycle * steps + step) * batchSequences, batchSequences);
      await trainer.step([batch], { learningRate: inner.learningRate * (1 - step / steps) * (sparse ? sparse.rateFactor() : 1) });
      if (sparse) await sparse.follow((step + 1) / steps);
    }
    const trained = await trainer.weights();
    trainer.dispose();
    const sent: Tensors = new Map();
    const rest: Tensors = new Map();
    for (const [name, after] of trained) {
      const before = base.get(name) as Float32Array;
      const change = after.map((value, index) => value - (before[index] as number));
      const owed = sparse || !policy.feedback ? undefined : residual?.get(name);
      const wanted = owed === undefined ? change : change.map((value, index) => value + (owed[index] as number));
      const said = policy.codec === undefined ? wanted : policy.codec.decode(policy.codec.encode(wanted), wanted.length);
      sent.set(name, said);
      rest.set(
        name,
        wanted.map((value, index) => value - (said[index] as number)),
      );
    }
    if (policy.feedback) residual = sparse ? sparse.remainder(trained, sent) : rest;
    base = new Map(
      [...base].map(([name, before]) => [name, before.map((value, index) => value + ((sent.get(name) as Float32Array)[index] as number))]),
    );
    result.push(await loss(base));
  }
  evaluator.dispose();
  return result;
}

/** GB of fp32 a second of processor time, the best of several. */
function speed(bytes: number, work: () => void): number {
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 12; run++) {
    const before = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(before);
    best = Math.min(best, (user + system) / 1e6);
  }
  return bytes / best / 1e9;
}

function speeds() {
  let state = 1;
  const random = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    return (state >>> 8) / 2 ** 24 - 0.5;
  };
  const values = Float32Array.from({ length: 2 ** 22 }, () => random() * Math.exp(4 * random()) * 1e-3);
  const target = new Float32Array(values.length);
  const copy = speed(values.byteLength, () => target.set(values));
  return codecs.map((codec) => {
    const encoded = codec.encode(values);
    return {
      codec: codec.name,
      encode: speed(values.byteLength, () => codec.encode(values)),
      decode: speed(values.byteLength, () => codec.decode(encoded, values.length)),
      copy,
    };
  });
}

function bytesPerParameter(codec: Codec | undefined): number {
  const elements = 2 ** 20;
  if (codec === undefined) return 4;
  return codec.parts("tensor", [elements]).reduce((sum, { dtype, shape }) => sum + (bytesOf(dtype, shape) as number), 0) / elements;
}

const mean = (values: Float64Array) => values.reduce((sum, value) => sum + value, 0) / values.length;

export async function run(): Promise<void> {
  const { values: flags } = parseArgs({
    args: process.argv.slice(process.argv[2] === "codec" ? 3 : 2),
    options: {
      json: { type: "boolean" },
      cycles: { type: "string", default: "1,5,20" },
      steps: { type: "string", default: "25" },
      threads: { type: "string", default: "2" },
      only: { type: "string", default: "" },
    },
  });
  const cycles = flags.cycles.split(",").map(Number);
  const directory = await mkdtemp(join(tmpdir(), "connito-bench-"));
  try {
    const scene = await openScene(directory, Number(flags.threads));
    const chosen = policies.filter(({ name }, index) => index === 0 || name.includes(flags.only));
    const rows = [];
    let reference: number[] = [];
    for (const policy of chosen) {
      const found = await losses(scene, policy, Math.max(...cycles), Number(flags.steps));
      if (rows.length === 0) reference = found;
      const gain = (curve: readonly number[], cycle: number) => (curve[0] as number) - (curve[cycle] as number);
      const bytes = bytesPerParameter(policy.codec);
      rows.push({
        name: policy.name,
        bytesPerParameter: bytes,
        smallerThanBf16: 2 / bytes,
        loss: cycles.map((cycle) => found[cycle] as number),
        gainKept: cycles.map((cycle) => gain(found, cycle) / gain(reference, cycle)),
      });
      if (!flags.json) console.error(`${policy.name}: ${found.map((value) => value.toFixed(4)).join(" ")}`);
    }
    const measured = speeds();
    if (flags.json) {
      console.log(JSON.stringify({ cycles, stepsPerCycle: Number(flags.steps), baseLoss: reference[0], policies: rows, speeds: measured }));
      return;
    }
    const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
    console.log(
      table(
        ["codec", "bytes/parameter", "smaller than bf16", ...cycles.map((cycle) => `gain kept, ${cycle}`)],
        rows.map((row) => [row.name, row.bytesPerParameter.toFixed(4), `${row.smallerThanBf16.toFixed(1)}x`, ...row.gainKept.map(percent)]),
      ),
    );
    console.log(
      table(
        ["codec", "encode GB/s", "decode GB/s", "memory copy GB/s"],
        measured.map((row) => [row.codec, row.encode.toFixed(2), row.decode.toFixed(2), row.copy.toFixed(2)]),
      ),
    );
  } finally {
    await rm(directory, { recursive: true });
  }
}
