/**
 * What training will need, before it begins: counted from the same graphs that will run. Two ways: all at once, or layer by layer, which computes
 * each layer twice and keeps what does not fit in a file.
 */
import { type Architecture, listWeights, type TensorSpec } from "../model/families/index.ts";
import type { BatchShape } from "./decoder/batch.ts";
import { elementCount } from "./flat-tensors.ts";
import { packedBytes, peakBytes } from "./graph/footprint.ts";
import { layOutLayers } from "./layers/layer-state.ts";
import { type Stage, stageGradients, stageWeights } from "./layers/stages.ts";
import { shareSequences } from "./parts.ts";
import { gradientGraph } from "./trainer.ts";
import { type OptimizerOptions, shareOut, updateBytes } from "./update.ts";

export interface PlannedTraining {
  readonly architecture: Architecture;
  readonly trainable: readonly string[];
  readonly optimizer: OptimizerOptions;
  readonly sequenceLength: number;
  readonly batchSequences: number;
  /** Micro-batches of a step. */
  readonly accumulation: number;
  /** Threads of the computation; as many as there are cores where left out. */
  readonly threads?: number;
  /** How many values can change, where not all can (places.ts). */
  readonly places?: number;
  /** Whether frozen matrices are kept packed as well (trainer.ts), all at once; true where left out. */
  readonly packed?: boolean;
  /** Names of experts' tensors without a stand-in, which share zeros. */
  readonly absent?: ReadonlySet<string>;
}

/** Bytes of memory, by what they are for. */
export interface Need {
  /** Frozen and trained weights as they are read, fp32, packed copies, and the places where they can change. */
  readonly weights: number;
  /** Gradients, one for each part of a batch that is computed at the same time, and the optimizer's moments. */
  readonly gradients: number;
  readonly optimizer: number;
  /** What a step computes and keeps on the way. */
  readonly activations: number;
  /** Copies made to write a checkpoint while training goes on. */
  readonly checkpoint: number;
  readonly total: number;
}

export interface LayerNeed extends Need {
  /** Bytes in the scratch file instead of memory. */
  readonly scratch: number;
  /** What of the trained tensors' state, and of what stands between layers, stays in memory: the room that a trainer is to be given for it. */
  readonly room: number;
}

const float32Bytes = 4;
const placeBytes = 4;
/** What the runtime's allocator takes for each byte that is alive: it grows by doubling. Measured by `npm run bench -- plan`. */
const arenaFactor = 1.7;
/** Graphs and compiled sessions, of which there are more where each layer has its own. Measured like that. */
const sessionBytes = { whole: 40 * 2 ** 20, layers: 60 * 2 ** 20 };
/** V8 collects arrays that were dropped when so many bytes have come since it last did. */
const collectedBytes = 64 * 2 ** 20;
const bytesOf = (specs: readonly Pick<TensorSpec, "shape">[]) =>
  specs.reduce((sum, { shape }) => sum + float32Bytes * elementCount(shape), 0);

const present = (specs: readonly TensorSpec[], { absent }: PlannedTraining) => specs.filter(({ name }) => !absent?.has(name));

/** All at once: the ordinary trainer. */
export function needOfWhole(planned: PlannedTraining): Need {
  const { architecture, trainable, accumulation, optimizer, threads } = planned;
  const specs = listWeights(architecture);
  const wanted = new Set(trainable);
  const chosen = specs.filter(({ name }) => wanted.has(name));
  const trained = bytesOf(chosen);
  const shared = shareOut(new Map(chosen.map(({ name, shape }) => [name, shape])), optimizer);
  const moments = trained + bytesOf([...shared.elementwise.values()].map((shape) => ({ shape })));
  const { parts } = shareSequences(planned.batchSequences, threads);
  const part = { ...planned, batchSequences: planned.batchSequences / parts };
  const { graph, outputs } = gradientGraph(architecture, batchOf(part), trainable);
  const frozen = new Set(specs.flatMap(({ name }) => (wanted.has(name) || planned.absent?.has(name) ? [] : [name])));
  const copies = planned.packed === false ? 0 : packedBytes(graph.nodes, Object.values(outputs), frozen);
  const computed = parts * peakBytes(graph.nodes, Object.values(outputs), rowsOfExpert(part));
  return summed({
    // The trained ones are copied, so that the base stays to subtract from.
    weights: bytesOf(present(specs, planned)) + trained + copies + placeBytes * (planned.places ?? 0),
    gradients: trained * (parts + (accumulation > 1 ? 1 : 0)),
    optimizer: moments,
    activations: arenaFactor * (computed + updateBytes(optimizer, shared, threads)) + sessionBytes.whole,
    checkpoint: trained + moments,
  });
}

/** Layer by layer, with `memoryBytes` in all: what is left after the working set holds as much state as it can. */
export function needByLayers(planned: PlannedTraining, memoryBytes: number): LayerNeed {
  const { architecture, accumulation, optimizer, threads } = planned;
  const batch = batchOf(planned);
  const layers = new Map<number, Map<string, readonly number[]>>();
  const wanted = new Set(planned.trainable);
  for (const { name, layer, shape } of listWeights(architecture))
    if (wanted.has(name) && layer !== undefined) layers.set(layer, (layers.get(layer) ?? new Map()).set(name, shape));
  const layout = layOutLayers(layers, optimizer);
  const lowest = Math.min(...layers.keys());
  const order: Stage[] = ["embedding", ...Array.from({ length: architecture.layers }, (_, layer) => layer), "losses"];
  const sizes = order.map((stage) => bytesOf(present(stageWeights(architecture, stage), planned)));
  const largest = Math.max(...layers.keys());
  const measured: Exclude<Stage, "embedding">[] = [...new Set([lowest, largest, architecture.layers - 1])];
  const activations = [...measured, "losses" as const].map((stage) => {
    const trained = typeof stage === "number" ? [...(layers.get(stage)?.keys() ?? [])] : [];
    const { nodes, outputs } = stageGradients(architecture, batch, stage, { trained, below: true });
    return peakBytes(nodes, outputs, rowsOfExpert(planned));
  });
  const boundary = float32Bytes * batch.sequences * batch.positions * architecture.hiddenSize;
  const boundaries = boundary * accumulation * (architecture.layers + 1);
  const { bytes, allBytes } = layout;
  const updates = [...layers.values()].map((shapes) => updateBytes(optimizer, shareOut(shapes, optimizer), threads));
  const places = placeBytes * (planned.places ?? 0);
  const dropped = (of: number) => Math.min(of, collectedBytes);
  // A step computes gradients first, and then updates: one layer after the other, either way.
  const computing = summed({
    // A stage, its trained weights as they are now, the next one that is loaded, and the one before, which is dropped.
    weights: Math.max(...sizes.map((size, index) => size + (sizes[index + 1] ?? 0))) + dropped(Math.max(...sizes)) + bytes.weight + places,
    gradients: bytes.gradient * (accumulation > 1 ? 2 : 1),
    optimizer: 0,
    activations: Math.max(...activations) + 3 * boundary + sessionBytes.layers,
    checkpoint: 0,
  });
  // Where only some places change, a layer's weights before its update are kept as well.
  const own = bytes.weight * (planned.places ? 2 : 1);
  const updating = summed({
    weights: own + dropped(own + bytes.gradient + bytes.m + bytes.v) + places,
    gradients: bytes.gradient,
    optimizer: bytes.m + bytes.v,
    activations: Math.max(...updates) + sessionBytes.layers,
    checkpoint: 0,
  });
  const { total, ...working } = computing.total > updating.total ? computing : updating;
  const left = memoryBytes - total;
  const state = allBytes <= left ? allBytes : 0;
  const between = boundaries <= left - state ? boundaries : 0;
  const gradients = (state * bytes.gradient * layers.size) / allBytes;
  return {
    ...summed({
      ...working,
      gradients: working.gradients + gradients,
      optimizer: working.optimizer + state - gradients,
      activations: working.activations + between,
    }),
    scratch: allBytes - state + boundaries - between,
    room: state + between,
  };
}

const batchOf = ({ batchSequences, sequenceLength }: PlannedTraining): BatchShape => ({
  sequences: batchSequences,
  positions: sequenceLength,
});

/** Tokens that an expert gets: which ones is known when they come; on average all get the same. */
function rowsOfExpert({ architecture, batchSequences, sequenceLength }: PlannedTraining): () => number {
  const rows = (batchSequences * sequenceLength * architecture.expertsPerToken) / Math.max(1, architecture.experts);
  return () => rows;
}

function summed(need: Omit<Need, "total">): Need {
  return { ...need, total: Object.values(need).reduce((sum, bytes) => sum + bytes, 0) };
}
