/**
 * Making stand-ins by use of experts of real size: a layer of a few experts as wide as the model's, measured and rounded by the product's own steps with one thread,
 * beside the rate of one large fp32 product, and what that comes to for the model as a whole. Times are processor time, so that a busy machine changes them little.
 * Options: --json, --shape NAME, --experts N, --tokens N.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { expertMoments } from "../src/engine/expert-moments.ts";
import { routerStatistics } from "../src/engine/router-statistics.ts";
import { feedbackColumns } from "../src/kernels/low-bits.ts";
import { familyNamed } from "../src/model/families/index.ts";
import { indexCheckpoint } from "../src/model/index-checkpoint.ts";
import { initializeCheckpoint } from "../src/model/initialize.ts";
import { type LayerMoments, makeStandInsByUse } from "../src/model/make-stand-ins.ts";
import { readPieceFrom } from "../src/model/pieces.ts";
import { weightLoader } from "../src/model/weights.ts";
import { table } from "../src/ui/table.ts";
import { randomSequences } from "./random.ts";
import { measurePeak } from "./train/peak.ts";

interface Shape {
  readonly family: string;
  readonly hidden: number;
  readonly inner: number;
  /** Of the model: layers with experts, experts in each, and parameters that a token passes. */
  readonly layers: number;
  readonly experts: number;
  readonly active: number;
}

const shapes: Readonly<Record<string, Shape>> = {
  "Qwen3-30B-A3B": { family: "qwen3_moe", hidden: 2048, inner: 768, layers: 48, experts: 128, active: 3.3e9 },
  "gpt-oss-120b": { family: "gpt_oss", hidden: 2880, inner: 2880, layers: 36, experts: 128, active: 5.1e9 },
  "Qwen3-235B-A22B": { family: "qwen3_moe", hidden: 4096, inner: 1536, layers: 94, experts: 128, active: 22e9 },
  "DeepSeek-V3": { family: "qwen3_moe", hidden: 7168, inner: 2048, layers: 58, experts: 256, active: 37e9 },
};
/** What a task measures on by default, twice: for the allotment, and for the rounding. */
const sampleTokens = 131_072;
/** Experts that bits are allotted to at 2 bits a value, about. */
const shareWithBits = 0.6;

interface Row {
  readonly shape: string;
  readonly microsecondsPerValue: number;
  /** Of the feedback's multiplications and subtractions; reading, hashing, choosing steps and packing are in the time. Matrices stored inputs first have none. */
  readonly gigaflops?: number;
  readonly ofProduct?: number;
  /** What measuring the moments takes of the forward pass that it is part of. */
  readonly momentsShare: number;
  readonly peakMebibytes: number;
  /** The moments' size beside the fp32 weights of their experts. */
  readonly momentsOfWeights: number;
  readonly roundingCoreHours: number;
  readonly measuringCoreHours: number;
}

const threads = 1;
const sequenceLength = 256;

async function measure(name: string, experts: number, tokens: number): Promise<Row> {
  const shape = shapes[name] as Shape;
  const { hidden, inner } = shape;
  const directory = await mkdtemp(join(tmpdir(), "connito-stand-ins-"));
  try {
    const sizes = { hiddenSize: hidden, intermediateSize: inner, layers: 1, experts, expertsPerToken: 2, vocabularySize: 512 };
    const heads = { heads: 16, keyValueHeads: 4, normalizeTopK: true };
    const config = familyNamed(shape.family).newConfig?.({ ...sizes, ...heads }) as Record<string, unknown>;
    const checkpoint = await initializeCheckpoint({ directory, config, seed: name });
    const { architecture } = checkpoint;
    const { manifest, locations } = await indexCheckpoint(checkpoint);
    const locate = (hash: string) => locations.get(hash);
    const domains = [{ name: "text", sequences: randomSequences(Math.ceil(tokens / sequenceLength), sequenceLength, 256) }];
    const load = weightLoader({ pieces: manifest.pieces, readPiece: readPieceFrom(locate), architecture });
    const sample = { architecture, load, domains, sequenceLength, threads };
    const peak = await measurePeak(threads, () => 1000 * processorTime());
    const statistics = await processorSeconds(() => routerStatistics(sample));
    const layers: LayerMoments[] = [];
    const moments = await processorSeconds(async () => {
      for await (const layer of expertMoments(sample)) layers.push(layer);
    });
    const allotted = [{ layer: 0, bits: Array.from({ length: experts }, () => 2 as const) }];
    const rounding = await processorSeconds(() =>
      makeStandInsByUse({ manifest, locate, store: async () => undefined, threads }, { architecture, allotted, layers: each(layers) }),
    );
    const values = 3 * hidden * inner;
    const momentValues = layers.flatMap(({ experts: own }) => own.flatMap(({ input, inner: inside }) => [...input, ...inside]));
    const operations =
      experts * values * (feedbackColumns - 1) + momentValues.reduce((sum, { length }) => sum + (2 / 3) * length ** 1.5, 0);
    const rated = architecture.computation?.experts.inputFirst !== true;
    const attention = 2 * hidden * hidden + (hidden * hidden) / 2;
    const rate = (2 * tokens * (2 * values + attention)) / moments;
    return {
      shape: name,
      microsecondsPerValue: (rounding * 1e6) / (experts * values),
      ...(rated && { gigaflops: operations / rounding / 1e9, ofProduct: operations / rounding / peak }),
      momentsShare: moments / statistics - 1,
      peakMebibytes: process.resourceUsage().maxRSS / 1024,
      momentsOfWeights: momentValues.reduce((sum, { length }) => sum + length, 0) / (experts * values),
      roundingCoreHours: (shape.layers * shape.experts * shareWithBits * values * rounding) / (experts * values) / 3600,
      measuringCoreHours: (2 * 2 * shape.active * sampleTokens) / rate / 3600,
    };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function* each<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}

async function processorSeconds(work: () => Promise<unknown>): Promise<number> {
  const before = processorTime();
  await work();
  return processorTime() - before;
}

function processorTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

export async function run(parameters: readonly string[] = process.argv.slice(3)): Promise<void> {
  const { values } = parseArgs({
    args: [...parameters],
    options: {
      json: { type: "boolean", default: false },
      shape: { type: "string" },
      experts: { type: "string", default: "4" },
      tokens: { type: "string", default: "4096" },
    },
  });
  const rows: Row[] = [];
  if (values.shape !== undefined) rows.push(await measure(values.shape, Number(values.experts), Number(values.tokens)));
  else {
    // Each in a process of its own, whose peak of memory is its own.
    for (const shape of Object.keys(shapes)) {
      const own = [fileURLToPath(new URL("run.ts", import.meta.url)), "stand-ins", "--json", "--shape", shape];
      const options = ["--experts", values.experts, "--tokens", values.tokens];
      const { stdout } = await promisify(execFile)(process.execPath, ["--import", "tsx", ...own, ...options]);
      rows.push(...(JSON.parse(stdout) as { rows: Row[] }).rows);
    }
  }
  if (values.json) process.stdout.write(`${JSON.stringify({ benchmark: "stand-ins", rows }, undefined, 2)}\n`);
  else process.stdout.write(`${table(headings, rows.map(describe))}\n`);
}

const headings = [
  "experts as wide as",
  "us a value",
  "GFLOP/s",
  "of fp32 product",
  "moments cost",
  "moments/weights",
  "peak MiB",
  "rounding, core hours",
  "measuring",
].map((heading, index) => ({ heading, align: index === 0 ? ("left" as const) : ("right" as const) }));
const describe = (row: Row): string[] => [
  row.shape,
  row.microsecondsPerValue.toFixed(3),
  row.gigaflops?.toFixed(1) ?? "-",
  row.ofProduct === undefined ? "-" : `${Math.round(100 * row.ofProduct)}%`,
  `${Math.round(100 * row.momentsShare)}%`,
  `${Math.round(100 * row.momentsOfWeights)}%`,
  row.peakMebibytes.toFixed(0),
  row.roundingCoreHours.toFixed(2),
  row.measuringCoreHours.toFixed(1),
];
