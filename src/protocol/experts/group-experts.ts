/**
 * Finds groups of experts that belong together, from what the routers did. In each layer it maximises the sum of a weight over all pairs of
 * experts in one group:
 *
 * - *coactivation*: the tokens that chose both. A token then finds as many of its experts as can be in one group.
 * - *affinity*: the sum over domains of the product of both experts' shares of the domain's routed weight. Summed over a group it is
 *   the square of the group's share, so that each domain's weight is drawn into few groups, and ESFT selects from one of them.
 *
 * Groups keep equal sizes: it begins with the even split, and with groups that are grown greedily one by one, exchanges the two experts
 * that gain most until no exchange gains, and keeps the better end. So it is never worse than the even split. All numbers are whole and
 * below 2^53, ties go to the lower index: the same document gives the same groups everywhere, in whatever order domains stand in it.
 *
 * Numbers of groups mean nothing in a layer, but a miner trains one number through all layers: each layer's groups are numbered such that
 * those that serve the same domains have the same number.
 */
import { documentHash } from "../canonical.ts";
import { type ExpertGrouping, evenGroups, type GroupingObjective } from "./grouping.ts";
import { type DomainStatistics, type LayerStatistics, pairPlace, type RouterStatistics } from "./router-statistics.ts";

/** Shares are counted in hundred-thousandths: exact sums of products over layers and domains stay below 2^53. */
const shareUnit = 100_000;

/** The weight of each pair of experts of a layer; symmetric, 0 on the diagonal. */
type Weights = readonly (readonly number[])[];

export function groupExperts(statistics: RouterStatistics, groups: number, objective: GroupingObjective): ExpertGrouping {
  const layers = (statistics.domains[0] as DomainStatistics).layers.map(({ layer }) => layer);
  const found = layers.map((layer, place) => {
    const own = statistics.domains.map((domain) => domain.layers[place] as LayerStatistics);
    const weights = objective === "coactivation" ? pairWeights(own) : affinityWeights(own);
    return { layer, groupOf: bestGroups(weights, groups), shares: own.map(sharesOfLayer) };
  });
  return {
    format: "connito/grouping/1",
    objective,
    statistics: documentHash(statistics),
    layers: numberAlike(found, groups),
  };
}

/** What groupExperts maximises, summed over the layers. */
export function objectiveOf(
  statistics: RouterStatistics,
  layers: readonly { readonly groupOf: readonly number[] }[],
  objective: GroupingObjective,
): number {
  return layers.reduce((sum, { groupOf }, place) => {
    const own = statistics.domains.map((domain) => domain.layers[place] as LayerStatistics);
    return sum + weightInGroups(objective === "coactivation" ? pairWeights(own) : affinityWeights(own), groupOf);
  }, 0);
}

/** How much of a domain's routed weight a grouping keeps together. All shares from 0 to 1. */
export interface KeptWeight {
  readonly domain: string;
  /** The group that gets most of it over all layers, and its share; by chance it would be one of the number of groups. */
  readonly group: number;
  readonly inGroup: number;
  /** The same share in the layer where it is least, and where it is most. */
  readonly leastInLayer: number;
  readonly mostInLayer: number;
  /** Of the pairs of experts that tokens chose together, those within one group. */
  readonly pairsTogether: number;
}

export function keptWeight(
  statistics: RouterStatistics,
  layers: readonly { readonly groupOf: readonly number[] }[],
  groups: number,
): KeptWeight[] {
  return statistics.domains.map((domain) => {
    const byLayer = domain.layers.map(({ gate }, place) => groupSums(gate, layers[place]?.groupOf ?? [], groups));
    const totals = Array.from({ length: groups }, (_, group) => byLayer.reduce((sum, sums) => sum + (sums[group] as number), 0));
    const group = totals.indexOf(Math.max(...totals));
    const shares = byLayer.map((sums) => ratio(sums[group] as number, total(sums)));
    let [together, all] = [0, 0];
    for (const [place, { pairs, gate }] of domain.layers.entries()) {
      const groupOf = layers[place]?.groupOf ?? [];
      for (let one = 0; one < gate.length; one++) {
        for (let other = one + 1; other < gate.length; other++) {
          const count = pairs[pairPlace(one, other, gate.length)] as number;
          all += count;
          if (groupOf[one] === groupOf[other]) together += count;
        }
      }
    }
    return {
      domain: domain.name,
      group,
      inGroup: ratio(totals[group] as number, total(totals)),
      leastInLayer: Math.min(...shares),
      mostInLayer: Math.max(...shares),
      pairsTogether: ratio(together, all),
    };
  });
}

function pairWeights(domains: readonly LayerStatistics[]): Weights {
  return weightsOf(domains, (one, other, experts) => {
    const place = pairPlace(one, other, experts);
    return domains.reduce((sum, { pairs }) => sum + (pairs[place] as number), 0);
  });
}

function affinityWeights(domains: readonly LayerStatistics[]): Weights {
  const shares = domains.map(sharesOfLayer);
  return weightsOf(domains, (one, other) => shares.reduce((sum, share) => sum + (share[one] as number) * (share[other] as number), 0));
}

function weightsOf([first]: readonly LayerStatistics[], weight: (one: number, other: number, experts: number) => number): Weights {
  const experts = first?.gate.length ?? 0;
  return Array.from({ length: experts }, (_, one) =>
    Array.from({ length: experts }, (__, other) => (one === other ? 0 : weight(one, other, experts))),
  );
}

/** Each expert's share of the layer's routed weight, in units. */
function sharesOfLayer({ gate }: LayerStatistics): number[] {
  const sum = total(gate);
  return gate.map((weight) => (sum === 0 ? 0 : Math.floor((weight / sum) * shareUnit)));
}

function bestGroups(weights: Weights, groups: number): number[] {
  const even = exchange(weights, evenGroups(weights.length, groups), groups);
  const grown = exchange(weights, grow(weights, groups), groups);
  return weightInGroups(weights, grown) > weightInGroups(weights, even) ? grown : even;
}

/** One group after another: first the expert with the most weight to all that are left, then always the one with the most to the group. */
function grow(weights: Weights, groups: number): number[] {
  const size = weights.length / groups;
  const groupOf = new Array<number>(weights.length).fill(-1);
  for (let group = 0; group < groups; group++) {
    for (let taken = 0; taken < size; taken++) {
      const wanted = taken === 0 ? -1 : group;
      let [best, most] = [-1, -1];
      for (const [expert, row] of weights.entries()) {
        if (groupOf[expert] !== -1) continue;
        const weight = row.reduce((sum, value, other) => (groupOf[other] === wanted ? sum + value : sum), 0);
        if (weight > most) [best, most] = [expert, weight];
      }
      groupOf[best] = group;
    }
  }
  return groupOf;
}

/** Exchanges the pair of experts that gains most, until none gains. */
function exchange(weights: Weights, start: readonly number[], groups: number): number[] {
  const groupOf = [...start];
  /** The weight of each expert to each group. */
  const to = weights.map((row) => groupSums(row, groupOf, groups));
  for (;;) {
    let [gain, one, other] = [0, -1, -1];
    for (let i = 0; i < groupOf.length; i++) {
      for (let j = i + 1; j < groupOf.length; j++) {
        const [a, b] = [groupOf[i] as number, groupOf[j] as number];
        if (a === b) continue;
        const [toI, toJ] = [to[i] as number[], to[j] as number[]];
        const change =
          (toI[b] as number) -
          (toI[a] as number) +
          (toJ[a] as number) -
          (toJ[b] as number) -
          2 * ((weights[i] as readonly number[])[j] as number);
        if (change > gain) [gain, one, other] = [change, i, j];
      }
    }
    if (gain === 0) return groupOf;
    const [a, b] = [groupOf[one] as number, groupOf[other] as number];
    groupOf[one] = b;
    groupOf[other] = a;
    for (const [expert, sums] of to.entries()) {
      const change = ((weights[expert] as readonly number[])[other] as number) - ((weights[expert] as readonly number[])[one] as number);
      sums[a] = (sums[a] as number) + change;
      sums[b] = (sums[b] as number) - change;
    }
  }
}

function weightInGroups(weights: Weights, groupOf: readonly number[]): number {
  let sum = 0;
  for (const [one, row] of weights.entries())
    for (let other = one + 1; other < row.length; other++) if (groupOf[one] === groupOf[other]) sum += row[other] as number;
  return sum;
}

interface FoundLayer {
  readonly layer: number;
  readonly groupOf: readonly number[];
  /** By domain, the share of each expert. */
  readonly shares: readonly (readonly number[])[];
}

/** Numbers the groups of each layer like those of the layers before that serve the same domains. */
function numberAlike(layers: readonly FoundLayer[], groups: number): ExpertGrouping["layers"] {
  /** By number and domain, what the layers so far have. */
  const served = Array.from({ length: groups }, () => new Array<number>(layers[0]?.shares.length ?? 0).fill(0));
  return layers.map(({ layer, groupOf, shares }, place) => {
    const sums = shares.map((share) => groupSums(share, groupOf, groups));
    const likeness = Array.from({ length: groups }, (_, group) =>
      served.map((domains) => domains.reduce((sum, before, domain) => sum + before * ((sums[domain] as number[])[group] as number), 0)),
    );
    const numbers = place === 0 ? firstComeFirst(groupOf, groups) : match(likeness);
    for (const [domain, own] of sums.entries()) {
      for (const [group, number] of numbers.entries()) {
        const domains = served[number] as number[];
        domains[domain] = (domains[domain] as number) + (own[group] as number);
      }
    }
    return { layer, groupOf: groupOf.map((group) => numbers[group] as number) };
  });
}

/** Groups in the order of their lowest expert. */
function firstComeFirst(groupOf: readonly number[], groups: number): number[] {
  const order = [...new Set(groupOf)];
  return Array.from({ length: groups }, (_, group) => order.indexOf(group));
}

/** Gives each row a column of its own: the largest values first, then exchanges as long as one gains. */
function match(value: readonly (readonly number[])[]): number[] {
  const at = (row: number, column: number) => (value[row] as readonly number[])[column] as number;
  const pairs = value.flatMap((row, index) => row.map((_, column) => [index, column] as const));
  pairs.sort(([a, b], [c, d]) => at(c, d) - at(a, b) || a - c || b - d);
  const columns = new Array<number>(value.length).fill(-1);
  for (const [row, column] of pairs) if (columns[row] === -1 && !columns.includes(column)) columns[row] = column;
  for (let changed = true; changed; ) {
    changed = false;
    for (let one = 0; one < columns.length; one++) {
      for (let other = one + 1; other < columns.length; other++) {
        const [a, b] = [columns[one] as number, columns[other] as number];
        if (at(one, b) + at(other, a) <= at(one, a) + at(other, b)) continue;
        columns[one] = b;
        columns[other] = a;
        changed = true;
      }
    }
  }
  return columns;
}

function groupSums(values: readonly number[], groupOf: readonly number[], groups: number): number[] {
  const sums = new Array<number>(groups).fill(0);
  for (const [expert, value] of values.entries()) {
    const group = groupOf[expert] as number;
    sums[group] = (sums[group] as number) + value;
  }
  return sums;
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
