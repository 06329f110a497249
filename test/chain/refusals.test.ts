import assert from "node:assert/strict";
import { RpcFailure } from "../../src/chain/chain-errors.ts";
import { isTaken, type PoolVerdict, poolVerdict, rejectedByPool } from "../../src/chain/refusals.ts";

const failure = (code: number, data?: string): RpcFailure => new RpcFailure(code, "Invalid Transaction", data);

describe("chain/refusals", () => {
  const verdicts: [code: number, data: string | undefined, verdict: PoolVerdict][] = [
    [1010, "Transaction is outdated", "outdated"],
    [1010, "Transaction has an ancient birth block", "outdated"],
    [1010, "Transaction will be valid in the future", "again"],
    [1010, "Transaction has a bad signature", "refused"],
    [1010, "Custom error: 1", "refused"],
    [1011, "Could not validate", "refused"],
    [1012, undefined, "again"],
    [1013, undefined, "known"],
    [1014, undefined, "again"],
    [1015, undefined, "again"],
    [1016, undefined, "again"],
  ];
  for (const [code, data, verdict] of verdicts) {
    it(`sorts ${code} ${data ?? ""} as ${verdict}`, () => {
      assert.equal(poolVerdict(failure(code, data)), verdict);
      assert.equal(isTaken(failure(code, data)), code === 1014 || code === 1015);
    });
  }

  it("explains every code that the pool has, and Subtensor's own by name", () => {
    const explained: [code: number, data: string | undefined, reason: string, hint: RegExp, retryable: boolean][] = [
      [1010, "Transaction has a bad signature", "pool.1010", /invalid/, false],
      [1010, "Inability to pay some fees", "pool.Payment", /TAO/, false],
      [1010, "Custom error: 1", "pool.StakeAmountTooLow", /Stake more/, false],
      [1010, "Custom error: 6", "pool.RateLimitExceeded", /rate limit/, true],
      [1010, "Custom error: 16", "pool.CommitNotFound", /no weights commit/, false],
      [1010, "Custom error: 17", "pool.CommitBlockNotInRevealRange", /epoch/, true],
      [1011, undefined, "pool.1011", /report/, false],
      [1012, undefined, "pool.1012", /banned/, true],
      [1014, undefined, "pool.1014", /same hotkey/, true],
      [1015, undefined, "pool.1015", /same hotkey/, true],
      [1016, undefined, "pool.1016", /full/, true],
    ];
    for (const [code, data, reason, hint, retryable] of explained) {
      const error = rejectedByPool(failure(code, data), "the record");
      assert.deepEqual([error.code, error.exit, error.reason, error.retryable], ["extrinsic-rejected", 31, reason, retryable]);
      assert.match(error.hint, hint);
    }
  });
});
