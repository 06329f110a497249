/**
 * What it costs to score submissions. First: many of them in one streaming pass, against evaluating each from scratch (loading the model, measuring the
 * base, measuring the submission). Then: a model several times larger than the memory that its process may map (prlimit, Linux), its weights and
 * activations passing through from disk; under the same limit, loading the whole of it must fail. Options: --json, --submissions N, --from-scratch N
 * (how many are really evaluated from scratch; their mean is multiplied), --large-layers N (0 leaves the second part out), --limit MEBIBYTES, --threads N.
 */
import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openEvaluator } from "../src/engine/evaluator.ts";
import { createStreamEvaluator } from "../src/engine/layers/stream-evaluator.ts";
import { listWeights } from "../src/model/families/index.ts";
import { table } from "../src/ui/table.ts";
import { randomSequences } from "./random.ts";
import { changedNames, loaderOf, makeModel, perturbed, vocabularySize } from "./score/model.ts";

const sequenceLength = 128;
const sequenceCount = 64;
const batchSequences = 8;
const changedExperts = 3;

interface Many {
  readonly submissions: number;
  readonly streamedSeconds: number;
  /** Of so many submissions that were really evaluated from scratch, as if there had been all. */
  readonly fromScratch: number;
  readonly fromScratchSeconds: number;
  readonly ratio: number;
  /** Largest difference of a loss between the two ways, nats per token: rounding alone. */
  readonly largestDifference: number;
}

interface Large {
  readonly modelBytes: number;
  /** What the process may map to write to, and how many times larger the model is. */
  readonly limitBytes: number;
  readonly times: number;
  readonly candidates: number;
  readonly seconds: number;
  readonly peakBytes: number;
  /** Mapped to write to before and after: what is limited. */
  readonly dataBytesBefore: number;
  readonly dataBytes: number;
  /** How loading the whole model ends under the same limit. */
  readonly whole: string;
}

async function scoreMany(directory: string, submissions: number, fromScratch: number, threads: number): Promise<Many> {
  const checkpoint = await makeModel(join(directory, "many"), { hiddenSize: 128, layers: 6, intermediateSize: 128, experts: 16 });
  const { architecture } = checkpoint;
  const layers = Array.from({ length: architecture.layers }, (_, layer) => layer);
  const sequences = randomSequences(sequenceCount, sequenceLength, vocabularySize);
  const load = await loaderOf(checkpoint);
  const changes = (submission: number) => (layer: number, base: ReadonlyMap<string, Float32Array>) =>
    new Map(changedNames(checkpoint, layer, changedExperts).map((name) => [name, perturbed(base.get(name) as Float32Array, submission)]));

  const streamed = createStreamEvaluator({ architecture, sequenceLength, batchSequences, threads, load });
  let started = performance.now();
  const all = await streamed.losses(
    sequences,
    Array.from({ length: submissions }, (_, submission) => ({ layers, tensors: async (layer, base) => changes(submission)(layer, base) })),
  );
  const streamedSeconds = (performance.now() - started) / 1000;
  streamed.dispose();

  let largestDifference = 0;
  started = performance.now();
  for (let submission = 0; submission < fromScratch; submission++) {
    const weights = await load(listWeights(architecture).map(({ name }) => name));
    const evaluator = await openEvaluator({ architecture, weights, sequenceLength, batchSequences, threads });
    await evaluator.losses(sequences);
    evaluator.replace(new Map(layers.flatMap((layer) => [...changes(submission)(layer, weights)])));
    const losses = await evaluator.losses(sequences);
    evaluator.dispose();
    for (const [index, loss] of losses.entries())
      largestDifference = Math.max(largestDifference, Math.abs(loss - (all.candidates[submission]?.[index] as number)));
  }
  const fromScratchSeconds = (((performance.now() - started) / 1000) * submissions) / fromScratch;
  return { submissions, streamedSeconds, fromScratch, fromScratchSeconds, ratio: fromScratchSeconds / streamedSeconds, largestDifference };
}

async function scoreLarge(directory: string, layers: number, limitBytes: number): Promise<Large> {
  const place = join(directory, "large");
  await makeModel(place, { hiddenSize: 512, layers, intermediateSize: 512, experts: 16 });
  const child = fileURLToPath(new URL("./score/large.ts", import.meta.url));
  const limited = (way: string) => {
    const parameters = [`--data=${limitBytes}`, process.execPath, "--import", "tsx", child, place, way];
    const result = spawnSync("prlimit", parameters, { encoding: "utf8" });
    if (result.error !== undefined) throw new Error(`a limit needs prlimit: ${result.error.message}`);
    return result;
  };
  const { status, stdout, stderr } = limited("streamed");
  if (status !== 0) throw new Error(`the pass did not end under ${limitBytes} bytes: ${stderr.trim()}`);
  const { modelBytes, opened, ...measured } = JSON.parse(stdout) as Omit<Large, "limitBytes"> & { opened: { dataBytes: number } };
  const whole = limited("whole");
  return {
    ...measured,
    modelBytes,
    limitBytes,
    times: modelBytes / limitBytes,
    dataBytesBefore: opened.dataBytes,
    whole:
      whole.status === 0
        ? "fits"
        : (/(?:array buffer )?allocation failed|out of memory/i.exec(whole.stderr)?.[0] ?? `ended by ${whole.signal ?? whole.status}`),
  };
}

export async function run(parameters: readonly string[] = process.argv.slice(3)): Promise<void> {
  const { values } = parseArgs({
    args: [...parameters],
    options: {
      json: { type: "boolean", default: false },
      submissions: { type: "string", default: "32" },
      "from-scratch": { type: "string", default: "4" },
      "large-layers": { type: "string", default: "40" },
      limit: { type: "string", default: "512" },
      threads: { type: "string", default: String(availableParallelism()) },
    },
  });
  const directory = await mkdtemp(join(tmpdir(), "connito-bench-"));
  try {
    const many = await scoreMany(directory, Number(values.submissions), Number(values["from-scratch"]), Number(values.threads));
    const large =
      values["large-layers"] === "0"
        ? undefined
        : await scoreLarge(directory, Number(values["large-layers"]), Number(values.limit) * 2 ** 20);
    if (values.json) {
      process.stdout.write(`${JSON.stringify({ benchmark: "score", many, ...(large && { large }) }, undefined, 2)}\n`);
      return;
    }
    const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
    const rows = [
      [`${many.submissions} submissions in one pass`, `${many.streamedSeconds.toFixed(1)} s`],
      [`each from scratch (${many.fromScratch} measured)`, `${many.fromScratchSeconds.toFixed(1)} s`],
      ["ratio", many.ratio.toFixed(2)],
      ["largest difference of a loss", `${many.largestDifference.toExponential(1)} nats`],
      ...(large === undefined
        ? []
        : [
            ["a large model's weights, fp32", mebibytes(large.modelBytes)],
            ["what its process may map", `${mebibytes(large.limitBytes)}, ${large.times.toFixed(1)} times less`],
            [`base and ${large.candidates} candidates on it, one thread`, `${large.seconds.toFixed(1)} s`],
            ["mapped then", `${mebibytes(large.dataBytes)}, ${mebibytes(large.dataBytesBefore)} before the first layer`],
            ["peak of resident memory", mebibytes(large.peakBytes)],
            ["loading the whole model under that limit", large.whole],
          ]),
    ];
    process.stdout.write(`${table(["what", { heading: "measured", align: "right" }], rows)}\n`);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
