import assert from "node:assert/strict";
import fc from "fast-check";
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatMicroNats,
  formatNats,
  formatRuns,
  formatTao,
  shortAddress,
  shortHash,
} from "../../src/ui/format.ts";

describe("format", () => {
  it("writes bytes in binary units with three digits", () => {
    const cases: [number | bigint, string][] = [
      [0, "0 B"],
      [1023, "1023 B"],
      [1024, "1.00 KiB"],
      [10_235, "10.0 KiB"],
      [102_400, "100 KiB"],
      [1.5 * 2 ** 20, "1.50 MiB"],
      [2n ** 40n, "1.00 TiB"],
      [2n ** 62n, "4096 PiB"],
    ];
    for (const [bytes, text] of cases) assert.equal(formatBytes(bytes), text);
  });

  it("writes durations in the unit that suits them, without ever showing 60 of the smaller one", () => {
    const cases: [number, string][] = [
      [0, "0 ms"],
      [999, "999 ms"],
      [999.9, "1.0 s"],
      [12_340, "12.3 s"],
      [59_949, "59.9 s"],
      [59_960, "1 min 00 s"],
      [245_000, "4 min 05 s"],
      [3_599_900, "1 h 00 min"],
      [7_380_000, "2 h 03 min"],
    ];
    for (const [milliseconds, text] of cases) assert.equal(formatDuration(milliseconds), text);
    fc.assert(fc.property(fc.nat(10_000_000), (milliseconds) => assert.doesNotMatch(formatDuration(milliseconds), /\b60(\.0)? (s|min)/)));
  });

  it("writes scores and losses in nats", () => {
    assert.deepEqual([12_345, 0, -1].map(formatMicroNats), ["+0.012345", "+0.000000", "-0.000001"]);
    assert.deepEqual([3.21856, Number.NaN].map(formatNats), ["3.2186", "NaN"]);
  });

  it("shortens hashes and addresses, and leaves short texts whole", () => {
    assert.equal(shortHash("3822b3a08f194462d006973abfb950e14a5ce3b2ba24d22470d83929ab2e0b2f"), "3822b3a08f…");
    assert.equal(shortHash("3822b3"), "3822b3");
    assert.equal(shortAddress("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"), "5Grwva…GKutQY");
    assert.equal(shortAddress("//Alice"), "//Alice");
  });

  it("writes rao as TAO without losing a digit", () => {
    assert.deepEqual([0n, 1n, 1_000_000_000n, 1_234_500_000_000n, -500_000_000n].map(formatTao), [
      "0 TAO",
      "0.000000001 TAO",
      "1 TAO",
      "1,234.5 TAO",
      "-0.5 TAO",
    ]);
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (rao) => {
        const [whole = "", fraction = ""] = formatTao(rao).replace(" TAO", "").replaceAll(",", "").split(".");
        assert.equal(BigInt(whole + fraction.padEnd(9, "0")), rao);
      }),
    );
  });

  it("groups the digits of counts", () => {
    assert.deepEqual([7, 1_000, 30_532_122_624n].map(formatCount), ["7", "1,000", "30,532,122,624"]);
  });

  it("writes rising numbers as runs, or as a step", () => {
    const cases: [number[], string][] = [
      [[], ""],
      [[5], "5"],
      [[0, 1, 2], "0 to 2"],
      [[0, 1, 2, 5, 7, 8], "0 to 2, 5, 7 to 8"],
      [[1, 3, 5, 7], "1, 3 ... 7"],
      [[1, 3, 5], "1, 3, 5"],
      [[1, 3, 5, 8], "1, 3, 5, 8"],
    ];
    for (const [values, text] of cases) assert.equal(formatRuns(values), text);
  });
});
