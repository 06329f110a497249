/**
 * Training layer by layer, for models that do not fit: the forward pass keeps only what stands between layers, and the backward pass computes each
 * layer again. Weights are loaded a layer at a time, the next one while the last is computed; the trained tensors, their moments and gradients
 * lie in memory as far as there is room, and otherwise in a file. The steps are those of trainer.ts, up to the rounding of sums.
 */
import { ConnitoError } from "../../errors.ts";
import { type Architecture, listWeights } from "../../model/families/index.ts";
import { type Tensors, tensorsOf } from "../../model/tensors.ts";
import { type BatchShape, layOut } from "../decoder/batch.ts";
import { type GradientSums, openGradientSums, sumAndDispose } from "../gradient-sums.ts";
import { keepToPlaces } from "../places.ts";
import { loadLibrary, returnFreedMemory } from "../runtime/library.ts";
import { float32Value, int64Value, type Value } from "../runtime/value.ts";
import { createTurns, type StepResult, stepResult, type Trainer, type TrainingOptions } from "../training.ts";
import { openUpdate, shareOut, type Update } from "../update.ts";
import { type Activations, openActivations, type Scratch } from "./activations.ts";
import { type Kept, layOutLayers, type TrainedLayer } from "./layer-state.ts";
import { createStages, type Stage } from "./stages.ts";

/** What is trained has to lie inside layers. */
export interface LayerTrainerOptions extends TrainingOptions {
  /** The weights of these names, row-major fp32. Asked for a layer at a time, twice in each step; what it gives is dropped two layers later. */
  load(names: readonly string[]): Promise<ReadonlyMap<string, Float32Array>>;
  /** Where what does not fit is kept, and how much may stay in memory: of the trained tensors' state first, then of what stands between layers. */
  readonly scratch: Scratch;
}

export interface LayerTrainer extends Trainer {
  /** Calls `use` with the state, to be read tensor by tensor, between two steps: nothing changes until it ends. */
  inspect<T>(use: (state: { readonly step: number; readonly tensors: Tensors }) => Promise<T>): Promise<T>;
  /** As `restore`, from tensors that are read one at a time. */
  restoreFrom(step: number, tensors: Tensors): Promise<void>;
}

type Weights = ReadonlyMap<string, Float32Array>;

/** Errors: unknown-family, config-not-computable, nothing-trainable, what `load` throws, and those of the runtime. */
export async function openLayerTrainer(options: LayerTrainerOptions): Promise<LayerTrainer> {
  const { architecture, optimizer, scratch, load, places } = options;
  const batch: BatchShape = { sequences: options.batchSequences, positions: options.sequenceLength };
  const rows = batch.sequences * batch.positions;
  const layers = trainedLayers(architecture, options.trainable);
  const lowest = Math.min(...layers.keys());
  const small = { arena: false, ...(options.threads === undefined ? {} : { threads: options.threads }) };
  const stages = createStages({ architecture, batch, ...small });
  const layout = layOutLayers(layers, optimizer);
  await loadLibrary();
  const returnMemory = await returnFreedMemory();
  const state = await layout.open(scratch, load);
  let sums: GradientSums | undefined;
  let update: Update;
  try {
    sums = await openGradientSums(layout.chunks, small);
    const matrices = [...layers.keys()].flatMap((layer) => [...shareOut(layout.shapes("weight", layer), optimizer).matrices.values()]);
    update = await openUpdate(optimizer, { chunks: layout.chunks.slice(0, layout.elementwise), matrices }, small);
  } catch (cause) {
    sums?.dispose();
    stages.dispose();
    await state.close();
    throw cause;
  }
  let boundaries: Activations | undefined;
  let kept = 0;
  let steps = 0;
  const turns = createTurns();

  /** What stands before each layer, for so many micro-batches. */
  const boundariesFor = async (microBatches: number): Promise<Activations> => {
    if (boundaries !== undefined && kept >= microBatches) return boundaries;
    await boundaries?.close();
    kept = microBatches;
    const memoryBytes = Math.max(0, scratch.memoryBytes - state.memoryBytes);
    boundaries = await openActivations(architecture.layers + 1, microBatches, rows * architecture.hiddenSize, { ...scratch, memoryBytes });
    return boundaries;
  };

  /** The stages one after another, each with its weights as they are now; the next one's are loaded meanwhile. */
  const walk = async (order: readonly Stage[], work: (stage: Stage, weights: Weights) => Promise<void>): Promise<void> => {
    const start = (stage: Stage) => {
      const loading = load(stages.namesOf(stage));
      loading.catch(() => undefined);
      return loading;
    };
    let next = start(order[0] as Stage);
    for (const [index, stage] of order.entries()) {
      const loaded = await next;
      const following = order[index + 1];
      if (following !== undefined) next = start(following);
      const own = typeof stage === "number" && layers.has(stage) ? await state.weights(stage) : [];
      await work(stage, new Map([...loaded, ...own]));
      returnMemory();
    }
  };

  const step = async (microBatches: readonly (readonly Int32Array[])[], learningRate: number): Promise<StepResult> => {
    if (microBatches.length === 0) throw new Error("a step needs at least one micro-batch");
    const between = await boundariesFor(microBatches.length);
    const parts = microBatches.map((sequences) => {
      const { tokens, targets } = layOut(sequences, batch, architecture.vocabularySize);
      return { tokens: int64Value([rows], tokens), targets: int64Value([rows], targets) };
    });
    const hidden = async (place: number, part: number) => float32Value([rows, architecture.hiddenSize], await between.read(place, part));
    const keep = async (place: number, part: number, value: Value) => {
      await between.write(place, part, value.float32());
      value.dispose();
    };

    let losses = 0;
    const upwards: readonly Stage[] = ["embedding", ...Array.from({ length: architecture.layers }, (_, layer) => layer), "losses"];
    await walk(upwards, async (stage, weights) => {
      if (stage === "losses") {
        const open = await stages.openBackward(stage, { trained: [], below: true });
        for (const [part, { targets }] of parts.entries()) {
          const results = await open.run({ x: await hidden(architecture.layers, part), targets }, weights, {});
          losses += sumAndDispose(results.losses as Value);
          await keep(architecture.layers, part, results.dx as Value);
        }
        return;
      }
      const open = await stages.open(stage);
      for (const [part, { tokens }] of parts.entries()) {
        const feeds = stage === "embedding" ? { tokens } : { x: await hidden(stage, part) };
        await keep(stage === "embedding" ? 0 : stage + 1, part, await open.run(feeds, weights));
      }
    });

    let squares = 0;
    const downwards = Array.from({ length: architecture.layers - lowest }, (_, index) => architecture.layers - 1 - index);
    await walk(downwards, async (stage, weights) => {
      const layer = stage as number;
      const trained = [...(layers.get(layer)?.keys() ?? [])];
      const open = await stages.openBackward(layer, { trained, below: layer > lowest });
      const flat = () => {
        const values = layout.zeros("gradient");
        return { values, ...layout.over("gradient", layer, values) };
      };
      const gradient = trained.length === 0 ? undefined : flat();
      const further = gradient !== undefined && parts.length > 1 ? flat() : undefined;
      for (const part of parts.keys()) {
        const into = part === 0 ? gradient : further;
        const feeds = { x: await hidden(layer, part), dy: await hidden(layer + 1, part) };
        const { dx } = await open.run(feeds, weights, into?.tensors ?? {});
        if (dx !== undefined) await keep(layer, part, dx);
        if (part > 0 && gradient !== undefined && further !== undefined) await sums.add(gradient.chunks, further.chunks);
      }
      if (gradient === undefined) return;
      squares += await sums.squares(gradient.chunks);
      await state.write("gradient", layer, gradient.values);
    });

    const result = stepResult(steps + 1, { losses, squares, count: parts.length, tokens: parts.length * rows });
    const at = { step: steps + 1, norm: result.gradientNorm, scale: 1 / parts.length, learningRate };
    await turns.update(async () => {
      for (const layer of layers.keys()) await updateLayer(layer, at);
    });
    steps += 1;
    return result;
  };

  const updateLayer = async (layer: number, at: Parameters<Update["apply"]>[0]): Promise<void> => {
    const read = async (kind: Kept) => {
      const values = await state.read(kind, layer);
      return { values, ...layout.over(kind, layer, values) };
    };
    const own = { weight: await read("weight"), m: await read("m"), v: await read("v"), gradient: await read("gradient") };
    const before = places === undefined ? undefined : layout.over("weight", layer, own.weight.values.slice()).tensors;
    await update.apply(at, own);
    for (const [name, base] of Object.entries(before ?? {})) {
      const indices = places?.get(name);
      if (indices !== undefined) keepToPlaces((own.weight.tensors[name] as Value).float32(), base.float32(), indices);
    }
    for (const kind of ["weight", "m", "v"] as const) await state.write(kind, layer, own[kind].values);
  };

  const collect = async (tensors: Tensors) => {
    const all = new Map<string, Float32Array>();
    for (const name of tensors.sizes.keys()) all.set(name, (await tensors.read(name)).slice());
    return all;
  };
  const restoreFrom: LayerTrainer["restoreFrom"] = (step, tensors) =>
    turns.call(async () => {
      await state.restore(tensors, step);
      steps = step;
    });

  return {
    step: (microBatches, { learningRate = optimizer.learningRate } = {}) => turns.call(() => step(microBatches, learningRate)),
    state: () => turns.call(async () => ({ step: steps, tensors: await collect(state.tensors) })),
    weights: () => turns.call(() => collect(state.trained)),
    inspect: (use) => turns.call(() => use({ step: steps, tensors: state.tensors })),
    restore: (saved) => restoreFrom(saved.step, tensorsOf(saved.tensors)),
    restoreFrom,
    dispose: () =>
      turns.close(async () => {
        sums.dispose();
        update.dispose();
        stages.dispose();
        await boundaries?.close();
        await state.close();
      }),
  };
}

/** The tensors to train of each layer that has some, rising, with their shapes. */
function trainedLayers(architecture: Architecture, trainable: readonly string[]): Map<number, TrainedLayer> {
  const wanted = new Set(trainable);
  const layers = new Map<number, Map<string, readonly number[]>>();
  for (const { name, layer, shape } of listWeights(architecture)) {
    if (!wanted.delete(name)) continue;
    if (layer === undefined) throw untrainable(`${name} is in no layer`);
    layers.set(layer, (layers.get(layer) ?? new Map()).set(name, shape));
  }
  if (layers.size === 0) throw untrainable("nothing is to be trained");
  if (wanted.size > 0) throw untrainable(`${[...wanted][0]} is no tensor of ${architecture.family}`);
  return new Map([...layers].sort(([a], [b]) => a - b));
}

function untrainable(reason: string): ConnitoError {
  return new ConnitoError(`cannot train layer by layer: ${reason}`, {
    code: "nothing-trainable",
    exit: "invalidInput",
    hint: "Layer by layer, experts and other tensors of layers can be trained.",
  });
}
