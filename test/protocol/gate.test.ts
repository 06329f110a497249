import assert from "node:assert/strict";
import fc from "fast-check";
import { gainOf } from "../../src/protocol/evaluation.ts";
import { assess, chooseScale, chooseStep, domainLosses, gateGroups } from "../../src/protocol/gate.ts";

const sequences = 24;
const drawn = Array.from({ length: sequences }, (_, index) => ({ domain: index % 2, index }));
const gate = { drawn, domains: 2, errorRate: 0.01 };
const nats = () => fc.array(fc.double({ min: 1, max: 4, noNaN: true }), { minLength: sequences, maxLength: sequences });

describe("gate", () => {
  it("says a gain only of what the bound is sure of and no domain pays for", () => {
    fc.assert(
      fc.property(nats(), nats(), fc.double({ min: 0, max: 3, noNaN: true }), (base, other, better) => {
        const candidate = other.map((loss) => loss - better);
        const { losses, gain } = assess(gate, base, candidate);
        const before = domainLosses(base, drawn, 2);
        assert.deepEqual(losses, domainLosses(candidate, drawn, 2));
        const { lower } = gainOf(base, candidate, 0.01);
        const raised = losses.some((loss, domain) => loss > before[domain]!);
        assert.equal(gain, raised || lower <= 0 ? 0 : Math.floor(1e6 * lower));
      }),
    );
  });

  it("sees no gain in nothing, in what is not finite, in luck, and in one domain's fall that another pays for", () => {
    const base = drawn.map(({ index }) => 2 + (index % 5) / 8);
    const minus = (by: (index: number) => number) => base.map((loss, index) => loss - by(index));
    assert.equal(assess(gate, base, base).gain, 0);
    const everywhere = minus(() => 1 / 128);
    assert.equal(assess(gate, base, everywhere).gain, 7812);
    assert.equal(
      assess(
        gate,
        base,
        minus((index) => (index === 3 ? Number.NaN : 0.01)),
      ).gain,
      0,
    );
    assert.equal(
      assess(
        gate,
        base,
        minus((index) => (index === 3 ? Number.NEGATIVE_INFINITY : 0.01)),
      ).gain,
      0,
    );
    const ofNaN = base.map((loss, index) => (index === 0 ? Number.NaN : loss));
    assert.equal(
      assess(
        gate,
        ofNaN,
        minus(() => 0.01),
      ).gain,
      0,
    );
    // The mean of both domains falls; by one sequence of each.
    assert.equal(
      assess(
        gate,
        base,
        minus((index) => (index < 2 ? 0.1 : 0)),
      ).gain,
      0,
    );
    assert.equal(
      assess(
        gate,
        base,
        minus((index) => (index % 2 === 0 ? 0.1 : -0.001)),
      ).gain,
      0,
    );
    assert.throws(() => assess(gate, base, [1]));
  });

  it("chooses the largest gain, the first of equals, and nothing where there is none", () => {
    assert.equal(chooseScale([3, 5, 4]), 1);
    assert.equal(chooseScale([3, 5, 5]), 1);
    assert.equal(chooseScale([0, 0]), undefined);
    assert.equal(chooseScale([]), undefined);
  });

  it("steps from rest where the momentum gains at no scale, and only there", () => {
    assert.deepEqual(chooseStep([0, 1], [9, 9]), { place: 1, fromRest: false });
    assert.deepEqual(chooseStep([0, 0], [0, 2]), { place: 1, fromRest: true });
    assert.equal(chooseStep([0, 0], [0, 0]), undefined);
    assert.equal(chooseStep([], []), undefined);
  });

  it("drops each group's last contributor until it improves, all open groups in one round", async () => {
    const rounds: string[][] = [];
    const passed = await gateGroups([["a", "b", "c", "d"], ["e"], [], ["f", "g"]], async (tried) => {
      rounds.push(tried.map(({ group, contributors }) => `${group}${contributors.join("")}`));
      return tried.map(({ contributors }) => (contributors.length === 2 ? 1 : 0));
    });
    assert.deepEqual(rounds, [["0abcd", "1e", "3fg"], ["0abc"], ["0ab"]]);
    assert.deepEqual(passed, [["a", "b"], [], [], ["f", "g"]]);
  });

  it("ends with none, and measures nothing for none", async () => {
    let calls = 0;
    const worse = async (tried: readonly unknown[]) => {
      calls += 1;
      return tried.map(() => 0);
    };
    assert.deepEqual(await gateGroups([["a", "b"]], worse), [[]]);
    assert.equal(calls, 2);
    assert.deepEqual(await gateGroups([[], []], worse), [[], []]);
    assert.equal(calls, 2);
  });

  it("takes a domain's mean over its own sequences in whole micro-nats", () => {
    const four = [1, 0, 1, 0].map((domain, index) => ({ domain, index }));
    assert.deepEqual(domainLosses([2, 1, 4, 1.0000014], four, 2), [1_000_001, 3_000_000]);
    assert.deepEqual(domainLosses([2, 1, Number.POSITIVE_INFINITY, 1], four, 2), [1_000_000, Number.NaN]);
    assert.throws(() => domainLosses([1], four, 2));
    // Machines differ in the last bits of a sum; a microscopic difference must not decide whether a domain was raised.
    assert.deepEqual(domainLosses([1 + 1e-9], [{ domain: 0, index: 0 }], 1), domainLosses([1], [{ domain: 0, index: 0 }], 1));
  });
});
