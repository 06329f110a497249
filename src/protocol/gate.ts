/**
 * The gate (docs/protocol.md, section 9): nothing is merged of which it is not clear, up to an error rate, that it makes the model better. Here are the decisions; how losses
 * come about is the caller's. What is compared is whole micro-nats, so that the last bits of a floating-point sum, in which machines may
 * differ, seldom decide.
 */
import { gainOf, scoreOf } from "./evaluation.ts";
import type { DrawnSequence } from "./held-out.ts";

/** Mean held-out loss of each domain in the task's order, in whole micro-nats per token; NaN where a loss was not finite. */
export type DomainLosses = readonly number[];

/** The mean loss of each domain over its drawn sequences. `losses[i]` belongs to `drawn[i]`, in nats per token. */
export function domainLosses(losses: ArrayLike<number>, drawn: readonly DrawnSequence[], domains: number): DomainLosses {
  const sums = new Array<number>(domains).fill(0);
  const counts = new Array<number>(domains).fill(0);
  if (losses.length !== drawn.length) throw new Error(`${losses.length} losses for ${drawn.length} sequences`);
  drawn.forEach(({ domain }, index) => {
    sums[domain] = (sums[domain] ?? 0) + (losses[index] as number);
    counts[domain] = (counts[domain] ?? 0) + 1;
  });
  return sums.map((sum, domain) => {
    const mean = sum / (counts[domain] as number);
    return Number.isFinite(mean) ? Math.round(1e6 * mean) : Number.NaN;
  });
}

/** What the gate measures on. */
export interface Gate {
  readonly drawn: readonly DrawnSequence[];
  readonly domains: number;
  /** How often a step without effect may pass for one that gains, in one look: the task's `merge.errorRate`. */
  readonly errorRate: number;
}

/** A step as the gate sees it. */
export interface Assessment {
  readonly losses: DomainLosses;
  /** The lower bound of what it gains, in whole micro-nats per token: 0 where that is nothing, a domain gets worse, or a loss is not finite. */
  readonly gain: number;
}

/**
 * Assesses a step by the paired differences of all sequences, with the bound that submissions are scored by: a mean of few sequences falls
 * by chance half of the time, and the luckiest of several steps more often still. Losses are in nats per token, in the order of `drawn`.
 */
export function assess({ drawn, domains, errorRate }: Gate, base: ArrayLike<number>, candidate: ArrayLike<number>): Assessment {
  const before = domainLosses(base, drawn, domains);
  const losses = domainLosses(candidate, drawn, domains);
  // Not so where either is NaN.
  const raisesNone = losses.every((loss, domain) => loss <= (before[domain] as number));
  return { losses, gain: raisesNone ? scoreOf(gainOf(base, candidate, errorRate).lower) : 0 };
}

/** The place of the largest gain (one for each scale, in the task's order; the first of equals), or `undefined` where there is none. */
export function chooseScale(gains: readonly number[]): number | undefined {
  const largest = Math.max(0, ...gains);
  return largest > 0 ? gains.indexOf(largest) : undefined;
}

/** How all groups step together. */
export interface ChosenStep {
  /** The place of its scale in the task's order. */
  readonly place: number;
  /** Whether the momentum that the version has is left behind. */
  readonly fromRest: boolean;
}

/**
 * The step of all groups together: with the momentum that the version has, and where that gains at no scale, from rest; or `undefined`: then nothing is
 * merged. What was learned in cycles past may be what is wrong now, and nothing but a merge would ever correct it. Both are gains at every scale; those from rest
 * matter only where the others are all 0.
 */
export function chooseStep(moving: readonly number[], resting: readonly number[]): ChosenStep | undefined {
  const [place, restingPlace] = [chooseScale(moving), chooseScale(resting)];
  if (place !== undefined) return { place, fromRest: false };
  return restingPlace === undefined ? undefined : { place: restingPlace, fromRest: true };
}

/** The contributors of one group that are tried together, in merge order. */
export interface Tried<Contributor> {
  readonly group: number;
  readonly contributors: readonly Contributor[];
}

/**
 * The fall-back within each group by itself: the step of all contributors is tried, then without the last, and so on to none. Gives who is left
 * of each group. `gains` assesses the steps, from rest and at the smallest of `merge.scales`, of the groups that are open still; it is asked once a round.
 */
export async function gateGroups<Contributor>(
  groups: readonly (readonly Contributor[])[],
  gains: (tried: readonly Tried<Contributor>[]) => Promise<readonly number[]>,
): Promise<(readonly Contributor[])[]> {
  let open: Tried<Contributor>[] = groups.map((contributors, group) => ({ group, contributors }));
  const passed = groups.map((): readonly Contributor[] => []);
  for (;;) {
    open = open.filter(({ contributors }) => contributors.length > 0);
    if (open.length === 0) return passed;
    const found = await gains(open);
    for (const [place, { group, contributors }] of open.entries()) if ((found[place] as number) > 0) passed[group] = contributors;
    open = open
      .filter(({ group }) => passed[group]?.length === 0)
      .map(({ group, contributors }) => ({ group, contributors: contributors.slice(0, -1) }));
  }
}
