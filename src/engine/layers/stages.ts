/**
 * The decoder cut at its layer boundaries: a stage for the embedding, one for each layer, one for the losses. A stage is given its weights when it
 * runs, so that a model passes through memory one layer at a time; layers that compute the same, whatever their weights, share one
 * compiled graph.
 */
import { createHash } from "node:crypto";
import { type Architecture, listWeights, type TensorSpec } from "../../model/families/index.ts";
import type { BatchShape } from "../decoder/batch.ts";
import { decoderLayer, lossesOf, targetsInput, tokensInput } from "../decoder/decoder.ts";
import { openFrame } from "../decoder/frame.ts";
import { declareWeights } from "../decoder/weights.ts";
import { createGraph, type Graph, input, type Tensor } from "../graph/graph.ts";
import { lowerGraph } from "../graph/lower.ts";
import { embed } from "../graph/operators/embedding.ts";
import { encodeModel } from "../onnx/writer.ts";
import { openSession, type Session } from "../runtime/session.ts";
import { float32Value, type Value } from "../runtime/value.ts";

/** The embedding, a layer by its number, or the losses. */
export type Stage = "embedding" | number | "losses";

export interface StageOptions {
  readonly architecture: Architecture;
  readonly batch: BatchShape;
  readonly threads?: number;
}

/** One stage, ready to run. */
export interface OpenStage {
  /** The weights that it reads, by name. */
  readonly names: readonly string[];
  /**
   * Runs on what the previous stage gave ([rows, hidden]; nothing for the embedding), tokens or targets (int64 [rows], where the stage reads
   * them) and weights by name, and gives [rows, hidden], or for the losses [rows]. The result is the caller's to dispose of.
   */
  run(
    feeds: { readonly x?: Value; readonly tokens?: Value },
    weights: ReadonlyMap<string, Float32Array>,
    signal?: AbortSignal,
  ): Promise<Value>;
}

export interface Stages {
  /** The names of the weights that a stage reads. */
  namesOf(stage: Stage): readonly string[];
  /** Compiles what a stage needs, once for all stages that compute the same. Errors: unknown-family, config-not-computable, and those of the runtime. */
  open(stage: Stage): Promise<OpenStage>;
  dispose(): void;
}

const activation = "x";
const result = "y";

export function createStages({ architecture, batch, threads }: StageOptions): Stages {
  const all = listWeights(architecture).filter(({ part }) => part !== undefined);
  const tied = !all.some(({ part }) => part === "head");
  const specsOf = (stage: Stage) => all.filter((spec) => belongs(spec, stage, tied));
  const sessions = new Map<string, Promise<Session>>();

  const open: Stages["open"] = async (stage) => {
    const specs = specsOf(stage);
    const model = encodeModel(stageModel(architecture, batch, stage, specs));
    const key = createHash("sha256").update(model).digest("hex");
    const session = await remember(sessions, key, () => openSession(model, threads === undefined ? {} : { threads }));
    return {
      names: specs.map(({ name }) => name),
      run: async ({ x, tokens }, weights, signal) => {
        const feeds: Record<string, Value> = {};
        if (x !== undefined) feeds[activation] = x;
        if (tokens !== undefined) feeds[stage === "losses" ? targetsInput : tokensInput] = tokens;
        for (const spec of specs) feeds[inputName(spec)] = float32Value(spec.shape, weights.get(spec.name) as Float32Array);
        const outputs = await session.run(feeds, [result], signal === undefined ? {} : { signal });
        return outputs[result] as Value;
      },
    };
  };
  return {
    namesOf: (stage) => specsOf(stage).map(({ name }) => name),
    open,
    dispose: () => {
      for (const session of sessions.values()) session.then((one) => one.dispose()).catch(() => undefined);
      sessions.clear();
    },
  };
}

/** Where the head is the embedding, the losses read that. */
function belongs({ layer, part }: TensorSpec, stage: Stage, tied: boolean): boolean {
  if (typeof stage === "number") return layer === stage;
  if (layer !== undefined) return false;
  return part === "embedding" ? stage === "embedding" || tied : stage === "losses";
}

/** The same for layers that compute the same, so that their models are the same bytes. */
function inputName({ part, expert }: TensorSpec): string {
  return expert === undefined ? `${part}` : `${part} ${expert}`;
}

function stageModel(architecture: Architecture, batch: BatchShape, stage: Stage, specs: readonly TensorSpec[]) {
  const graph = createGraph();
  return lowerGraph(graph, { [result]: stageResult(graph, architecture, batch, stage, specs) });
}

function stageResult(graph: Graph, architecture: Architecture, batch: BatchShape, stage: Stage, specs: readonly TensorSpec[]): Tensor {
  const rows = batch.sequences * batch.positions;
  const weights = declareWeights(graph, architecture, specs, inputName);
  if (stage === "embedding") return embed(weights.of("embedding"), input(graph, tokensInput, "int64", [rows]));
  const x = input(graph, activation, "float32", [rows, architecture.hiddenSize]);
  const frame = openFrame(graph, architecture, batch, weights);
  if (stage === "losses") return lossesOf(x, input(graph, targetsInput, "int64", [rows]), frame);
  return decoderLayer(x, stage, frame).x;
}

function remember<T>(known: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const found = known.get(key);
  if (found !== undefined) return found;
  const made = make();
  known.set(key, made);
  return made;
}
