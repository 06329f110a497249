import assert from "node:assert/strict";
import fc from "fast-check";
import { parseDuration, parseShare, parseTao } from "../../src/cli/quantities.ts";

describe("quantities", () => {
  it("read durations with their unit, and nothing without one", () => {
    assert.deepEqual(["250ms", "12s", "1.5s", "5min", "1h", "3 s"].map(parseDuration), [250, 12_000, 1_500, 300_000, 3_600_000, 3_000]);
    for (const text of ["", "12", "s", "-1s", "1e3s", "1 day", "1s2"]) assert.throws(() => parseDuration(text), { code: "usage", exit: 2 });
  });

  it("read shares from 0 to 1", () => {
    const read = (text: string) => parseShare(text, "--late");
    assert.deepEqual(["0", "0.25", "0.333333333333333", "1", "1.0"].map(read), [0, 0.25, 0.333333333333333, 1, 1]);
    for (const text of ["", "2", "1.5", "-0.1", ".5", "20%", "1e-1", "abc"])
      assert.throws(() => read(text), { code: "usage", message: `--late ${JSON.stringify(text)} is not a share.` });
  });

  it("read TAO to the last of nine decimals", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (rao) => {
        assert.equal(parseTao(`${rao / 1_000_000_000n}.${String(rao % 1_000_000_000n).padStart(9, "0")}`), rao);
      }),
    );
    assert.deepEqual(["0", "1000", "0.5"].map(parseTao), [0n, 1_000_000_000_000n, 500_000_000n]);
    for (const text of ["", "1.", ".5", "-1", "1,000", "1.0000000001", "1e3", "0x1"])
      assert.throws(() => parseTao(text), { code: "usage" });
  });
});
