/** What a cycle's training by the built-in engine works with: the trainer, the weights that it starts from, and the data in this miner's order. */

import { type LayerTrainer, openLayerTrainer } from "../../engine/layers/layer-trainer.ts";
import { openTrainer } from "../../engine/trainer.ts";
import type { Trainer } from "../../engine/training.ts";
import { pieceName } from "../../model/pieces.ts";
import { leastPlaces } from "../../protocol/own-training.ts";
import type { Task } from "../../protocol/task.ts";
import { sequencesIn } from "../../protocol/training-share.ts";
import { createWalk, type Walk, walkSeed } from "../../protocol/walk.ts";
import { formatBytes } from "../../ui/format.ts";
import type { Context } from "../context.ts";
import type { CycleView } from "../cycle-view.ts";
import type { Membership } from "../membership.ts";
import { sliceLoader, sliceWeights } from "../model-weights.ts";
import type { TaskSequences } from "../task-data.ts";
import { type ChosenExperts, fetchExperts, openTrainingData, placesOf, trainingShares } from "./group-experts.ts";
import { planTraining } from "./plan.ts";

export interface Run {
  readonly experts: ChosenExperts;
  readonly trainer: Trainer | LayerTrainer;
  /** A tensor of the version that is trained from. */
  base(name: string): Promise<Float32Array>;
  readonly walk: Walk;
  /** How many of the walk's places the task wants learned from. */
  readonly asked: number;
  readonly domains: readonly TaskSequences[];
  /** The values that the task's codec can say, where it cannot say all. */
  readonly places: ReadonlyMap<string, Uint32Array> | undefined;
}

/** Fetches what is missing, and opens what a cycle's training needs, in the way that the plan chooses. */
export async function openRun(context: Context, membership: Membership, view: CycleView): Promise<Run> {
  const { task, taskHash } = membership;
  const experts = await fetchExperts(context, membership, view);
  const domains = await openTrainingData(context, membership, experts);
  const miner = context.signer.address;
  const shares = trainingShares(membership, view, experts.group, miner, domains);
  const walk = createWalk(shares, walkSeed(taskHash, view.cycle, miner));
  const asked = leastPlaces(task.evaluation.leastTraining, shares.map(sequencesIn));
  const places = placesOf(membership, { cycle: view.cycle, group: experts.group }, experts.selected);
  const { trainer, base } = await openEngine(context, membership, experts, places);
  const run = { experts, trainer, base, walk, asked, domains, places };
  // What cannot be had is found before the window opens.
  await nextBatch(run, 0, task.inner);
  return run;
}

/** The trainer of the way that the plan chooses, and what reads the weights that it starts from. */
async function openEngine(
  context: Context,
  membership: Membership,
  experts: ChosenExperts,
  places: Run["places"],
): Promise<Pick<Run, "trainer" | "base">> {
  const { task } = membership;
  const { architecture } = experts.slice;
  const options = {
    architecture,
    trainable: experts.selected.map(pieceName),
    optimizer: task.inner,
    sequenceLength: task.data.sequenceLength,
    batchSequences: task.inner.batchSequences,
    threads: context.threads,
    ...(places === undefined ? {} : { places }),
  };
  const { way, packed, fits, memory } = await planTraining(context, membership, experts);
  if (way === "whole") {
    const weights = await sliceWeights(context, experts.slice);
    return { trainer: await openTrainer({ ...options, weights, packed }), base: async (name) => weights.get(name) as Float32Array };
  }
  const [total, free] = [memory.layers.total, memory.available].map(formatBytes);
  context.progress.note(`Training layer by layer: ${total} planned, ${free} free${fits ? "" : ", which may not be enough"}`, {
    event: "plan",
    way,
    fits,
  });
  const load = sliceLoader(context, experts.slice);
  const scratch = { directory: context.workspace.directory, memoryBytes: memory.layers.room };
  return {
    trainer: await openLayerTrainer({ ...options, load, scratch }),
    base: async (name) => (await load([name])).get(name) as Float32Array,
  };
}

/** The micro-batches of one step: the place in the walk follows from the number of the step. */
export async function nextBatch(
  { walk, domains }: Run,
  step: number,
  { batchSequences, accumulation }: Task["inner"],
): Promise<Int32Array[][]> {
  const first = step * batchSequences * accumulation;
  const batches: Int32Array[][] = [];
  for (let micro = 0; micro < accumulation; micro++) {
    const batch: Int32Array[] = [];
    for (let place = first + micro * batchSequences; batch.length < batchSequences; place++) {
      const { domain, index } = walk.at(place);
      batch.push(await (domains[domain] as TaskSequences).read(index));
      const next = walk.shardAfter(place);
      domains[next.domain]?.expect(next.shard);
    }
    batches.push(batch);
  }
  return batches;
}
