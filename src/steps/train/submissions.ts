/** Submissions that this participant made or fetched: one file each under submissions/, with the cycle it belongs to. */

import type { Hash } from "../../protocol/hash.ts";
import { readJson, writeJson } from "../../workspace/files.ts";
import type { Workspace } from "../../workspace/workspace.ts";

export interface StoredSubmission {
  readonly root: Hash;
  readonly cycle: number;
  readonly group: number;
  /** Root of the version it was trained from. */
  readonly base: Hash;
  readonly bytes: number;
  readonly steps: number;
  readonly tokens: number;
  /** Mean training loss of the last steps, nats per token; absent when nothing was trained. */
  readonly loss?: number;
  /** How the time went, where it was measured. */
  readonly timing?: Timing;
}

/** Seconds. */
export interface Timing {
  /** Spent in training steps, those before a restart included. */
  readonly training: number;
  /** From the opening of the train window to its end, or to the last of the steps that were asked for. */
  readonly window: number;
  /** That the trainer took to finish after it was asked to: a program of the operator's writes its result then. */
  readonly finishing: number;
  /** From the end of training to a submission that can be committed. */
  readonly submitting: number;
}

/** How far back it is looked for what a cycle took. */
const rememberedCycles = 16;

export function submissionPath(workspace: Workspace, root: Hash): string {
  return workspace.layout.submission(root);
}

/** What serving a submission needs to know of it. */
export type ServedSubmission = Pick<StoredSubmission, "root" | "cycle" | "bytes">;

/** Notes a submission whose file is in its place, this miner's or a fetched one, so that it can be served. */
export async function noteSubmission(workspace: Workspace, { root, cycle, bytes }: ServedSubmission): Promise<void> {
  await writeJson(`${submissionPath(workspace, root)}.json`, { root, cycle, bytes } satisfies ServedSubmission);
}

/** Records which file is this miner's submission of a cycle. The file itself is already in its place, synced. */
export async function storeSubmission(workspace: Workspace, submission: StoredSubmission): Promise<void> {
  await noteSubmission(workspace, submission);
  await writeJson(workspace.layout.cycle(submission.cycle, "submission.json"), submission);
}

/** This miner's submission of a cycle. */
export async function submissionOf(workspace: Workspace, cycle: number): Promise<StoredSubmission | undefined> {
  return readJson<StoredSubmission>(workspace.layout.cycle(cycle, "submission.json"));
}

/** A stored submission by its root, with the file that holds it. */
export async function findSubmission(workspace: Workspace, root: Hash): Promise<(ServedSubmission & { file: string }) | undefined> {
  const stored = await readJson<ServedSubmission>(`${submissionPath(workspace, root)}.json`);
  return stored && { ...stored, file: submissionPath(workspace, root) };
}

/** What this participant last trained with its time taken, in one of the cycles shortly before this one. */
export async function lastTimed(workspace: Workspace, cycle: number): Promise<(StoredSubmission & { timing: Timing }) | undefined> {
  for (let earlier = cycle - 1; earlier >= Math.max(0, cycle - rememberedCycles); earlier--) {
    const submission = await submissionOf(workspace, earlier);
    if (submission?.timing !== undefined) return { ...submission, timing: submission.timing };
  }
  return undefined;
}
