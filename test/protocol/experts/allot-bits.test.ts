import assert from "node:assert/strict";
import fc from "fast-check";
import { allotBits } from "../../../src/protocol/experts/allot-bits.ts";
import { evenGroups } from "../../../src/protocol/experts/grouping.ts";
import type { RouterStatistics } from "../../../src/protocol/experts/router-statistics.ts";

/** Statistics of which only energies matter here: by domain and layer. */
function energies(domains: readonly { readonly tokens: number; readonly layers: readonly (readonly number[])[] }[]): RouterStatistics {
  return {
    format: "connito/router-statistics/1",
    expertsPerToken: 1,
    domains: domains.map(({ tokens, layers }, index) => ({
      name: `domain ${index}`,
      tokens,
      layers: layers.map((energy, layer) => ({ layer, gate: [...energy], chosen: [...energy], pairs: [], energy: [...energy] })),
    })),
  };
}

const evenLayers = (layers: number, experts: number, groups: number) =>
  Array.from({ length: layers }, (_, layer) => ({ layer, groupOf: evenGroups(experts, groups) }));

const cases = fc.record({
  groups: fc.integer({ min: 2, max: 4 }),
  budget: fc.constantFrom(0, 0.5, 1, 2, 3, 5),
  energy: fc.array(fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 12, maxLength: 12 }), { minLength: 1, maxLength: 3 }),
});

describe("bits of stand-ins", () => {
  it("never take more than the budget of what any group lacks, and leave nothing that would fit", () => {
    fc.assert(
      fc.property(cases, ({ groups, budget, energy }) => {
        const layers = evenLayers(energy.length, 12, groups);
        const allotted = allotBits(energies([{ tokens: 1, layers: energy }]), layers, groups, budget);
        const eighths = (bits: number) => (bits === 0 ? 0 : 8 * bits + 1);
        const left = Array.from({ length: groups }, (_, group) => {
          let [used, lacking] = [0, 0];
          for (const [place, { groupOf }] of layers.entries())
            for (const [expert, other] of groupOf.entries()) {
              if (other === group) continue;
              lacking++;
              used += eighths(allotted[place]?.bits[expert] ?? 0);
            }
          assert.ok(used <= 8 * budget * lacking);
          return 8 * budget * lacking - used;
        });
        for (const [place, { groupOf }] of layers.entries())
          for (const [expert, group] of groupOf.entries()) {
            const bits = allotted[place]?.bits[expert] ?? 0;
            if (bits === 4 || energy[place]?.[expert] === 0) continue;
            const step = bits === 0 ? 17 : 8;
            assert.ok(
              left.some((room, other) => other !== group && room < step),
              `expert ${expert} of layer ${place} could have more`,
            );
          }
      }),
      { numRuns: 100 },
    );
  });

  it("go to experts with more energy first, in whichever layer, and to none that no token reaches", () => {
    fc.assert(
      fc.property(cases, ({ groups, budget, energy }) => {
        const layers = evenLayers(energy.length, 12, groups);
        const allotted = allotBits(energies([{ tokens: 1, layers: energy }]), layers, groups, budget);
        const all = layers.flatMap(({ groupOf }, place) =>
          groupOf.map((group, expert) => ({ group, energy: energy[place]?.[expert] ?? 0, bits: allotted[place]?.bits[expert] ?? 0 })),
        );
        for (const one of all) {
          if (one.energy === 0) assert.equal(one.bits, 0);
          for (const other of all) if (one.group === other.group && one.energy > other.energy) assert.ok(one.bits >= other.bits);
        }
      }),
      { numRuns: 100 },
    );
  });

  it("count an expert by the domain that wants it most, each domain by its own tokens", () => {
    const own = { tokens: 100, layers: [[300, 0, 0, 0]] };
    const long = { tokens: 10_000, layers: [[0, 1000, 0, 70_000]] };
    const [layer] = allotBits(energies([own, long]), evenLayers(1, 4, 2), 2, 2.125);
    // 3, 0.1, 0 and 7 a token: each half has 34 eighths.
    assert.deepEqual(layer, { layer: 0, bits: [4, 0, 0, 4] });
  });

  it("are all that there are where there is room, or where nobody lacks anything", () => {
    const statistics = energies([{ tokens: 1, layers: [[5, 1, 1, 3]] }]);
    assert.deepEqual(allotBits(statistics, evenLayers(1, 4, 2), 2, 5)[0]?.bits, [4, 4, 4, 4]);
    assert.deepEqual(allotBits(statistics, evenLayers(1, 4, 1), 1, 0)[0]?.bits, [4, 4, 4, 4]);
    assert.deepEqual(allotBits(statistics, evenLayers(1, 4, 2), 2, 0)[0]?.bits, [0, 0, 0, 0]);
  });
});
