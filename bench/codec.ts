/**
 * What a codec costs and what it keeps. First, on a small model that was trained for thousands of steps (kept in --directory, and trained only where it
 * is missing): the experts of one of two groups are trained on a domain for 20 cycles, each cycle starting from what the cycle before left of its change once
 * encoded and decoded, and the held-out loss is compared with that of the run that sends everything in fp32. Then the speed of encoding and
 * decoding, beside copying the same memory. Options: --json, --directory PATH, --pretrain STEPS, --cycles 1,5,20, --steps N (a cycle's), --only NAME,
 * --domain NAME, --rate FACTOR (for codecs of places), --threads N.
 */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createWalk } from "../src/data/walk.ts";
import { openEvaluator } from "../src/engine/evaluator.ts";
import { keepToPlaces, placeRate } from "../src/engine/places.ts";
import { type OptimizerOptions, openTrainer } from "../src/engine/trainer.ts";
import { type Codec, codecs } from "../src/model/codecs/index.ts";
import { bytesOf } from "../src/model/dtype.ts";
import { submissionPlaces } from "../src/model/submission.ts";
import { hashFields } from "../src/protocol/hash.ts";
import { placesSeed } from "../src/protocol/places.ts";
import { createProgress } from "../src/ui/progress.ts";
import { table } from "../src/ui/table.ts";
import { batchSequences, openBase } from "./transfer/base.ts";
import type { Base, Domain } from "./transfer/experiment.ts";

type Tensors = Map<string, Float32Array>;

export const inner = { learningRate: 5e-4, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.01, clipNorm: 1 };

/** A way of sending. */
export interface Policy {
  readonly name: string;
  readonly codec?: Codec;
  /** Trains everything and sends what the codec can say of it. */
  readonly dense?: boolean;
}

const policies: readonly Policy[] = [
  { name: "fp32" },
  ...codecs.flatMap((codec): Policy[] => [
    { name: codec.name, codec },
    ...(codec.place === undefined ? [] : [{ name: `${codec.name}, of a dense run`, codec, dense: true }]),
  ]),
];

export interface Run {
  readonly optimizer: OptimizerOptions;
  readonly base: Base;
  readonly domain: Domain;
  readonly cycles: number;
  readonly steps: number;
  readonly rate: number;
  readonly threads: number;
}

/** Held-out loss before, and after each cycle. */
export async function losses({ optimizer, base, domain, cycles, steps, rate, threads }: Run, { codec, dense }: Policy): Promise<number[]> {
  const { architecture, sequenceLength } = base;
  const trained = base.specs.filter(({ role, expert }) => role === "expert" && (expert as number) < architecture.experts / 2);
  const trainable = trained.map(({ name }) => name);
  const walk = createWalk([[{ shard: 0, first: 0, sequences: domain.train.length }]], hashFields("connito/bench-codec/1"));
  const evaluator = await openEvaluator({ architecture, weights: base.weights, sequenceLength, batchSequences: 16, threads });
  const loss = async (weights: Tensors) => {
    evaluator.replace(weights);
    return mean(await evaluator.losses(domain.heldOut));
  };
  let before: Tensors = new Map(trainable.map((name) => [name, base.weights.get(name) as Float32Array]));
  const result = [await loss(before)];
  for (let cycle = 0; cycle < cycles; cycle++) {
    const of = { task: hashFields("connito/bench-codec/1"), cycle, group: 0 };
    const places = codec && !dense ? submissionPlaces(codec.name, of, trained) : undefined;
    const weights = new Map([...base.weights, ...before]);
    const options = { architecture, weights, trainable, optimizer, sequenceLength, batchSequences, threads };
    const trainer = await openTrainer(options);
    for (let step = 0; step < steps; step++) {
      const batch = Array.from(
        { length: batchSequences },
        (_, place) => domain.train[walk.at((cycle * steps + step) * batchSequences + place).index] as Int32Array,
      );
      await trainer.step([batch], { learningRate: optimizer.learningRate * (1 - step / steps) * (places ? rate : 1) });
      if (places) await keepToPlaces(trainer, async (name) => before.get(name) as Float32Array, places);
    }
    const after = await trainer.weights();
    trainer.dispose();
    const next: Tensors = new Map();
    for (const [name, values] of before) {
      const change = (after.get(name) as Float32Array).map((value, index) => value - (values[index] as number));
      const seed = placesSeed(of, name);
      const said = codec === undefined ? change : codec.decode(codec.encode(change, seed), change.length, seed);
      next.set(
        name,
        values.map((value, index) => value + (said[index] as number)),
      );
    }
    before = next;
    result.push(await loss(before));
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
    const encoded = codec.encode(values, 1);
    return {
      codec: codec.name,
      encode: speed(values.byteLength, () => codec.encode(values, 1)),
      decode: speed(values.byteLength, () => codec.decode(encoded, values.length, 1)),
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
      directory: { type: "string", default: join(tmpdir(), "connito-transfer") },
      pretrain: { type: "string", default: "3500" },
      cycles: { type: "string", default: "1,5,20" },
      steps: { type: "string", default: "25" },
      threads: { type: "string", default: "2" },
      domain: { type: "string", default: "speeches" },
      rate: { type: "string", default: String(placeRate) },
      only: { type: "string", default: "" },
    },
  });
  const cycles = flags.cycles.split(",").map(Number);
  const threads = Number(flags.threads);
  const base = await openBase(flags.directory, Number(flags.pretrain), threads, createProgress({ kind: "plain" }));
  const domain = base.domains.find(({ name }) => name === flags.domain) as Domain;
  const chosen = policies.filter(({ name }, index) => index === 0 || name.includes(flags.only));
  const rows = [];
  let reference: number[] = [];
  for (const policy of chosen) {
    const found = await losses(
      { optimizer: inner, base, domain, cycles: Math.max(...cycles), steps: Number(flags.steps), rate: Number(flags.rate), threads },
      policy,
    );
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
}
