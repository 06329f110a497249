/**
 * How validators arrive at one result (docs/protocol.md, section 9): the stake-weighted lower median of their scores, the order in
 * which the accepted are merged, and the vote on the version.
 */
import type { Hash } from "./hash.ts";
import type { Hotkey } from "./hotkey.ts";
import type { ReportEntry, ScoreReport } from "./report.ts";
import { type ChainVerdict, type CommitPlace, compareCommits, isChainStatus } from "./verdict.ts";

/** What the validators say together of one miner. */
export type AgreedScore = ReportEntry;

export interface WeighedReport {
  /** The validator's stake at the cycle's decision block, in rao. */
  readonly stake: bigint;
  readonly report: ScoreReport;
}

/** Micro-nats by which honest scores may differ where they are next to nothing. */
const slack = 100;

/**
 * Whether two validators can both have measured one submission honestly: the larger score is at most twice the smaller plus 100 micro-nats. Machines
 * differ in the last bits of a loss, and so now and then in the stage at which a score is clear; a refusal counts as 0, and `unscored` says nothing.
 */
export function areCompatible(a: Pick<ReportEntry, "status" | "score">, b: Pick<ReportEntry, "status" | "score">): boolean {
  if (a.status === "unscored" || b.status === "unscored") return true;
  return Math.max(a.score, b.score) <= 2 * Math.min(a.score, b.score) + slack;
}

/** Whether a report says of a miner what the chain, which says the same to everybody, does not. `unscored` contradicts nothing. */
export function contradictsChain({ status, root }: Pick<ReportEntry, "status" | "root">, verdict: ChainVerdict): boolean {
  if (status === "unscored") return false;
  if (root !== verdict.root) return true;
  return verdict.status === "to-fetch" ? isChainStatus(status) : status !== verdict.status;
}

/**
 * The reports with what the chain alone says in the place of what contradicts it: who committed and revealed nothing is paid nothing, whoever scored it,
 * and is known to be refused, though nobody said so. Of a commitment that opened, the chain says no more than `unscored`. Whoever is not assigned falls out.
 */
export function heldToChain(reports: readonly WeighedReport[], verdicts: readonly ChainVerdict[]): WeighedReport[] {
  const byMiner = new Map(verdicts.map((verdict) => [verdict.miner, verdict]));
  const held = (entry: ReportEntry): readonly ReportEntry[] => {
    const verdict = byMiner.get(entry.miner);
    if (verdict === undefined) return [];
    const { miner, group, status, root } = verdict;
    if (status !== "to-fetch") return [{ miner, group, status, score: 0, root }];
    return [contradictsChain(entry, verdict) ? { miner, group, status: "unscored", score: 0, root } : entry];
  };
  return reports.map(({ stake, report }) => ({ stake, report: { ...report, entries: report.entries.flatMap(held) } }));
}

/** The miners of whom two reports say what cannot both be true, rising: somebody has to measure them again. */
export function disputedMiners(reports: readonly WeighedReport[]): Hotkey[] {
  return [...entriesByMiner(reports)]
    .filter(([, entries]) => entries.some((one) => entries.some((other) => !areCompatible(one.entry, other.entry))))
    .map(([miner]) => miner)
    .sort();
}

/**
 * One agreed score for each miner that any report names, rising by miner. Reports must be of one task, cycle and base, one a
 * validator (`parseReport` sees to the first). A miner that everybody left `unscored` stays so. `measured` is what a validator found itself of disputed
 * miners: what is not compatible with that does not count, and where nothing is left it stands for itself.
 */
export function agreedScores(reports: readonly WeighedReport[], measured: ReadonlyMap<Hotkey, ReportEntry> = new Map()): AgreedScore[] {
  return [...entriesByMiner(reports)]
    .map(([miner, entries]) => {
      const own = measured.get(miner);
      const left = own === undefined ? entries : entries.filter(({ entry }) => areCompatible(entry, own));
      return own !== undefined && left.length === 0 ? own : agreed(left);
    })
    .sort((a, b) => (a.miner < b.miner ? -1 : 1));
}

function entriesByMiner(reports: readonly WeighedReport[]): Map<Hotkey, WeighedEntry[]> {
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
  return byMiner;
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

/** What a validator's record says of the model, at a cycle's decision block. */
export interface VersionClaim {
  /** The validator's stake, in rao. */
  readonly stake: bigint;
  /** The cycle that the record names. */
  readonly cycle: number;
  /** The version that trains in that cycle, and the one before it. */
  readonly root: Hash;
  readonly previousRoot: Hash;
  /** A version record whose ballot stood before any root was shown: its validator computed the root itself. */
  readonly proven: boolean;
}

export interface CanonicalVersion {
  readonly root: Hash;
  /** What decided: the proven roots of this cycle, or what validators held before it. */
  readonly majority: "root" | "previous";
}

export interface VersionVote {
  /** Absent when nothing has a majority. */
  readonly canonical?: CanonicalVersion;
  /** Stake of the validators heard of in the last cycles, and of those among them that proved a root for this cycle. */
  readonly active: bigint;
  readonly reporting: bigint;
}

/**
 * The version that a cycle trains, from one claim a validator. Active are those whose record is not older than `missedCycles` cycles, or all
 * where none is that new. The root that more than half of the reporting stake proved for this cycle decides, provided that at least half of
 * the active stake reported: few cannot decide for many. Else the old version stands: what more than half of the active stake held before
 * this cycle, or else called the version before.
 */
export function voteOnVersion(claims: readonly VersionClaim[], cycle: number, missedCycles: number): VersionVote {
  const past = claims.filter((claim) => claim.cycle <= cycle);
  const recent = past.filter((claim) => claim.cycle >= cycle - missedCycles);
  const counted = recent.length > 0 ? recent : past;
  const reporters = counted.filter((claim) => claim.proven && claim.cycle === cycle);
  const active = stakeOf(counted);
  const reporting = stakeOf(reporters);
  const root = 2n * reporting >= active ? majority(reporters, (claim) => claim.root) : undefined;
  const canonical = root === undefined ? undefined : ({ root, majority: "root" } as const);
  const held = majority(counted, (claim) => (claim.cycle === cycle ? claim.previousRoot : claim.root));
  const before = held ?? majority(counted, (claim) => claim.previousRoot);
  const previous = before === undefined ? undefined : ({ root: before, majority: "previous" } as const);
  const decided = canonical ?? previous;
  return { active, reporting, ...(decided && { canonical: decided }) };
}

function stakeOf(claims: readonly { readonly stake: bigint }[]): bigint {
  return claims.reduce((sum, { stake }) => sum + stake, 0n);
}

function majority(claims: readonly VersionClaim[], rootOf: (claim: VersionClaim) => Hash): Hash | undefined {
  const tally = new Map<Hash, bigint>();
  for (const claim of claims) tally.set(rootOf(claim), (tally.get(rootOf(claim)) ?? 0n) + claim.stake);
  return [...tally].find(([, stake]) => 2n * stake > stakeOf(claims))?.[0];
}
