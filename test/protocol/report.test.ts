import assert from "node:assert/strict";
import fc from "fast-check";
import { toHex } from "../../src/protocol/hash.ts";
import type { Hotkey } from "../../src/protocol/hotkey.ts";
import {
  createReport,
  parseReport,
  parseSignedReport,
  type ReportEntry,
  type ReportExpectations,
  reportMessage,
} from "../../src/protocol/report.ts";
import { hash, hotkey, hotkeys } from "./support.ts";
import { secondReportMessage } from "./vectors/second.ts";

const [a, b, c] = hotkeys(3) as [Hotkey, Hotkey, Hotkey];
const expected: ReportExpectations = {
  task: hash("task"),
  cycle: 3,
  base: hash("base"),
  validator: hotkey("validator"),
  assigned: new Map([
    [a, 0],
    [b, 1],
    [c, 0],
  ]),
};

const entries: ReportEntry[] = [
  { miner: c, group: 0, status: "not-committed", score: 0, root: null },
  { miner: a, group: 0, status: "accepted", score: 1200, root: hash("a") },
  { miner: b, group: 1, status: "no-gain", score: 0, root: hash("b") },
];
const { assigned: _, ...known } = expected;
const head = { ...known, evidence: hash("evidence") };
const report = createReport({ ...head, entries });

function withEntry(change: Partial<Record<keyof ReportEntry, unknown>>): unknown {
  return { ...report, entries: [{ ...report.entries[0], ...change }, ...report.entries.slice(1)] };
}

describe("report", () => {
  it("comes back from JSON as it was, its entries in order", () => {
    assert.deepEqual(parseReport(JSON.parse(JSON.stringify(report)), expected), report);
    assert.deepEqual(
      report.entries.map(({ miner }) => miner),
      [a, b, c],
    );
    assert.deepEqual(createReport({ ...head, entries: [...entries].reverse() }), report);
  });

  it("is signed over all of it", () => {
    assert.equal(toHex(reportMessage(report)), secondReportMessage(report));
    const other = parseReport(withEntry({ score: 1201 }), expected);
    assert.notDeepEqual(reportMessage(other), reportMessage(report));
  });

  it("may leave miners out", () => {
    assert.equal(parseReport({ ...report, entries: [] }, expected).entries.length, 0);
  });

  it("is refused when it is of another task, cycle, base or validator", () => {
    for (const other of [{ task: hash("x") }, { cycle: 4 }, { base: hash("x") }, { validator: a }]) {
      assert.throws(() => parseReport({ ...report, ...other }, expected), {
        code: "report-invalid",
        message: new RegExp(`its ${Object.keys(other)[0]} is`),
      });
    }
  });

  it("is refused when entries are strange, doubled, out of order or of miners that were not assigned", () => {
    const wrong: unknown[] = [
      withEntry({ score: 0 }),
      withEntry({ score: -1 }),
      withEntry({ score: 1.5 }),
      withEntry({ score: 2e9 }),
      withEntry({ status: "no-gain" }),
      withEntry({ status: "splendid" }),
      withEntry({ status: "toString" }),
      withEntry({ root: null }),
      withEntry({ root: "x" }),
      withEntry({ group: 1 }),
      withEntry({ miner: hotkey("stranger") }),
      withEntry({ more: 1 } as never),
      { ...report, entries: [...report.entries].reverse() },
      { ...report, entries: [report.entries[0], report.entries[0]] },
      { ...report, entries: Array.from({ length: 100_000 }, () => report.entries[0]) },
      { ...report, extra: 1 },
      { ...report, evidence: "x" },
      { ...report, format: "connito/report/2" },
      withEntry({ status: "not-revealed", score: 0 }),
    ];
    for (const value of wrong) assert.throws(() => parseReport(value, expected), { code: "report-invalid" });
  });

  it("throws nothing but its own error at foreign values", () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        for (const candidate of [value, { ...report, entries: value }, { ...report, entries: [value] }]) {
          if (Array.isArray(value) && value.length === 0) return;
          assert.throws(() => parseReport(candidate, expected), { code: "report-invalid" });
        }
      }),
    );
  });

  it("travels with its signature", () => {
    const signature = "ab".repeat(64);
    assert.deepEqual(parseSignedReport({ report, signature }, expected), { report, signature });
    for (const value of [{ report }, { report, signature: "ab" }, { report, signature, more: 1 }, { report: {}, signature }]) {
      assert.throws(() => parseSignedReport(value, expected), { code: "report-invalid" });
    }
  });
});
