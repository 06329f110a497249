/**
 * How fast the engine trains, beside PyTorch (best of eager and torch.compile) on the same model, weights, batches and number of threads, in fp32. The
 * sides take turns in rounds of a few steps, so that both see the same machine, and their losses show that they do the same work. The limit is
 * the machine's own: the rate of one large matrix product. Beside the ratio stands its bound: what it would be if all but the
 * engine's own matrix products were free. Options: --json, --threads N, --shape NAME, --rounds N, --python PATH (an
 * interpreter with torch and safetensors; without one the engine runs alone).
 */
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Architecture, familyNamed, listWeights, readArchitecture, type TensorSpec } from "../src/model/families/index.ts";
import { initializeCheckpoint } from "../src/model/initialize.ts";
import { table } from "../src/ui/table.ts";
import type { Answer, Job } from "./train/job.ts";
import { measurePeak } from "./train/peak.ts";
import { secondsOfProducts } from "./train/products.ts";

interface Shape {
  readonly config: Record<string, unknown>;
  readonly architecture: Architecture;
  readonly sequenceLength: number;
  readonly batchSequences: number;
  /** Experts of each layer that are trained; all weights where absent. */
  readonly trainedExperts?: number;
}

const size = (hiddenSize: number, intermediateSize: number, experts: number, expertsPerToken: number) => {
  const config = familyNamed("qwen3_moe").newConfig?.({
    vocabularySize: 512,
    layers: 4,
    hiddenSize,
    intermediateSize,
    experts,
    expertsPerToken,
    heads: hiddenSize / 32,
    keyValueHeads: hiddenSize / 64,
    normalizeTopK: true,
  }) as Record<string, unknown>;
  return { config, architecture: readArchitecture(config) };
};
const shapes: Record<string, Shape> = {
  "small, all weights": { ...size(128, 128, 8, 2), sequenceLength: 128, batchSequences: 8 },
  small: { ...size(128, 128, 8, 2), sequenceLength: 128, batchSequences: 8, trainedExperts: 3 },
  wide: { ...size(256, 128, 64, 8), sequenceLength: 256, batchSequences: 4, trainedExperts: 8 },
  long: { ...size(256, 512, 8, 2), sequenceLength: 1024, batchSequences: 1, trainedExperts: 3 },
};
const optimizer = { learningRate: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.01, clipNorm: 1 };
const warmUpSteps = 3;
const roundSteps = 8;

const elements = ({ shape }: TensorSpec) => shape.reduce((product, length) => product * length, 1);
const specsOf = ({ architecture }: Shape) => listWeights(architecture);
const trainedOf = (shape: Shape) =>
  specsOf(shape).filter(({ expert }) => shape.trainedExperts === undefined || (expert !== undefined && expert < shape.trainedExperts));

/** Floating-point operations of a step, counting matrix products only: forward, gradients of activations, gradients of trained weights. */
function operations(shape: Shape): number {
  const { architecture, sequenceLength, batchSequences } = shape;
  const { experts, expertsPerToken, layers } = architecture;
  const width = specsOf(shape).find(({ part }) => part === "attention.query")?.shape[0] ?? 0;
  const perToken = (chosen: readonly TensorSpec[]) =>
    chosen
      .filter(({ shape: lengths, part }) => lengths.length === 2 && part !== "embedding")
      .reduce((sum, spec) => sum + elements(spec) * (spec.expert === undefined ? 1 : expertsPerToken / experts), 0);
  const attention = 6 * layers * width * (sequenceLength / 2);
  return sequenceLength * batchSequences * 2 * (2 * perToken(specsOf(shape)) + perToken(trainedOf(shape)) + attention);
}

interface Side {
  readonly name: string;
  /** Takes steps and gives their times and losses. */
  steps(count: number): Promise<Answer>;
  close(): void;
}

async function startSide(name: string, command: readonly string[], job: Job): Promise<Side> {
  const [program, ...parameters] = command as [string, ...string[]];
  const child = spawn(program, parameters, { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ask = async (question: object): Promise<unknown> => {
    child.stdin.write(`${JSON.stringify(question)}\n`);
    const { value, done } = await lines.next();
    if (done === true) throw new Error(`${name} ended`);
    return JSON.parse(value);
  };
  await ask(job);
  return { name, steps: async (steps) => (await ask({ steps })) as Answer, close: () => child.stdin.end() };
}

const beside = (file: string) => fileURLToPath(new URL(`./train/${file}`, import.meta.url));
const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] as number;

interface Row {
  readonly shape: string;
  readonly side: string;
  readonly threads: number;
  readonly tokensPerSecond: number;
  /** Tokens a second against the faster form of the peer; absent without a peer, and for the peer's own rows. */
  readonly ratio?: number;
  readonly ofPeak: number;
  /** Of the engine's fastest step: the share that is matrix products, and the ratio that would be reached if all else took no time. */
  readonly products?: { readonly share: number; readonly boundRatio?: number };
  readonly peakBytes: number;
  /** Above what the process held with its libraries loaded. */
  readonly modelBytes: number;
  readonly lastLoss: number;
}

interface Options {
  readonly threads: number;
  readonly rounds: number;
  readonly python: string | undefined;
}

async function compare(title: string, shape: Shape, { threads, rounds, python }: Options): Promise<Row[]> {
  const { architecture, sequenceLength, batchSequences } = shape;
  const directory = await mkdtemp(join(tmpdir(), "connito-bench-"));
  const sides: Side[] = [];
  try {
    await initializeCheckpoint({ directory, config: shape.config, seed: "bench" });
    const job = {
      checkpoint: join(directory, "model.safetensors"),
      architecture,
      trained: trainedOf(shape).map(({ name }) => name),
      optimizer,
      sequenceLength,
      batchSequences,
      threads,
    };
    sides.push(await startSide("connito", [process.execPath, "--import", "tsx", beside("engine.ts")], { ...job, compiled: false }));
    for (const compiled of python === undefined ? [] : [false, true])
      sides.push(await startSide(compiled ? "torch.compile" : "torch", [python as string, beside("peer.py")], { ...job, compiled }));
    const answers = new Map<Side, Answer[]>();
    for (let round = 0; round <= rounds; round++) {
      // The first round warms up.
      for (const side of sides) {
        const answer = await side.steps(round === 0 ? warmUpSteps : roundSteps);
        if (round > 0) answers.set(side, [...(answers.get(side) ?? []), answer]);
      }
    }
    const peak = await measurePeak(threads);
    const rows = sides.map((side) => {
      const all = answers.get(side) as Answer[];
      const last = all.at(-1) as Answer;
      const seconds = median(all.flatMap(({ times }) => times)) / 1000;
      return {
        shape: title,
        side: side.name,
        threads,
        tokensPerSecond: (sequenceLength * batchSequences) / seconds,
        ofPeak: operations(shape) / seconds / peak,
        peakBytes: last.peakBytes,
        modelBytes: last.peakBytes - last.importedBytes,
        lastLoss: last.losses.at(-1) as number,
      };
    });
    const [own, ...peers] = rows as [Row, ...Row[]];
    const fastest = Math.min(...(answers.get(sides[0] as Side) as Answer[]).flatMap(({ times }) => times)) / 1000;
    const share = (await secondsOfProducts({ ...shape, trained: job.trained }, threads)) / fastest;
    if (peers.length === 0) return [{ ...own, products: { share } }];
    const ratio = own.tokensPerSecond / Math.max(...peers.map((row) => row.tokensPerSecond));
    return [{ ...own, ratio, products: { share, boundRatio: ratio / share } }, ...peers];
  } finally {
    for (const side of sides) side.close();
    await rm(directory, { recursive: true, force: true });
  }
}

export async function run(parameters: readonly string[] = process.argv.slice(3)): Promise<void> {
  const { values } = parseArgs({
    args: [...parameters],
    options: {
      json: { type: "boolean", default: false },
      threads: { type: "string" },
      shape: { type: "string" },
      rounds: { type: "string", default: "4" },
      python: { type: "string" },
    },
  });
  const python = values.python ?? process.env["CONNITO_PYTHON"];
  const chosen = Object.entries(shapes).filter(([title]) => values.shape === undefined || title === values.shape);
  if (chosen.length === 0) throw new Error(`--shape is one of: ${Object.keys(shapes).join("; ")}`);
  const rows: Row[] = [];
  for (const threads of values.threads === undefined ? [1, 2] : [Number(values.threads)]) {
    for (const [title, shape] of chosen) rows.push(...(await compare(title, shape, { threads, rounds: Number(values.rounds), python })));
  }
  if (values.json) {
    process.stdout.write(`${JSON.stringify({ benchmark: "train", rows }, undefined, 2)}\n`);
    return;
  }
  const mebibytes = (bytes: number) => (bytes / 2 ** 20).toFixed(0);
  const right = (heading: string) => ({ heading, align: "right" as const });
  const headings = ["tokens/s", "ratio", "of peak", "products", "ratio at most", "peak MiB", "model MiB", "last loss"].map(right);
  const cells = rows.map((row) => [
    row.shape,
    row.side,
    row.threads,
    Math.round(row.tokensPerSecond),
    row.ratio?.toFixed(2),
    `${(100 * row.ofPeak).toFixed(0)}%`,
    row.products && `${(100 * row.products.share).toFixed(0)}%`,
    row.products?.boundRatio?.toFixed(2),
    mebibytes(row.peakBytes),
    mebibytes(row.modelBytes),
    row.lastLoss.toFixed(4),
  ]);
  process.stdout.write(`${table(["shape", "side", right("threads"), ...headings], cells)}\n`);
  if (python === undefined)
    process.stdout.write("Without --python (an interpreter with torch and safetensors) there is no peer to compare with.\n");
}
