import assert from "node:assert/strict";
import fc from "fast-check";
import { type GroupResult, groupResultMessage, parseGroupResult, settledOutcome } from "../../src/protocol/group-result.ts";
import { toHex } from "../../src/protocol/hash.ts";
import { hash, hotkey, hotkeys } from "./support.ts";

const [a, b, c] = hotkeys(3) as [string, string, string];
const head = { task: hash("task"), cycle: 3, base: hash("base"), group: 1 };
const result = (validator: string, gradient: string | null): GroupResult => ({
  format: "connito/group-result/1",
  ...head,
  validator,
  contributors: gradient === null ? [] : [hotkey("miner")],
  gradient: gradient === null ? null : hash(gradient),
});
const signature = "ab".repeat(64);
const expected = { ...head, validator: a };

describe("result of a group", () => {
  it("comes back from JSON as it was, and is signed over all of it", () => {
    const signed = { result: result(a, "g"), signature };
    assert.deepEqual(parseGroupResult(JSON.parse(JSON.stringify(signed)), expected), signed);
    assert.notEqual(toHex(groupResultMessage(result(a, "g"))), toHex(groupResultMessage(result(b, "g"))));
  });

  it("is refused when it is another's, of another cycle, or does not fit together", () => {
    const wrong: unknown[] = [
      { ...result(a, "g"), cycle: 4 },
      { ...result(a, "g"), group: 0 },
      result(b, "g"),
      { ...result(a, "g"), contributors: [] },
      { ...result(a, null), contributors: [b] },
      { ...result(a, "g"), more: 1 },
    ];
    for (const value of wrong)
      assert.throws(() => parseGroupResult({ result: value, signature }, expected), { code: "group-result-invalid" });
    fc.assert(
      fc.property(fc.anything(), (value) => assert.throws(() => parseGroupResult(value, expected), { code: "group-result-invalid" })),
    );
  });

  it("is settled by more than half of the stake of the group's scorers, those counted that are silent", () => {
    const scorers = [
      { hotkey: a, stake: 5n },
      { hotkey: b, stake: 3n },
      { hotkey: c, stake: 2n },
    ];
    assert.equal(settledOutcome([result(a, "g")], scorers), undefined);
    assert.equal(settledOutcome([result(a, "g"), result(c, "g")], scorers)?.gradient, hash("g"));
    assert.equal(settledOutcome([result(a, "g"), result(c, "g"), result(b, "x")], scorers), undefined);
    assert.equal(settledOutcome([result(b, "x"), result(c, "x")], scorers), undefined);
    assert.deepEqual(settledOutcome([result(b, null), result(a, null)], scorers)?.contributors, []);
    assert.equal(settledOutcome([result(hotkey("stranger"), "g"), result(a, "g")], scorers), undefined);
  });
});
