/**
 * How fast the engine trains the demo's model, in tokens a second: all weights (pre-training), and three of eight experts in each layer
 * (a miner's work), with one and two threads. The limit that it is compared with is the machine's own: the rate of one large
 * matrix product in the same runtime, measured just before. Run it alone on a quiet machine: node --import tsx bench/train.ts
 */
import { fileURLToPath } from "node:url";
import { createGraph, input } from "../src/engine/graph/graph.ts";
import { lowerGraph } from "../src/engine/graph/lower.ts";
import { linear } from "../src/engine/graph/operators/matrix.ts";
import { encodeModel } from "../src/engine/onnx/writer.ts";
import { openSession } from "../src/engine/runtime/session.ts";
import { float32Value } from "../src/engine/runtime/value.ts";
import { openTrainer } from "../src/engine/trainer.ts";
import { type Architecture, familyNamed, type TensorSpec } from "../src/model/families/index.ts";

const architecture: Architecture = {
  family: "qwen3_moe",
  vocabularySize: 257,
  hiddenSize: 128,
  layers: 4,
  heads: 4,
  keyValueHeads: 2,
  headDimension: 32,
  intermediateSize: 128,
  denseIntermediateSize: 0,
  expertLayers: [0, 1, 2, 3],
  experts: 8,
  expertsPerToken: 2,
  normalizeTopK: true,
  queryKeyNorm: "head",
  ropeTheta: 10_000,
  rmsNormEpsilon: 1e-6,
  tieEmbeddings: false,
  notComputed: [],
};
const sequenceLength = 128;
const batchSequences = 8;
const optimizer = { learningRate: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.01, clipNorm: 1 };
const warmUpSteps = 5;
const measuredSteps = 40;

const specs = familyNamed(architecture.family).tensors(architecture);
const selections: [string, TensorSpec[]][] = [
  ["all weights", specs],
  ["3 of 8 experts", specs.filter(({ expert }) => expert !== undefined && expert < 3)],
];

const elements = ({ shape }: TensorSpec) => shape.reduce((product, length) => product * length, 1);

/** Floating-point operations of a step, counting matrix products only: forward, gradients of activations, gradients of trained weights. */
function operations(trained: readonly TensorSpec[]): number {
  const { experts, expertsPerToken, layers, heads, headDimension } = architecture;
  const perToken = (chosen: readonly TensorSpec[]) =>
    chosen
      .filter(({ shape, part }) => shape.length === 2 && part !== "embedding")
      .reduce((sum, spec) => sum + elements(spec) * (spec.expert === undefined ? 1 : expertsPerToken / experts), 0);
  const attention = 6 * layers * heads * headDimension * (sequenceLength / 2);
  return sequenceLength * batchSequences * 2 * (2 * perToken(specs) + perToken(trained) + attention);
}

/** Floating-point operations a second of a large product, the best of several. */
async function peak(threads: number): Promise<number> {
  const size = 1024;
  const graph = createGraph();
  const y = linear(input(graph, "x", "float32", [size, size]), input(graph, "w", "float32", [size, size]));
  const session = await openSession(encodeModel(lowerGraph(graph, { y })), { threads });
  const value = () => float32Value([size, size], new Float32Array(size * size).fill(0.5));
  const feeds = { x: value(), w: value() };
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 10; run++) {
    const started = performance.now();
    const results = await session.run(feeds);
    best = Math.min(best, performance.now() - started);
    results["y"]?.dispose();
  }
  session.dispose();
  return (2 * size ** 3) / (best / 1000);
}

function pseudoRandom(): () => number {
  let state = 1;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 8) / 2 ** 24;
  };
}

/** Milliseconds of each measured step, rising. */
async function stepTimes(trained: readonly TensorSpec[], threads: number): Promise<number[]> {
  const random = pseudoRandom();
  const trainer = await openTrainer({
    architecture,
    weights: new Map(
      specs.map((spec) => [
        spec.name,
        Float32Array.from({ length: elements(spec) }, () => (spec.shape.length === 1 ? 1 : (random() - 0.5) * 0.07)),
      ]),
    ),
    trainable: trained.map(({ name }) => name),
    optimizer,
    sequenceLength,
    batchSequences,
    threads,
  });
  const batch = () => Array.from({ length: batchSequences }, () => Int32Array.from({ length: sequenceLength + 1 }, () => random() * 256));
  const times: number[] = [];
  for (let step = 0; step < warmUpSteps + measuredSteps; step++) {
    const sequences = batch();
    const started = performance.now();
    await trainer.step([sequences]);
    if (step >= warmUpSteps) times.push(performance.now() - started);
  }
  trainer.dispose();
  return times.sort((a, b) => a - b);
}

export async function run(): Promise<void> {
  console.log("trained         threads  ms/step (median, best)  tokens/s (median)  GFLOP/s  of a large product's");
  for (const threads of [1, 2]) {
    const limit = await peak(threads);
    for (const [title, trained] of selections) {
      const times = await stepTimes(trained, threads);
      const [best, median] = [times[0] as number, times[times.length >> 1] as number];
      const rate = operations(trained) / (median / 1000);
      const columns = [
        title.padEnd(15),
        String(threads).padStart(7),
        `${median.toFixed(1)}, ${best.toFixed(1)}`.padStart(23),
        Math.round((sequenceLength * batchSequences) / (median / 1000))
          .toString()
          .padStart(18),
        (rate / 1e9).toFixed(1).padStart(8),
        `${((100 * rate) / limit).toFixed(0)}% of ${(limit / 1e9).toFixed(0)}`.padStart(22),
      ];
      console.log(columns.join(" "));
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await run();
