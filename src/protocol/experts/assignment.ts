/**
 * Level 1 of selection (docs/protocol.md, section 5): miners are shared out over groups so that loads differ by at most one, and a
 * miner keeps its group while that holds, because moving costs it a download.
 */
import { cycleWindow } from "../clock.ts";
import { type Hash, hashFields, hashToBytes } from "../hash.ts";
import { type Hotkey, publicKeyOf } from "../hotkey.ts";
import type { Task } from "../task.ts";

/** A miner of the subnet as the chain shows it at the block before the cycle's first. */
export interface Candidate {
  readonly hotkey: Hotkey;
  readonly uid: number;
  /** The block at which it registered. */
  readonly registeredAt: number;
  /** What its last commit or reveal record says, if it has one. */
  readonly lastRecord?: { readonly cycle: number; readonly group: number } | undefined;
}

export interface Assignment {
  readonly cycle: number;
  readonly seed: Hash;
  /** The hotkeys of each group, sorted. */
  readonly groups: readonly (readonly Hotkey[])[];
  /** Miners that missed too many cycles, sorted; they train again after registering or committing anew. */
  readonly unavailable: readonly Hotkey[];
}

/**
 * A record that names this cycle or a later one proves nothing about an earlier one: anyone can write a number far ahead and would
 * count as available for ever.
 */
function isAvailable(candidate: Candidate, cycle: number, task: Pick<Task, "cycle" | "assignment">): boolean {
  const oldest = cycle - task.assignment.missedCycles;
  if (oldest <= 0) return true;
  if (candidate.registeredAt >= cycleWindow(task, oldest).first) return true;
  const last = candidate.lastRecord?.cycle;
  return last !== undefined && last >= oldest && last < cycle;
}

/** The group in a candidate's last record, if that is a group of the task. */
function previousGroup({ lastRecord }: Candidate, groups: number): number | undefined {
  return lastRecord !== undefined && lastRecord.group < groups ? lastRecord.group : undefined;
}

export function assignMiners(input: {
  readonly cycle: number;
  readonly task: Pick<Task, "cycle" | "assignment">;
  readonly seed: Hash;
  readonly groups: number;
  readonly miners: readonly Candidate[];
}): Assignment {
  const { cycle, groups } = input;
  const seedBytes = hashToBytes(input.seed);
  if (new Set(input.miners.map(({ hotkey }) => hotkey)).size !== input.miners.length) throw new Error("a miner is listed twice");

  const ranked = input.miners
    .filter((candidate) => isAvailable(candidate, cycle, input.task))
    .map((candidate) => ({
      hotkey: candidate.hotkey,
      previous: previousGroup(candidate, groups),
      rank: hashFields("connito/rank/1", seedBytes, publicKeyOf(candidate.hotkey)),
    }))
    .sort((a, b) => (a.rank < b.rank ? -1 : 1));

  const capacity = capacities(ranked, groups);
  const members: Hotkey[][] = Array.from({ length: groups }, () => []);
  const membersOf = (group: number) => members[group] as Hotkey[];
  const free = (group: number) => (capacity[group] as number) - membersOf(group).length;

  const movers: Hotkey[] = [];
  for (const { hotkey, previous } of ranked) {
    if (previous !== undefined && free(previous) > 0) membersOf(previous).push(hotkey);
    else movers.push(hotkey);
  }
  for (const hotkey of movers) {
    let emptiest = 0;
    for (let group = 1; group < groups; group++) if (free(group) > free(emptiest)) emptiest = group;
    membersOf(emptiest).push(hotkey);
  }

  const placed = new Set(ranked.map(({ hotkey }) => hotkey));
  const others = input.miners.map(({ hotkey }) => hotkey).filter((hotkey) => !placed.has(hotkey));
  return { cycle, seed: input.seed, groups: members.map((group) => group.sort()), unavailable: others.sort() };
}

/** How many miners each group takes. The places left over by an even share go to the groups that had the most miners before. */
function capacities(ranked: readonly { previous: number | undefined }[], groups: number): number[] {
  const before = new Array<number>(groups).fill(0);
  for (const { previous } of ranked) if (previous !== undefined) before[previous] = (before[previous] as number) + 1;
  const order = before.map((count, group) => ({ count, group })).sort((a, b) => b.count - a.count || a.group - b.group);
  const share = Math.floor(ranked.length / groups);
  const capacity = new Array<number>(groups).fill(share);
  for (const { group } of order.slice(0, ranked.length % groups)) capacity[group] = share + 1;
  return capacity;
}

/** The group a hotkey is assigned to, or `undefined`. */
export function groupOfMiner(assignment: Assignment, hotkey: Hotkey): number | undefined {
  const group = assignment.groups.findIndex((members) => members.includes(hotkey));
  return group < 0 ? undefined : group;
}
