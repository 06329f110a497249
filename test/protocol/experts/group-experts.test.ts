import assert from "node:assert/strict";
import fc from "fast-check";
import { createExpertManager } from "../../../src/protocol/experts/expert-manager.ts";
import { groupExperts, keptWeight, objectiveOf } from "../../../src/protocol/experts/group-experts.ts";
import { evenGroups } from "../../../src/protocol/experts/grouping.ts";
import { pairPlace, parseRouterStatistics, type RouterStatistics, scoresOf } from "../../../src/protocol/experts/router-statistics.ts";

const objectives = ["affinity", "coactivation"] as const;
const small = fc.integer({ min: 0, max: 40 });

const statistics = fc
  .record({
    size: fc.integer({ min: 1, max: 4 }),
    groups: fc.integer({ min: 1, max: 4 }),
    domains: fc.integer({ min: 1, max: 3 }),
    layers: fc.integer({ min: 1, max: 3 }),
  })
  .chain(({ size, groups, domains, layers }) => {
    const experts = size * groups;
    const list = (length: number) => fc.array(small, { minLength: length, maxLength: length });
    const layer = fc.record({
      gate: list(experts),
      chosen: list(experts),
      pairs: list((experts * (experts - 1)) / 2),
      energy: list(experts),
    });
    const domain = fc.array(layer, { minLength: layers, maxLength: layers });
    return fc.array(domain, { minLength: domains, maxLength: domains }).map((all) => ({
      groups,
      counts: {
        format: "connito/router-statistics/1",
        expertsPerToken: 2,
        domains: all.map((own, index) => ({
          name: `domain ${index}`,
          tokens: 100,
          layers: own.map((counts, place) => ({ layer: 2 * place, ...counts })),
        })),
      } satisfies RouterStatistics,
    }));
  });
const layoutOf = ({ domains }: RouterStatistics) => ({
  layers: (domains[0]?.layers ?? []).map(({ layer, gate }) => ({ layer, experts: gate.length })),
});
const evenLayers = (counts: RouterStatistics, groups: number) =>
  layoutOf(counts).layers.map(({ experts }) => ({ groupOf: evenGroups(experts, groups) }));

/** Every way to split experts into groups of equal size, by brute force; groups in the order of their lowest expert. */
function* partitions(experts: number, groups: number, groupOf: number[] = []): Generator<number[]> {
  if (groupOf.length === experts) return yield groupOf;
  const begun = new Set(groupOf).size;
  for (let group = 0; group < Math.min(groups, begun + 1); group++) {
    if (groupOf.filter((other) => other === group).length < experts / groups) yield* partitions(experts, groups, [...groupOf, group]);
  }
}

describe("grouping experts", () => {
  it("splits every layer into groups of one size, which the expert manager takes", () => {
    fc.assert(
      fc.property(statistics, fc.constantFrom(...objectives), ({ counts, groups }, objective) => {
        const grouping = groupExperts(parseRouterStatistics(counts), groups, objective);
        const manager = createExpertManager(layoutOf(counts), groups, grouping);
        const seen = Array.from({ length: groups }, (_, group) => manager.expertsOf(group));
        for (const [place, { layer, experts }] of layoutOf(counts).layers.entries()) {
          assert.ok(seen.every((own) => own[place]?.experts.length === experts / groups));
          assert.deepEqual(
            seen.flatMap((own) => own[place]?.experts ?? []).sort((a, b) => a - b),
            Array.from({ length: experts }, (_, expert) => expert),
          );
          for (const [group, own] of seen.entries())
            for (const expert of own[place]?.experts ?? []) assert.equal(manager.groupOf(layer, expert), group);
        }
      }),
    );
  });

  it("is never worse than the even split, and no exchange of two experts makes it better", () => {
    fc.assert(
      fc.property(statistics, fc.constantFrom(...objectives), ({ counts, groups }, objective) => {
        const { layers } = groupExperts(counts, groups, objective);
        const reached = objectiveOf(counts, layers, objective);
        assert.ok(Number.isSafeInteger(reached) && reached >= objectiveOf(counts, evenLayers(counts, groups), objective));
        for (const [place, { groupOf }] of layers.entries()) {
          for (let one = 0; one < groupOf.length; one++) {
            for (let other = 0; other < one; other++) {
              const changed = [...groupOf];
              [changed[one], changed[other]] = [groupOf[other] as number, groupOf[one] as number];
              const exchanged = layers.map((layer, index) => (index === place ? { groupOf: changed } : layer));
              assert.ok(objectiveOf(counts, exchanged, objective) <= reached);
            }
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  it("gives the same groups in whatever order the domains stand, and every time", () => {
    fc.assert(
      fc.property(statistics, fc.constantFrom(...objectives), fc.nat(5), ({ counts, groups }, objective, turn) => {
        const turned = {
          ...counts,
          domains: counts.domains.map(
            (_, index) => counts.domains[(index + turn) % counts.domains.length] as (typeof counts.domains)[number],
          ),
        };
        const copy = JSON.parse(JSON.stringify(turned)) as RouterStatistics;
        assert.deepEqual(groupExperts(copy, groups, objective).layers, groupExperts(counts, groups, objective).layers);
      }),
    );
  });

  it("finds the best there is where experts plainly belong together", () => {
    // Experts 0, 3, 5, 6 work for the one domain, and with each other; the others for the other.
    const first = new Set([0, 3, 5, 6]);
    const domain = (name: string, own: (expert: number) => boolean) => ({
      name,
      tokens: 1000,
      layers: [0, 1].map((layer) => {
        const pairs = new Array<number>(28).fill(0);
        for (let one = 0; one < 8; one++)
          for (let other = one + 1; other < 8; other++) pairs[pairPlace(one, other, 8)] = own(one) && own(other) ? 90 + one : 3;
        const gate = Array.from({ length: 8 }, (_, expert) => (own(expert) ? 200_000 : 10_000) + expert);
        return { layer, gate, chosen: gate.map((weight) => Math.floor(weight / 500)), pairs, energy: gate };
      }),
    });
    const counts: RouterStatistics = {
      format: "connito/router-statistics/1",
      expertsPerToken: 2,
      domains: [domain("law", (expert) => first.has(expert)), domain("sea", (expert) => !first.has(expert))],
    };
    for (const objective of objectives) {
      const grouping = groupExperts(counts, 2, objective);
      assert.deepEqual(
        grouping.layers.map(({ groupOf }) => groupOf),
        [0, 1].map(() => [0, 1, 1, 0, 1, 0, 0, 1]),
      );
      const all = [...partitions(8, 2)].map((groupOf) => objectiveOf(counts, [{ groupOf }, { groupOf }], objective));
      assert.equal(objectiveOf(counts, grouping.layers, objective), Math.max(...all));
      const kept = keptWeight(counts, grouping.layers, 2);
      const even = keptWeight(counts, evenLayers(counts, 2), 2);
      assert.deepEqual(
        kept.map(({ domain: name, group }) => [name, group]),
        [
          ["law", 0],
          ["sea", 1],
        ],
      );
      assert.ok(kept.every(({ inGroup, pairsTogether }) => inGroup > 0.94 && pairsTogether > 0.8));
      assert.ok(even.every(({ inGroup, pairsTogether }) => inGroup < 0.55 && pairsTogether < 0.5));
    }
  });

  it("gives groups that serve the same domain the same number in every layer", () => {
    const shares = [
      [90, 80, 5, 5],
      [5, 90, 5, 80],
      [1, 2, 99, 98],
    ];
    const domain = (name: string, mirror: boolean) => ({
      name,
      tokens: 100,
      layers: shares.map((gate, layer) => ({
        layer,
        gate: mirror ? gate.map((value) => 100 - value) : gate,
        chosen: gate,
        pairs: new Array<number>(6).fill(0),
        energy: gate,
      })),
    });
    const counts: RouterStatistics = {
      format: "connito/router-statistics/1",
      expertsPerToken: 2,
      domains: [domain("a", false), domain("b", true)],
    };
    const { layers } = groupExperts(counts, 2, "affinity");
    assert.deepEqual(
      layers.map(({ groupOf }) => groupOf),
      [
        [0, 0, 1, 1],
        [1, 0, 1, 0],
        [1, 1, 0, 0],
      ],
    );
  });

  it("counts scores as ESFT has them", () => {
    const layer = { layer: 0, gate: [500_000, 1_500_000], chosen: [3, 1], pairs: [1], energy: [0, 0] };
    const counts: RouterStatistics = {
      format: "connito/router-statistics/1",
      expertsPerToken: 2,
      domains: [{ name: "a", tokens: 4, layers: [layer] }],
    };
    assert.deepEqual(scoresOf(counts), {
      format: "connito/expert-scores/1",
      tokens: 4,
      layers: [{ layer: 0, gate: [0.125, 0.375], token: [0.375, 0.125] }],
    });
    assert.deepEqual(
      [0, 1, 2].map((other) => pairPlace(3, other, 4)),
      [2, 4, 5],
    );
  });

  it("refuses statistics that contradict themselves, and groupings that do not fit the model", () => {
    const layer = { layer: 0, gate: [1, 2, 3, 4], chosen: [1, 1, 1, 1], pairs: [0, 0, 0, 0, 0, 0], energy: [0, 0, 0, 0] };
    const document = { format: "connito/router-statistics/1", expertsPerToken: 2, domains: [{ name: "a", tokens: 4, layers: [layer] }] };
    const counts = parseRouterStatistics(document);
    const broken = [
      { ...document, domains: [] },
      { ...document, domains: [{ name: "a", tokens: 4, layers: [{ ...layer, pairs: [1] }] }] },
      { ...document, domains: [{ name: "a", tokens: 4, layers: [{ ...layer, gate: [0.5, 1, 1, 1] }] }] },
      { ...document, domains: [{ name: "a", tokens: 4, layers: [layer, layer] }] },
      { ...document, domains: [...document.domains, { name: "b", tokens: 1, layers: [{ ...layer, layer: 1 }] }] },
    ];
    for (const value of broken) assert.throws(() => parseRouterStatistics(value), { code: "router-statistics-invalid" });

    const grouping = groupExperts(counts, 2, "affinity");
    const layout = { layers: [{ layer: 0, experts: 4 }] };
    createExpertManager(layout, 2, grouping);
    const wrong = [
      [0, 0, 0, 1],
      [0, 0, 1, 2],
      [0, 1, 0],
      [0, 1, 0, 1, 0],
    ].map((groupOf) => ({ ...grouping, layers: [{ layer: 0, groupOf }] }));
    for (const value of [...wrong, { ...grouping, layers: [{ layer: 1, groupOf: [0, 0, 1, 1] }] }, { ...grouping, layers: [] }]) {
      assert.throws(() => createExpertManager(layout, 2, value), { code: "grouping-invalid" }, JSON.stringify(value.layers));
    }
  });
});
