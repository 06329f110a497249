/**
 * The gate (docs/protocol.md, section 9): nothing is merged that does not make the model better. Here are the decisions; how losses
 * come about is the caller's. Losses enter as whole micro-nats, so that the last bits of a floating-point sum, in which machines may
 * differ, seldom decide.
 */
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

/** Every domain has as many sequences as the others, so the sum of the domains' means orders models as their common mean does. */
function total(losses: DomainLosses): number {
  return losses.reduce((sum, loss) => sum + loss, 0);
}

/** True when the candidate's mean loss is lower and no domain's is higher. A loss that is not finite never improves. */
export function improves(base: DomainLosses, candidate: DomainLosses): boolean {
  if (base.length !== candidate.length) throw new Error(`${candidate.length} domains against ${base.length}`);
  return total(candidate) < total(base) && candidate.every((loss, domain) => loss <= (base[domain] as number));
}

/** The index of the candidate (one for each scale, in the task's order) to adopt, or `undefined`: then nothing is merged. */
export function chooseScale(base: DomainLosses, candidates: readonly DomainLosses[]): number | undefined {
  let best: number | undefined;
  candidates.forEach((candidate, index) => {
    if (!improves(base, candidate)) return;
    if (best === undefined || total(candidate) < total(candidates[best] as DomainLosses)) best = index;
  });
  return best;
}

/** Losses of the base and of candidates, measured on the same sequences. */
export interface Measured {
  readonly base: DomainLosses;
  readonly candidates: readonly DomainLosses[];
}

/** The contributors of one group that are tried together, in merge order. */
export interface Tried<Contributor> {
  readonly group: number;
  readonly contributors: readonly Contributor[];
}

/**
 * The fall-back within each group by itself: the step of all contributors is tried, then without the last, and so on to none. Gives who is left
 * of each group. `losses` measures the steps, at the smallest of `merge.scales`, of the groups that are open still; it is asked once a round.
 */
export async function gateGroups<Contributor>(
  groups: readonly (readonly Contributor[])[],
  losses: (tried: readonly Tried<Contributor>[]) => Promise<Measured>,
): Promise<(readonly Contributor[])[]> {
  let open: Tried<Contributor>[] = groups.map((contributors, group) => ({ group, contributors }));
  const passed = groups.map((): readonly Contributor[] => []);
  for (;;) {
    open = open.filter(({ contributors }) => contributors.length > 0);
    if (open.length === 0) return passed;
    const { base, candidates } = await losses(open);
    for (const [place, { group, contributors }] of open.entries())
      if (improves(base, candidates[place] as DomainLosses)) passed[group] = contributors;
    open = open
      .filter(({ group }) => passed[group]?.length === 0)
      .map(({ group, contributors }) => ({ group, contributors: contributors.slice(0, -1) }));
  }
}
