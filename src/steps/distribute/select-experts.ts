/**
 * Level 2, ESFT: within a group, the experts that the task's domains use. The owner measures every expert once, on the base model over
 * domain tokens; the task names the measurement by hash, so that everyone selects the same experts from the same numbers. Anyone who
 * has the model can measure again and compare.
 */

import { readSequences } from "../../data/text.ts";
import type { ObservedSample } from "../../engine/layers/observe-layers.ts";
import { routerStatistics } from "../../engine/router-statistics.ts";
import type { Checkpoint } from "../../model/checkpoint.ts";
import type { IndexedCheckpoint } from "../../model/index-checkpoint.ts";
import { readPieceFrom } from "../../model/pieces.ts";
import { weightLoader } from "../../model/weights.ts";
import type { ExpertScores, SelectedExperts } from "../../protocol/experts/esft.ts";
import { parseExpertScores, selectForGroup } from "../../protocol/experts/esft.ts";
import type { ExpertManager } from "../../protocol/experts/expert-manager.ts";
import type { RouterStatistics } from "../../protocol/experts/router-statistics.ts";
import { formatCount } from "../../ui/format.ts";
import type { Context } from "../context.ts";
import { peerSources, provideObject } from "../fetch.ts";
import type { Membership } from "../membership.ts";

/** Tokens that the measurement is drawn from when the owner does not say. The paper samples 131,072. */
export const defaultSampleTokens = 131_072;

/** What experts are measured on, by domain. */
export type Sample = readonly { readonly name: string; readonly sequences: readonly Int32Array[] }[];

/** How many sequences of each domain make up the sample: equal shares. */
export function sampleShare(domains: number, sequenceLength: number, sampleTokens: number = defaultSampleTokens): number {
  return Math.max(1, Math.floor(sampleTokens / sequenceLength / domains));
}

/** The sample of texts that lie here: each from its beginning, in whole sequences. */
export async function sampleTexts(input: {
  readonly files: readonly string[];
  readonly tokenizer: Uint8Array;
  readonly sequenceLength: number;
  readonly sampleTokens: number;
}): Promise<Sample> {
  const { files, tokenizer, sequenceLength } = input;
  const maximumSequences = sampleShare(files.length, sequenceLength, input.sampleTokens);
  const texts = await Promise.all(files.map((file) => readSequences({ file, tokenizer, sequenceLength, maximumSequences })));
  return texts.map(({ sequences }, index) => ({ name: files[index] as string, sequences }));
}

/** A checkpoint and what its experts are measured on. */
export interface MeasuredModel {
  readonly checkpoint: Checkpoint;
  readonly indexed: IndexedCheckpoint;
  readonly sample: Sample;
  readonly sequenceLength: number;
  readonly threads: number;
  /** Where what stands between layers goes if it does not fit. */
  readonly scratchDirectory: string;
  readonly signal: AbortSignal;
}

/** Bytes of activations that stay in memory; more go to a file in the scratch directory. */
const activationMemory = 512 * 2 ** 20;

/** The same as the engine wants it: weights are read a layer at a time. */
export function observedSample({ checkpoint, indexed, sample, scratchDirectory, ...how }: MeasuredModel): ObservedSample {
  const { architecture } = checkpoint;
  const readPiece = readPieceFrom((hash) => indexed.locations.get(hash));
  return {
    ...how,
    architecture,
    load: weightLoader({ pieces: indexed.manifest.pieces, readPiece, architecture }),
    domains: sample,
    scratch: { directory: scratchDirectory, memoryBytes: activationMemory },
  };
}

/** Runs the routers over the sample, a layer of the model at a time, and counts what they chose. */
export async function measureExperts(measured: MeasuredModel, progress: Context["progress"]): Promise<RouterStatistics> {
  progress.start("Measuring experts on the domains", measured.checkpoint.architecture.layers);
  const onProgress = (done: number) => progress.update(done, "layers");
  const statistics = await routerStatistics({ ...observedSample(measured), onProgress });
  progress.succeed(`Experts measured on ${formatCount(statistics.domains.reduce((sum, { tokens }) => sum + tokens, 0))} tokens`);
  return statistics;
}

/** The task's measurement, fetched if need be. */
export async function taskScores(context: Context, membership: Membership): Promise<ExpertScores> {
  const hash = membership.task.experts.selection.scores;
  await provideObject(context, await peerSources(context, membership.task), { hash, what: "the task's expert scores" });
  return parseExpertScores(JSON.parse(Buffer.from(await context.workspace.objects.read(hash)).toString("utf8")));
}

/** The experts that miners of the group train, by layer. */
export async function selectExperts(
  context: Context,
  membership: Membership,
  manager: ExpertManager,
  group: number,
): Promise<SelectedExperts> {
  return selectForGroup(await taskScores(context, membership), manager, group, membership.task.experts.selection);
}
