import assert from "node:assert/strict";
import fc from "fast-check";
import { chooseScale, domainLosses, gateGroup, improves } from "../../src/protocol/gate.ts";

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

  it("drops the last contributor until the group improves", async () => {
    const tried: string[] = [];
    const outcome = await gateGroup([10, 10], ["a", "b", "c", "d"], async (contributors) => {
      tried.push(contributors.join(""));
      return contributors.length === 2 ? [9, 10] : [8, 11];
    });
    assert.deepEqual(tried, ["abcd", "abc", "ab"]);
    assert.deepEqual(outcome, { contributors: ["a", "b"], losses: [9, 10] });
  });

  it("ends with none, and evaluates nothing for none", async () => {
    let calls = 0;
    const worse = async () => {
      calls += 1;
      return [11];
    };
    assert.deepEqual(await gateGroup([10], ["a", "b"], worse), { contributors: [], losses: [10] });
    assert.equal(calls, 2);
    assert.deepEqual(await gateGroup([10], [], worse), { contributors: [], losses: [10] });
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
