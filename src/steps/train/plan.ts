/** What a cycle's training will need of this machine, before anything of it is fetched or begun, and in which way it will be done. */
import { availableMemory } from "node:process";
import { type LayerNeed, type Need, needByLayers, needOfWhole } from "../../engine/plan.ts";
import { loadLibrary } from "../../engine/runtime/library.ts";
import { codecNamed } from "../../model/codecs/index.ts";
import { elementsOf } from "../../model/dtype.ts";
import type { Piece } from "../../model/pieces.ts";
import { pieceName } from "../../model/pieces.ts";
import type { SlicePlan } from "../../model/slice.ts";
import { placeCount } from "../../protocol/places.ts";
import type { Task } from "../../protocol/task.ts";
import type { Context } from "../context.ts";
import { viewCycle } from "../cycle-view.ts";
import type { Membership } from "../membership.ts";
import { type ChosenExperts, chooseExperts } from "./group-experts.ts";

/** All at once, or layer by layer (src/engine/layers/layer-trainer.ts). */
export type Way = "whole" | "layers";

export interface TrainingPlan {
  readonly cycle: number;
  readonly group: number;
  readonly trained: { readonly tensors: number; readonly parameters: number };
  /** Bytes of the slice on the disk; stand-ins are the other groups' experts. */
  readonly disk: SlicePlan["bytes"];
  readonly memory: {
    /** What may be taken: what `--memory` says, or what is free. */
    readonly available: number;
    /** What this process takes before it begins. */
    readonly runtime: number;
    /** Bytes beside that, in each way. */
    readonly whole: Need;
    readonly layers: LayerNeed;
  };
  /** The way that will be taken: all at once where that surely fits. */
  readonly way: Way;
  /** Whether there is room, all at once, for packed copies of frozen matrices, which make it faster. */
  readonly packed: boolean;
  /** Whether the chosen way is expected to fit. */
  readonly fits: boolean;
}

/** A plan is right to within so much: what is said to fit, fits if it takes that much more. */
const margin = 1.15;

/** @throws not-assigned, not-registered, and the exchange's errors */
export async function planCycle(context: Context, membership: Membership, { cycle }: { readonly cycle: number }): Promise<TrainingPlan> {
  const chosen = await chooseExperts(context, membership, await viewCycle(context, membership, cycle));
  return { cycle, ...(await planTraining(context, membership, chosen)) };
}

export async function planTraining(
  { memory, threads }: Pick<Context, "memory" | "threads">,
  { task }: Membership,
  { group, slice, selected }: ChosenExperts,
): Promise<Omit<TrainingPlan, "cycle">> {
  await loadLibrary();
  const runtime = process.memoryUsage.rss();
  const available = memory === undefined ? availableMemory() : Math.max(0, memory - runtime);
  const planned = {
    architecture: slice.architecture,
    trainable: selected.map(pieceName),
    sequenceLength: task.data.sequenceLength,
    batchSequences: task.inner.batchSequences,
    accumulation: task.inner.accumulation,
    optimizer: task.inner,
    threads,
    places: placesIn(task, selected),
    absent: new Set(slice.plan.pieces.filter(({ dtype }) => dtype === "Q0_64").map(pieceName)),
  };
  const fits = ({ total }: Need) => margin * total <= available;
  const roomy = needOfWhole(planned);
  const packed = fits(roomy);
  const whole = packed ? roomy : needOfWhole({ ...planned, packed });
  const layers = needByLayers(planned, available / margin);
  const way: Way = fits(whole) ? "whole" : "layers";
  return {
    group,
    trained: { tensors: selected.length, parameters: selected.reduce((sum, { shape }) => sum + (elementsOf(shape) as number), 0) },
    disk: slice.plan.bytes,
    memory: { available, runtime, whole, layers },
    way,
    packed,
    fits: fits(way === "whole" ? whole : layers),
  };
}

/** How many values of what is trained the task's codec can change. */
function placesIn(task: Task, selected: readonly Piece[]): number {
  if (codecNamed(task.submission.codec).place === undefined) return 0;
  return selected.reduce((sum, { shape }) => sum + placeCount(elementsOf(shape) as number), 0);
}
