/**
 * How validators arrive at one result (docs/protocol.md, section 9): the stake-weighted lower median of their scores, the order in
 * which the accepted are merged, and the root that more than half of the reporting stake names.
 */
import type { Hash } from "./hash.ts";
import type { Hotkey } from "./hotkey.ts";
import type { VersionRecord } from "./records.ts";
import type { ReportEntry, ScoreReport } from "./report.ts";
import { type CommitPlace, compareCommits } from "./verdict.ts";

/** What the validators say together of one miner. */
export type AgreedScore = ReportEntry;

export interface WeighedReport {
  /** The validator's stake at the cycle's decision block, in rao. */
  readonly stake: bigint;
  readonly report: ScoreReport;
}

/**
 * One agreed score for each miner that any report names, rising by miner. Reports must be of one task, cycle and base, one a
 * validator (`parseReport` sees to the first). A miner that everybody left `unscored` stays so.
 */
export function agreedScores(reports: readonly WeighedReport[]): AgreedScore[] {
  const first = reports[0]?.report;
  const of = (report: ScoreReport) => `${report.task} ${report.cycle} ${report.base}`;
  if (first !== undefined && reports.some(({ report }) => of(report) !== of(first))) throw new Error("reports of different cycles");
  if (new Set(reports.map(({ report }) => report.validator)).size !== reports.length) throw new Error("two reports by one validator");

  const byMiner = new Map<Hotkey, WeighedEntry[]>();
  for (const { stake, report } of reports) {
    for (const entry of report.entries) {
      const entries = byMiner.get(entry.miner) ?? [];
      byMiner.set(entry.miner, entries);
      entries.push({ stake, validator: report.validator, entry });
    }
  }
  return [...byMiner.values()].map(agreed).sort((a, b) => (a.miner < b.miner ? -1 : 1));
}

interface WeighedEntry {
  readonly stake: bigint;
  readonly validator: Hotkey;
  readonly entry: ReportEntry;
}

/** Entries by score, then validator: the first at which the stake so far, doubled, reaches the total. */
function agreed(entries: readonly WeighedEntry[]): AgreedScore {
  const inOrder = [...entries].sort((a, b) => a.entry.score - b.entry.score || (a.validator < b.validator ? -1 : 1));
  const scored = inOrder.filter(({ entry }) => entry.status !== "unscored");
  const counted = scored.length > 0 ? scored : inOrder;
  const total = counted.reduce((sum, { stake }) => sum + stake, 0n);
  let soFar = 0n;
  for (const { stake, entry } of counted) {
    soFar += stake;
    if (2n * soFar >= total) return entry;
  }
  throw new Error("nobody reported on the miner");
}

/**
 * Who is merged, by group and in merge order: the accepted by falling agreed score (ties: the earlier commit), at most `contributors`.
 * Throws when an accepted miner has no commit, which cannot be in one chain.
 */
export function mergeOrder(input: {
  readonly agreed: readonly AgreedScore[];
  readonly commits: readonly CommitPlace[];
  readonly groups: number;
  readonly contributors: number;
}): AgreedScore[][] {
  const places = new Map(input.commits.map((commit) => [commit.hotkey, commit]));
  const placeOf = (miner: Hotkey): CommitPlace => {
    const place = places.get(miner);
    if (place === undefined) throw new Error(`${miner} is accepted and has no commit`);
    return place;
  };
  return Array.from({ length: input.groups }, (_, group) =>
    input.agreed
      .filter((entry) => entry.status === "accepted" && entry.group === group)
      .sort((a, b) => b.score - a.score || compareCommits(placeOf(a.miner), placeOf(b.miner)))
      .slice(0, input.contributors),
  );
}

export interface WeighedVersion {
  /** The stake of the validator whose record this is, in rao. */
  readonly stake: bigint;
  readonly record: VersionRecord;
}

export interface CanonicalVersion {
  readonly root: Hash;
  /** Whether the stake agreed on the new root, or only on the one before. */
  readonly majority: "root" | "previous";
}

/**
 * The version that a cycle trains, from the version records of validators, one each. Those that name the newest cycle up to this one
 * count: the root with more than half of their stake, else the previous root with more than half, else `undefined`. Where there are
 * none the task's base stands, which is the caller's to say.
 */
export function canonicalRoot(records: readonly WeighedVersion[], cycle: number): CanonicalVersion | undefined {
  const newest = records.reduce((most, { record }) => (record.cycle <= cycle ? Math.max(most, record.cycle) : most), 0);
  const counted = records.filter(({ record }) => record.cycle === newest);
  const root = majority(counted.map(({ stake, record }) => [record.root, stake]));
  if (root !== undefined) return { root, majority: "root" };
  const previous = majority(counted.map(({ stake, record }) => [record.previousRoot, stake]));
  return previous === undefined ? undefined : { root: previous, majority: "previous" };
}

function majority(votes: readonly (readonly [Hash, bigint])[]): Hash | undefined {
  const total = votes.reduce((sum, [, stake]) => sum + stake, 0n);
  const tally = new Map<Hash, bigint>();
  for (const [root, stake] of votes) tally.set(root, (tally.get(root) ?? 0n) + stake);
  return [...tally].find(([, stake]) => 2n * stake > total)?.[0];
}
