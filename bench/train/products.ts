/**
 * What of a step nobody can take away: the matrix products of one training graph, and the operators of which they are the inside, as ONNX Runtime's own
 * profile times them. With all else free a step would take that long.
 */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { layOut } from "../../src/engine/decoder/batch.ts";
import { targetsInput, tokensInput } from "../../src/engine/decoder/decoder.ts";
import { lowerGraph } from "../../src/engine/graph/lower.ts";
import { encodeModel } from "../../src/engine/onnx/writer.ts";
import { shareSequences } from "../../src/engine/parts.ts";
import { openSession } from "../../src/engine/runtime/session.ts";
import { float32Value, int64Value, type Value } from "../../src/engine/runtime/value.ts";
import { gradientGraph } from "../../src/engine/trainer.ts";
import { type Architecture, listWeights } from "../../src/model/families/index.ts";
import { createRandom, randomSequences } from "../random.ts";

const runs = 10;
const isProduct = /Gemm|MatMul|Attention/;

interface Event {
  readonly cat: string;
  readonly name: string;
  readonly ts: number;
  readonly dur: number;
  readonly args?: { readonly op_name?: string };
}

export interface ProfiledShape {
  readonly architecture: Architecture;
  readonly trained: readonly string[];
  readonly sequenceLength: number;
  readonly batchSequences: number;
}

/** Seconds of the products of one step, the least of several runs. Parts of a batch that are computed at the same time count once. */
export async function secondsOfProducts(
  { architecture, trained, sequenceLength, batchSequences }: ProfiledShape,
  threads: number,
): Promise<number> {
  const { parts, sessionThreads } = shareSequences(batchSequences, threads);
  const batch = { sequences: batchSequences / parts, positions: sequenceLength };
  const { graph, outputs } = gradientGraph(architecture, batch, trained);
  const directory = await mkdtemp(join(tmpdir(), "connito-profile-"));
  const model = encodeModel(lowerGraph(graph, outputs));
  const session = await openSession(model, { threads: sessionThreads, pattern: false, profile: join(directory, "profile") });
  const random = createRandom();
  const feeds: Record<string, Value> = {};
  for (const { name, shape } of listWeights(architecture)) {
    if (!session.inputs.includes(name)) continue;
    const length = shape.reduce((product, one) => product * one, 1);
    feeds[name] = float32Value(
      shape,
      Float32Array.from({ length }, () => (shape.length === 1 ? 1 : (random() / 2 ** 24 - 0.5) * 0.07)),
    );
  }
  const sequences = randomSequences(batch.sequences, sequenceLength, architecture.vocabularySize, random);
  const { tokens, targets } = layOut(sequences, batch, architecture.vocabularySize);
  feeds[tokensInput] = int64Value([tokens.length], tokens);
  feeds[targetsInput] = int64Value([targets.length], targets);
  for (let run = 0; run < runs; run++) for (const value of Object.values(await session.run(feeds))) value.dispose();
  session.dispose();
  const [file] = await readdir(directory);
  const events = JSON.parse(await readFile(join(directory, file as string), "utf8")) as Event[];
  await rm(directory, { recursive: true });
  const kernels = events.filter(
    ({ cat, name, args }) => cat === "Node" && name.endsWith("_kernel_time") && isProduct.test(args?.op_name ?? ""),
  );
  const sums = events
    .filter(({ name }) => name === "model_run")
    .map(({ ts, dur }) => kernels.reduce((sum, kernel) => (kernel.ts >= ts && kernel.ts < ts + dur ? sum + kernel.dur : sum), 0));
  return Math.min(...sums) / 1e6;
}
