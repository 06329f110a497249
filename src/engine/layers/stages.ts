/**
 * The decoder cut at its layer boundaries: a stage for the embedding, one for each layer, one for the losses. A stage is given its weights when it
 * runs, so that a model passes through memory one layer at a time; layers that compute the same, whatever their weights, share one
 * compiled graph.
 */
import { createHash } from "node:crypto";
import { type Architecture, listWeights, type TensorSpec } from "../../model/families/index.ts";
import type { BatchShape } from "../decoder/batch.ts";
import { decoderLayer, lossesOf, targetsInput, tokensInput } from "../decoder/decoder.ts";
import type { Experts } from "../decoder/feed-forward.ts";
import { openFrame } from "../decoder/frame.ts";
import { declareWeights } from "../decoder/weights.ts";
import { gradients } from "../graph/gradient.ts";
import { createGraph, type Graph, type GraphNode, input, type Tensor } from "../graph/graph.ts";
import { lowerGraph } from "../graph/lower.ts";
import { add, multiply } from "../graph/operators/elementwise.ts";
import { embed } from "../graph/operators/embedding.ts";
import { mean, reduceSum } from "../graph/operators/reduce.ts";
import { reshape } from "../graph/operators/reshape.ts";
import { encodeModel } from "../onnx/writer.ts";
import { openSession, type Session } from "../runtime/session.ts";
import { float32Value, type Value } from "../runtime/value.ts";

/** The embedding, a layer by its number, or the losses. */
export type Stage = "embedding" | number | "losses";

export interface StageOptions {
  readonly architecture: Architecture;
  readonly batch: BatchShape;
  readonly threads?: number;
  /** False gives memory back after each run. */
  readonly arena?: boolean;
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

/** A stage's backward pass, which computes the stage again: of what went before it needs nothing but x. */
export interface OpenBackward {
  /** The weights that it reads, by name. */
  readonly names: readonly string[];
  /**
   * Runs on the stage's input, and the gradient of its result (a layer) or its targets (the losses). Gives the losses [rows] where it is the losses' stage, and
   * the gradient of x where that was asked for; both are the caller's to dispose of. The trained weights' gradients are written into `into`, by name.
   */
  run(
    feeds: { readonly x: Value; readonly dy?: Value; readonly targets?: Value },
    weights: ReadonlyMap<string, Float32Array>,
    into: Readonly<Record<string, Value>>,
  ): Promise<{ readonly dx?: Value; readonly losses?: Value }>;
}

/** What is to be seen of a layer's experts, by name. */
export type Observe = (experts: Experts) => Readonly<Record<string, Tensor>>;

/** A layer's result, and what was observed; all of it is the caller's to dispose of. */
export interface ObservedStage {
  /** Where what is seen is summed: the shape of each sum, by name. */
  readonly sums: Readonly<Record<string, readonly number[]>>;
  /** To `sums`, if there are such, is added what is seen, and they are what is seen then. */
  run(
    x: Value,
    weights: ReadonlyMap<string, Float32Array>,
    options?: { readonly sums?: Readonly<Record<string, Value>>; readonly signal?: AbortSignal | undefined },
  ): Promise<{ readonly x: Value; readonly seen: Readonly<Record<string, Value>> }>;
}

export interface Stages {
  /** The names of the weights that a stage reads. */
  namesOf(stage: Stage): readonly string[];
  /** Compiles what a stage needs, once for all stages that compute the same. Errors: unknown-family, config-not-computable, and those of the runtime. */
  open(stage: Stage): Promise<OpenStage>;
  /** A layer with experts that also shows something of what they do: `observe` adds it to the layer's graph; `summed` over runs, where it stands in memory. */
  openObserved(layer: number, observe: Observe, summed: boolean): Promise<ObservedStage>;
  /** The same for the backward pass of a layer or the losses, with the gradients of some of its weights and, where `below`, of its input. */
  openBackward(
    stage: Exclude<Stage, "embedding">,
    wanted: { readonly trained: readonly string[]; readonly below: boolean },
  ): Promise<OpenBackward>;
  dispose(): void;
}

const activation = "x";
const result = "y";
const resultGradient = "dy";
const activationGradient = "dx";
const lossesResult = "losses";

export function createStages({ architecture, batch, threads, arena }: StageOptions): Stages {
  const specsOf = (stage: Stage) => stageWeights(architecture, stage);
  const sessions = new Map<string, Promise<Session>>();
  const sessionOf = (model: Uint8Array) => {
    const key = createHash("sha256").update(model).digest("hex");
    const options = { ...(threads === undefined ? {} : { threads }), ...(arena === undefined ? {} : { arena }) };
    return remember(sessions, key, () => openSession(model, options));
  };
  const fed = (specs: readonly TensorSpec[], weights: ReadonlyMap<string, Float32Array>, inputs: readonly string[]) => {
    const feeds: Record<string, Value> = {};
    for (const spec of specs) {
      const name = inputName(spec);
      if (inputs.includes(name)) feeds[name] = float32Value(spec.shape, weights.get(spec.name) as Float32Array);
    }
    return feeds;
  };

  const openBackward: Stages["openBackward"] = async (stage, { trained, below }) => {
    const specs = specsOf(stage);
    const session = await sessionOf(encodeModel(backwardModel(architecture, batch, stage, { specs, trained, below })));
    const names = new Map(specs.map((spec) => [spec.name, `gradient ${inputName(spec)}`]));
    return {
      names: specs.map(({ name }) => name),
      run: async ({ x, dy, targets }, weights, into) => {
        const own = fed(specs, weights, session.inputs);
        const feeds = { ...own };
        if (session.inputs.includes(activation)) feeds[activation] = x;
        if (dy !== undefined && session.inputs.includes(resultGradient)) feeds[resultGradient] = dy;
        if (targets !== undefined) feeds[targetsInput] = targets;
        const targetsOf = Object.fromEntries(trained.map((name) => [names.get(name) as string, into[name] as Value]));
        const { [activationGradient]: dx, [lossesResult]: losses } = await session
          .run(feeds, session.outputs, { into: targetsOf })
          .finally(() => disposeAll(own));
        return { ...(dx === undefined ? {} : { dx }), ...(losses === undefined ? {} : { losses }) };
      },
    };
  };

  const open: Stages["open"] = async (stage) => {
    const specs = specsOf(stage);
    const session = await sessionOf(encodeModel(stageModel(architecture, batch, stage, specs)));
    return {
      names: specs.map(({ name }) => name),
      run: async ({ x, tokens }, weights, signal) => {
        const own = fed(specs, weights, specs.map(inputName));
        const feeds = { ...own };
        if (x !== undefined) feeds[activation] = x;
        if (tokens !== undefined) feeds[stage === "losses" ? targetsInput : tokensInput] = tokens;
        const outputs = await session.run(feeds, [result], signal === undefined ? {} : { signal }).finally(() => disposeAll(own));
        return outputs[result] as Value;
      },
    };
  };
  const openObserved: Stages["openObserved"] = async (layer, observe, summed) => {
    const specs = specsOf(layer);
    const { graph, y, seen } = observedGraph(architecture, batch, layer, { specs, observe });
    const sums = summed ? Object.fromEntries(Object.entries(seen).map(([name, { shape }]) => [name, shape.map(Number)])) : {};
    const session = await sessionOf(encodeModel(lowerGraph(graph, { [result]: y, ...(summed ? addedUp(graph, seen) : seen) })));
    return {
      sums,
      run: async (x, weights, { sums: into = {}, signal } = {}) => {
        const before = Object.fromEntries(Object.entries(into).map(([name, value]) => [sumName(name), value]));
        const own = fed(specs, weights, session.inputs);
        const feeds = { ...own, ...before, [activation]: x };
        const options = { into, ...(signal === undefined ? {} : { signal }) };
        const { [result]: y, ...seen } = await session.run(feeds, session.outputs, options).finally(() => disposeAll(own));
        return { x: y as Value, seen };
      },
    };
  };
  return {
    namesOf: (stage) => specsOf(stage).map(({ name }) => name),
    open,
    openObserved,
    openBackward,
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

function observedGraph(
  architecture: Architecture,
  batch: BatchShape,
  layer: number,
  { specs, observe }: { readonly specs: readonly TensorSpec[]; readonly observe: Observe },
): { readonly graph: Graph; readonly y: Tensor; readonly seen: Readonly<Record<string, Tensor>> } {
  const graph = createGraph();
  const weights = declareWeights(graph, architecture, specs, inputName);
  const x = input(graph, activation, "float32", [batch.sequences * batch.positions, architecture.hiddenSize]);
  const { x: y, experts } = decoderLayer(x, layer, openFrame(graph, architecture, batch, weights));
  if (experts === undefined) throw new Error(`layer ${layer} has no experts`);
  return { graph, y, seen: observe(experts) };
}

const sumName = (name: string) => `sum of ${name}`;

/** Each added to what is fed as its sum so far. */
function addedUp(graph: Graph, seen: Readonly<Record<string, Tensor>>): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(seen).map(([name, tensor]) => [name, add(input(graph, sumName(name), "float32", tensor.shape.map(Number)), tensor)]),
  );
}

interface Backward {
  readonly specs: readonly TensorSpec[];
  readonly trained: readonly string[];
  readonly below: boolean;
}

/** The gradients of the mean of the losses, or of a layer's result times dy. */
function backwardModel(architecture: Architecture, batch: BatchShape, stage: Stage, backward: Backward) {
  const { graph, outputs } = backwardGraph(architecture, batch, stage, backward);
  return lowerGraph(graph, outputs);
}

/** The nodes and results of a stage's backward pass, for who wants to know what it takes. */
export function stageGradients(
  architecture: Architecture,
  batch: BatchShape,
  stage: Exclude<Stage, "embedding">,
  wanted: { readonly trained: readonly string[]; readonly below: boolean },
): { readonly nodes: readonly GraphNode[]; readonly outputs: readonly Tensor[] } {
  const { graph, outputs } = backwardGraph(architecture, batch, stage, { specs: stageWeights(architecture, stage), ...wanted });
  return { nodes: graph.nodes, outputs: Object.values(outputs) };
}

/** The weights that a stage reads. */
export function stageWeights(architecture: Architecture, stage: Stage): TensorSpec[] {
  const all = listWeights(architecture).filter(({ part }) => part !== undefined);
  const tied = !all.some(({ part }) => part === "head");
  return all.filter((spec) => belongs(spec, stage, tied));
}

function backwardGraph(architecture: Architecture, batch: BatchShape, stage: Stage, { specs, trained, below }: Backward) {
  const graph = createGraph();
  const y = stageResult(graph, architecture, batch, stage, specs);
  const inputOf = (name: string) => graph.inputs.find((one) => one.name === name) as Tensor;
  const dy =
    stage === "losses" ? undefined : input(graph, resultGradient, "float32", [batch.sequences * batch.positions, architecture.hiddenSize]);
  const objective = dy === undefined ? mean(y) : reshape(reduceSum(multiply(y, dy), [0, 1]), []);
  const chosen = specs.filter(({ name }) => trained.includes(name)).map(inputName);
  const wanted = [...(below ? [activation] : []), ...chosen];
  const derived = gradients(objective, wanted.map(inputOf));
  const outputs = Object.fromEntries(
    wanted.map((name, index) => [name === activation ? activationGradient : `gradient ${name}`, derived[index] as Tensor]),
  );
  return { graph, outputs: dy === undefined ? { ...outputs, [lossesResult]: y } : outputs };
}

function remember<T>(known: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const found = known.get(key);
  if (found !== undefined) return found;
  const made = make();
  known.set(key, made);
  return made;
}

function disposeAll(values: Readonly<Record<string, Value>>): void {
  for (const value of Object.values(values)) value.dispose();
}
