/**
 * One step of the task's inner optimizer on all trained tensors, where they lie: AdamW over chunks of them, or, where the task says so, Muon on each
 * matrix and AdamW on what is none. Either keeps the gradient's running mean `m`; the mean of its square, `v`, has only what AdamW updates.
 */
import { availableParallelism } from "node:os";
import type { FlatTensors } from "./flat-tensors.ts";
import { inLanes } from "./lanes.ts";
import { type MuonOptions, type MuonScalars, muonBytes, muonModel } from "./muon.ts";
import type { OnnxModel } from "./onnx/model.ts";
import { encodeModel } from "./onnx/writer.ts";
import { type AdamWOptions, chunkName, clipFactor, type Quantity, stepScalars, updatedName, updateModel } from "./optimizer.ts";
import { openSession, type Session, type SessionOptions } from "./runtime/session.ts";
import { float32Value, type Value } from "./runtime/value.ts";

export interface OptimizerOptions extends AdamWOptions {
  /** Where it is there, matrices are updated by Muon: with the learning rate, decay and clip of AdamW. */
  readonly muon?: MuonOptions | undefined;
}

type Shapes = ReadonlyMap<string, readonly number[]>;

/** Which tensors are updated value by value, and which as matrices. */
export interface Shared {
  readonly elementwise: Shapes;
  readonly matrices: Shapes;
}

export interface Update {
  /** Changes weight, m and v. `step` counts from 1; the gradient has the global norm `norm` after it was multiplied by `scale`. */
  apply(
    at: { readonly step: number; readonly norm: number; readonly scale: number; readonly learningRate: number },
    state: Readonly<Record<"weight" | "gradient" | "m" | "v", FlatTensors>>,
  ): Promise<void>;
  dispose(): void;
}

export function shareOut(shapes: Shapes, { muon }: OptimizerOptions): Shared {
  const isMatrix = ([, shape]: readonly [string, readonly number[]]) => muon !== undefined && shape.length === 2;
  return {
    elementwise: new Map([...shapes].filter((entry) => !isMatrix(entry))),
    matrices: new Map([...shapes].filter(isMatrix)),
  };
}

/** Matrices that are updated at the same time, a thread each: Node calls out on four. What is left of the threads shares the work of each product. */
const lanesOf = (threads = availableParallelism()) => Math.min(threads, 4);

/** Bytes that the update of matrices computes on the way. */
export function updateBytes(optimizer: OptimizerOptions, { matrices }: Shared, threads?: number): number {
  const { muon } = optimizer;
  if (muon === undefined) return 0;
  return lanesOf(threads) * Math.max(0, ...[...matrices.values()].map((shape) => muonBytes(shape as [number, number], muon)));
}

/** `chunks` are the lengths of those that AdamW walks over, the first of each FlatTensors. */
export async function openUpdate(
  optimizer: OptimizerOptions,
  { chunks, matrices }: { readonly chunks: readonly number[]; readonly matrices: Iterable<readonly number[]> },
  options: SessionOptions,
): Promise<Update> {
  const { threads = availableParallelism() } = options;
  const lanes = lanesOf(threads);
  const sessions: Session[] = [];
  const open = async (model: OnnxModel, shared: SessionOptions) => {
    const session = await openSession(encodeModel(model), shared);
    sessions.push(session);
    return session;
  };
  const dispose = () => {
    for (const session of sessions) session.dispose();
  };
  let elementwise: Session | undefined;
  const byShape = new Map<string, Session>();
  try {
    if (chunks.length > 0) elementwise = await open(updateModel(chunks, optimizer), options);
    for (const shape of matrices) {
      if (byShape.has(String(shape))) continue;
      const model = muonModel(shape as [number, number], optimizer.muon as MuonOptions);
      byShape.set(String(shape), await open(model, { ...options, threads: threads - lanes + 1 }));
    }
  } catch (cause) {
    dispose();
    throw cause;
  }

  return {
    dispose,
    async apply({ learningRate, ...at }, state) {
      if (elementwise !== undefined) {
        const feeds = scalars(stepScalars({ ...optimizer, learningRate }, at));
        const into: Record<string, Value> = {};
        for (const quantity of ["gradient", "weight", "m", "v"] as const) {
          const own = state[quantity].chunks.slice(0, chunks.length);
          Object.assign(feeds, chunked(quantity, own));
          if (quantity !== "gradient") Object.assign(into, chunked(quantity, own, updatedName));
        }
        await elementwise.run(feeds, elementwise.outputs, { into });
      }
      const { muon } = optimizer;
      if (muon === undefined) return;
      const names = Object.keys(state.weight.tensors).filter((name) => state.v.tensors[name] === undefined);
      await inLanes(lanes, names, async (name) => {
        const [gradient, weight, m] = (["gradient", "weight", "m"] as const).map((quantity) => state[quantity].tensors[name]) as [
          Value,
          Value,
          Value,
        ];
        const [rows, columns] = weight.shape as [number, number];
        const numbers: MuonScalars = {
          factor: clipFactor(optimizer, at) * (1 - muon.momentum),
          // An orthogonal matrix has values of root mean square 1 / sqrt(max(rows, columns)).
          stepSize: learningRate * muon.updateSize * Math.sqrt(Math.max(rows, columns)),
          decay: 1 - learningRate * optimizer.weightDecay,
        };
        const session = byShape.get(String(weight.shape)) as Session;
        const into = { "updated.weight": weight, "updated.m": m };
        await session.run({ ...scalars(numbers), gradient, weight, m }, session.outputs, { into });
      });
    },
  };
}

/** Values by the names that the optimizer's models give chunks. */
export function chunked(quantity: Quantity, chunks: readonly Value[], name: typeof chunkName = chunkName): Record<string, Value> {
  return Object.fromEntries(chunks.map((value, index) => [name(quantity, index), value]));
}

function scalars(numbers: object): Record<string, Value> {
  return Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, float32Value([], Float32Array.of(value))]));
}
