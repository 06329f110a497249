import assert from "node:assert/strict";
import fc from "fast-check";
import { chooseScale, domainLosses, gateGroups, improves } from "../../src/protocol/gate.ts";

const losses = fc.array(fc.integer({ min: 0, max: 20 }), { minLength: 3, maxLength: 3 });

describe("gate", () => {
  it("adopts only what lowers the mean and raises no domain", () => {
    fc.assert(
      fc.property(losses, losses, (base, candidate) => {
        const mean = (list: number[]) => list.reduce((sum, loss) => sum + loss, 0) / list.length;
        const raises = candidate.some((loss, domain) => loss > base[domain]!);
        assert.equal(improves(base, candidate), mean(candidate) < mean(base) && !raises);
      }),
    );
    assert.equal(improves([10, 10], [10, 10]), false);
    assert.equal(improves([10, 10], [9, 10]), true);
    assert.equal(improves([10, 10], [1, 11]), false);
    assert.equal(improves([10, 10], [Number.NaN, 1]), false);
    assert.throws(() => improves([1, 2], [1]));
  });

  it("chooses the lowest, the earlier of equals, and never one that raises a domain", () => {
    assert.equal(
      chooseScale(
        [10, 10],
        [
          [9, 9],
          [8, 9],
          [9, 8],
        ],
      ),
      1,
    );
    assert.equal(
      chooseScale(
        [10, 10],
        [
          [1, 11],
          [10, 9],
        ],
      ),
      1,
    );
    assert.equal(
      chooseScale(
        [10, 10],
        [
          [10, 10],
          [11, 1],
        ],
      ),
      undefined,
    );
    assert.equal(chooseScale([10, 10], []), undefined);
    fc.assert(
      fc.property(losses, fc.array(losses), (base, candidates) => {
        const chosen = chooseScale(base, candidates);
        const total = (list: readonly number[]) => list.reduce((sum, loss) => sum + loss, 0);
        const allowed = candidates.filter((candidate) => improves(base, candidate));
        if (chosen === undefined) assert.equal(allowed.length, 0);
        else assert.equal(total(candidates[chosen] as number[]), Math.min(...allowed.map(total)));
      }),
    );
  });

  it("drops each group's last contributor until it improves, all open groups in one round", async () => {
    const rounds: string[][] = [];
    const passed = await gateGroups([["a", "b", "c", "d"], ["e"], [], ["f", "g"]], async (tried) => {
      rounds.push(tried.map(({ group, contributors }) => `${group}${contributors.join("")}`));
      const good = (count: number) => (count === 2 ? [9, 10] : [8, 11]);
      return { base: [10, 10], candidates: tried.map(({ contributors }) => good(contributors.length)) };
    });
    assert.deepEqual(rounds, [["0abcd", "1e", "3fg"], ["0abc"], ["0ab"]]);
    assert.deepEqual(passed, [["a", "b"], [], [], ["f", "g"]]);
  });

  it("ends with none, and measures nothing for none", async () => {
    let calls = 0;
    const worse = async (tried: readonly unknown[]) => {
      calls += 1;
      return { base: [10], candidates: tried.map(() => [11]) };
    };
    assert.deepEqual(await gateGroups([["a", "b"]], worse), [[]]);
    assert.equal(calls, 2);
    assert.deepEqual(await gateGroups([[], []], worse), [[], []]);
    assert.equal(calls, 2);
  });

  it("takes a domain's mean over its own sequences in whole micro-nats", () => {
    const drawn = [1, 0, 1, 0].map((domain, index) => ({ domain, index }));
    assert.deepEqual(domainLosses([2, 1, 4, 1.0000014], drawn, 2), [1_000_001, 3_000_000]);
    assert.deepEqual(domainLosses([2, 1, Number.POSITIVE_INFINITY, 1], drawn, 2), [1_000_000, Number.NaN]);
    assert.throws(() => domainLosses([1], drawn, 2));
    // Machines differ in the last bits of a sum; a microscopic difference must not decide whether a domain was raised.
    assert.deepEqual(domainLosses([1 + 1e-9], [{ domain: 0, index: 0 }], 1), domainLosses([1], [{ domain: 0, index: 0 }], 1));
  });
});
