/** Where a participant stands: in the chain's cycle, and with its own steps in it. Reads only; nothing is fetched or sent. */

import { ConnitoError } from "../errors.ts";
import { phaseAt, windowOf } from "../protocol/clock.ts";
import { groupOfMiner } from "../protocol/experts/assignment.ts";
import { readJson } from "../workspace/files.ts";
import { type Participants, participantsAt } from "./chain-records.ts";
import type { Context } from "./context.ts";
import { type CycleView, viewCycle } from "./cycle-view.ts";
import { differingRoots } from "./distribute/version-news.ts";
import { findReport } from "./evaluate/reports.ts";
import type { lookForTask, Membership } from "./membership.ts";
import { submissionOf } from "./train/submissions.ts";

export interface StepState {
  readonly step: string;
  readonly done: boolean;
  /** Blocks in which the step counts. */
  readonly first: number;
  readonly last: number;
  /** Not done, and its last block has passed. */
  readonly missed: boolean;
}

export interface CycleStatus {
  readonly block: number;
  readonly finalized: number;
  /** Hash of the subnet's task; absent while its owner has published none. */
  readonly taskHash?: string;
  /** The task's name; absent while nobody delivers its document. */
  readonly task?: string;
  /** Absent without a task, and before the task's first block. */
  readonly cycle?: number;
  readonly phase?: string;
  /** Blocks left in the phase, the current one included. */
  readonly blocksLeft?: number;
  readonly role: "owner" | "validator" | "miner" | "unregistered";
  readonly group?: number;
  /** Root of the version that the cycle trains. */
  readonly base?: string;
  /** How validators voted on it; absent before any of them has said anything. */
  readonly vote?: VoteStatus;
  readonly steps: readonly StepState[];
  /** Steps that can still be done in this cycle, in order. */
  readonly missing: readonly string[];
}

export interface VoteStatus {
  /** `root`: validators proved it for this cycle; `previous`: the old version stands, without a majority or a quorum for a new one; `none`. */
  readonly decided: "root" | "previous" | "none";
  /** Stake of the validators heard of lately, and of those that proved a root for this cycle. */
  readonly activeStake: bigint;
  readonly reportingStake: bigint;
  /** Validators that named another root for this cycle. */
  readonly differing: readonly string[];
}

/** @throws what reading the chain throws. */
export async function cycleStatus(
  context: Context,
  { taskHash, membership }: Awaited<ReturnType<typeof lookForTask>>,
): Promise<CycleStatus> {
  const task = membership?.task;
  const heads = await context.clock.now();
  const hotkey = context.signer.address;
  const participants = await participantsAt(context.chain, context.netuid, task, heads.finalized.hash);
  const facts = {
    block: heads.best,
    finalized: heads.finalized.number,
    ...(taskHash === undefined ? {} : { taskHash }),
    ...(task && { task: task.name }),
  };
  const position = task && phaseAt(task, heads.best);
  if (membership === undefined || position === undefined) return { ...facts, role: roleOf(participants, hotkey), steps: [], missing: [] };
  const { cycle, phase, blocksLeft } = position;
  let undecided = false;
  const view = await viewCycle(context, membership, cycle).catch((error: unknown) => {
    undecided = error instanceof ConnitoError && error.code === "no-canonical-version";
    return undefined;
  });
  const role = roleOf(view?.participants ?? participants, hotkey);
  const group = view && groupOfMiner(view.assignment, hotkey);
  const steps = await stepStates(context, membership, cycle, role, heads.best);
  return {
    ...facts,
    cycle,
    phase,
    blocksLeft,
    role,
    ...(group === undefined ? {} : { group }),
    ...(view && { base: view.base }),
    ...voteStatus(view, undecided),
    steps,
    missing: steps.filter((step) => !step.done && !step.missed).map(({ step }) => step),
  };
}

function voteStatus(view: CycleView | undefined, undecided: boolean): { readonly vote?: VoteStatus } {
  if (undecided) return { vote: { decided: "none", activeStake: 0n, reportingStake: 0n, differing: [] } };
  if (view?.vote === undefined) return {};
  const { canonical, active, reporting } = view.vote;
  const differing = differingRoots(view).map(({ hotkey }) => hotkey);
  return { vote: { decided: canonical?.majority ?? "none", activeStake: active, reportingStake: reporting, differing } };
}

function roleOf(participants: Participants, hotkey: string): CycleStatus["role"] {
  if (participants.owner === hotkey) return "owner";
  if (participants.validators.some((validator) => validator.hotkey === hotkey)) return "validator";
  return participants.uids.has(hotkey) ? "miner" : "unregistered";
}

async function stepStates(
  { workspace, signer }: Context,
  { task }: Membership,
  cycle: number,
  role: CycleStatus["role"],
  block: number,
): Promise<StepState[]> {
  const { journal } = workspace;
  const state = (step: string, phase: Parameters<typeof windowOf>[2], done: boolean): StepState => {
    const { first, last } = windowOf(task, cycle, phase);
    return { step, first, last, done, missed: !done && block > last };
  };
  if (role === "miner") {
    return [
      state("train", "train", (await submissionOf(workspace, cycle)) !== undefined),
      state("commit", "commit", journal.find(`commit/${cycle}`).effect !== undefined),
      state("reveal", "reveal", journal.find(`reveal/${cycle}`).effect !== undefined),
    ];
  }
  if (role === "validator") {
    return [
      state("score", "score", (await findReport(workspace, cycle, signer.address)) !== undefined),
      state("merge", "merge", (await readJson(workspace.layout.cycle(cycle, "merge.json"))) !== undefined),
    ];
  }
  return [];
}
