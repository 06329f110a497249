/**
 * One cycle as every participant sees it, from one finalised block: the last before the cycle. Who takes part, which model version
 * is trained, which miner has which group. Two honest participants get the same view, whenever they ask.
 */

import { ConnitoError } from "../errors.ts";
import { type VersionClaim, type VersionVote, voteOnVersion } from "../protocol/agreement.ts";
import { cycleWindow, votingWindows } from "../protocol/clock.ts";
import { ballotHash } from "../protocol/commitment.ts";
import { type Assignment, assignMiners, groupOfMiner } from "../protocol/experts/assignment.ts";
import type { Hash } from "../protocol/hash.ts";
import { seed } from "../protocol/random.ts";
import { type Participants, participantsAt, recordsInWindow, type Validator } from "./chain-records.ts";
import type { Context } from "./context.ts";
import type { Membership } from "./membership.ts";

export interface CycleView {
  readonly cycle: number;
  /** Root of the model version that this cycle trains. */
  readonly base: Hash;
  /** How that version came to stand; absent before any validator has said anything, when the task's base stands. */
  readonly vote?: VersionVote;
  readonly assignment: Assignment;
  readonly participants: Participants;
  /** The block the view was taken at. */
  readonly block: number;
}

/** The block whose state and hash decide the cycle: the last one before it. */
export function viewBlock(membership: Membership, cycle: number): number {
  return cycleWindow(membership.task, cycle).first - 1;
}

/**
 * @throws no-such-cycle for a cycle that has not begun; no-canonical-version when validators disagree without a majority.
 */
export async function viewCycle(context: Context, membership: Membership, cycle: number): Promise<CycleView> {
  const { task, taskHash } = membership;
  const block = viewBlock(membership, cycle);
  const { finalized } = await context.clock.now();
  if (!Number.isSafeInteger(cycle) || cycle < 0 || finalized.number < block) {
    throw new ConnitoError(
      `Cycle ${cycle} does not exist yet: it follows block ${block}, and block ${finalized.number} is the last final one.`,
      {
        code: "no-such-cycle",
        exit: "phaseNotOpen",
        retryable: true,
        hint: "`connito cycle status` shows the current cycle.",
      },
    );
  }
  const at = await context.chain.blockHash(block);
  const participants = await participantsAt(context.chain, context.netuid, task, at);
  const vote = await versionVote(context, membership, cycle, participants);
  const base = vote === undefined ? task.model.root : vote.canonical?.root;
  if (base === undefined) throw noCanonicalVersion(cycle, block);
  const assignment = assignMiners({
    cycle,
    task,
    seed: seed("assignment", taskHash, cycle, at),
    groups: task.experts.groups,
    miners: participants.miners,
  });
  return { cycle, base, ...(vote && { vote }), assignment, participants, block };
}

/** The validators' vote on the version that a cycle trains; undefined before any of them has said anything. */
async function versionVote(
  context: Context,
  membership: Membership,
  cycle: number,
  { validators }: Participants,
): Promise<VersionVote | undefined> {
  const { task, taskHash } = membership;
  const heard = validators.filter(({ record }) => record !== undefined && record.cycle <= cycle);
  if (heard.length === 0) return undefined;
  const ballots = new Map<string, Hash>();
  if (cycle > 0 && heard.some(({ record }) => record?.kind === "version" && record.cycle === cycle)) {
    const { ballot } = votingWindows(task, cycle - 1);
    const at = await context.chain.blockHash(ballot.last);
    for (const { hotkey, record } of await recordsInWindow(context.chain, context.netuid, at, "ballot", cycle, ballot))
      ballots.set(hotkey, record.ballot);
  }
  const proven = (hotkey: string, record: Extract<Validator["record"], { kind: "version" }>): boolean =>
    record.cycle === cycle && ballots.get(hotkey) === ballotHash({ ...record, netuid: task.netuid, taskHash, hotkey });
  const claims = heard.flatMap(({ hotkey, stake, record }): VersionClaim[] => {
    if (record === undefined) return [];
    if (record.kind !== "version") return [{ stake, cycle: record.cycle, root: record.base, previousRoot: record.base, proven: false }];
    return [{ stake, cycle: record.cycle, root: record.root, previousRoot: record.previousRoot, proven: proven(hotkey, record) }];
  });
  return voteOnVersion(claims, cycle, task.assignment.missedCycles);
}

function noCanonicalVersion(cycle: number, block: number): ConnitoError {
  return new ConnitoError(
    `At block ${block} no model version for cycle ${cycle}, nor the one before it, has more than half of the stake.`,
    {
      code: "no-canonical-version",
      exit: "verification",
      retryable: true,
      hint: "Nothing can be trained until validators agree again; the cycle runner waits for the next cycle by itself.",
    },
  );
}

/** @throws not-registered */
export function requireRegistered(view: CycleView, hotkey: string): void {
  if (view.participants.uids.has(hotkey)) return;
  throw new ConnitoError(`${hotkey} was not registered on the subnet at block ${view.block}, before cycle ${view.cycle}.`, {
    code: "not-registered",
    exit: "notAssigned",
    hint: "Register the hotkey on the subnet (`btcli subnets register`); it takes part from the next cycle on.",
  });
}

/**
 * The group that the hotkey is assigned.
 * @throws not-registered, or not-assigned when it is registered but did not count as available.
 */
export function assignedGroup(view: CycleView, hotkey: string): number {
  const group = groupOfMiner(view.assignment, hotkey);
  if (group !== undefined) return group;
  requireRegistered(view, hotkey);
  throw new ConnitoError(
    `${hotkey} is registered but has no group in cycle ${view.cycle}: it is a validator or the owner, or it missed the last cycles.`,
    {
      code: "not-assigned",
      exit: "notAssigned",
      hint: "A miner that missed its last cycles says that it is back through `connito cycle run`, and has a group from the next cycle on.",
    },
  );
}
