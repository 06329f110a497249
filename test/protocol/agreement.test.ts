import assert from "node:assert/strict";
import fc from "fast-check";
import { type AgreedScore, agreedScores, canonicalRoot, mergeOrder, type WeighedReport } from "../../src/protocol/agreement.ts";
import type { Hotkey } from "../../src/protocol/hotkey.ts";
import { createReport, type ReportEntry } from "../../src/protocol/report.ts";
import { hash, hotkey, hotkeys } from "./support.ts";
import { secondMedian } from "./vectors/second.ts";

const [a, b, c, d] = hotkeys(4) as [Hotkey, Hotkey, Hotkey, Hotkey];
const validators = Array.from({ length: 9 }, (_, index) => hotkey(`validator ${index}`)).sort();
const head = { task: hash("task"), cycle: 1, base: hash("base") };

function entry(miner: Hotkey, score: number | "unscored", group = 0): ReportEntry {
  const status = score === "unscored" ? "unscored" : score > 0 ? "accepted" : "no-gain";
  return { miner, group, status, score: score === "unscored" ? 0 : score, root: hash("artifact") };
}

/** One report a validator, in the order of `validators`, on one miner. */
function reportsOn(rows: readonly { stake: bigint; score: number | "unscored" }[]): WeighedReport[] {
  return rows.map(({ stake, score }, index) => ({
    stake,
    report: createReport({ ...head, validator: validators[index] as Hotkey, entries: [entry(a, score)] }),
  }));
}

const stake = fc.bigInt({ min: 1n, max: 1_000_000_000_000_000n });
const rows = fc.array(fc.record({ stake, score: fc.nat(1_000) }), { minLength: 1, maxLength: 9 });

describe("agreed score", () => {
  it("is the stake-weighted lower median", () => {
    fc.assert(
      fc.property(rows, (list) => {
        const [agreed] = agreedScores(reportsOn(list));
        assert.equal(agreed?.score, secondMedian(list));
      }),
    );
  });

  it("stays among the scores of the honest while they hold more than half of the stake", () => {
    const honest = fc.array(fc.record({ stake, score: fc.integer({ min: 400, max: 500 }) }), { minLength: 1, maxLength: 5 });
    const liars = fc.array(fc.nat(1_000_000), { maxLength: 4 });
    fc.assert(
      fc.property(honest, liars, (truthful, lies) => {
        const total = truthful.reduce((sum, row) => sum + row.stake, 0n);
        const each = lies.length === 0 ? 0n : (total - 1n) / BigInt(lies.length);
        const [agreed] = agreedScores(reportsOn([...truthful, ...lies.map((score) => ({ stake: each, score }))]));
        const scores = truthful.map(({ score }) => score);
        assert.ok((agreed?.score ?? -1) >= Math.min(...scores) && (agreed?.score ?? Infinity) <= Math.max(...scores));
      }),
    );
  });

  it("does not depend on the order of the reports", () => {
    fc.assert(
      fc.property(rows, (list) => {
        const reports = reportsOn(list);
        assert.deepEqual(agreedScores([...reports].reverse()), agreedScores(reports));
      }),
    );
  });

  it("does not count who did not score, and stays unscored when nobody did", () => {
    const one = reportsOn([
      { stake: 1n, score: 70 },
      { stake: 1_000n, score: "unscored" },
    ]);
    assert.deepEqual(agreedScores(one), [entry(a, 70)]);
    const none = reportsOn([
      { stake: 1n, score: "unscored" },
      { stake: 1_000n, score: "unscored" },
    ]);
    assert.equal(agreedScores(none)[0]?.status, "unscored");
  });

  it("counts a refusal as 0, and takes the status of the median report", () => {
    const agreed = agreedScores(
      reportsOn([
        { stake: 3n, score: 0 },
        { stake: 2n, score: 90 },
      ]),
    );
    assert.deepEqual(agreed, [entry(a, 0)]);
  });

  it("takes the lower of two equal halves, and of equal scores the first validator's report", () => {
    const halves = reportsOn([
      { stake: 5n, score: 80 },
      { stake: 5n, score: 90 },
    ]);
    assert.equal(agreedScores(halves)[0]?.score, 80);
    const statuses = ["copy", "malformed"] as const;
    const reports = statuses.map((status, index) => {
      const validator = validators[1 - index] as Hotkey;
      return { stake: 5n, report: createReport({ ...head, validator, entries: [{ ...entry(a, 0), status }] }) };
    });
    assert.equal(agreedScores(reports)[0]?.status, "malformed");
  });

  it("names every miner of any report once, in order", () => {
    const reports = [
      { stake: 1n, report: createReport({ ...head, validator: validators[0] as Hotkey, entries: [entry(c, 5), entry(a, 7)] }) },
      { stake: 1n, report: createReport({ ...head, validator: validators[1] as Hotkey, entries: [entry(b, 6), entry(a, 7)] }) },
    ];
    assert.deepEqual(
      agreedScores(reports).map(({ miner, score }) => [miner, score]),
      [
        [a, 7],
        [b, 6],
        [c, 5],
      ],
    );
    assert.deepEqual(agreedScores([]), []);
  });

  it("refuses to mix cycles or to count a validator twice", () => {
    const [report] = reportsOn([{ stake: 1n, score: 1 }]) as [WeighedReport];
    const other = { stake: 1n, report: createReport({ ...head, cycle: 2, validator: validators[1] as Hotkey, entries: [] }) };
    assert.throws(() => agreedScores([report, other]), /different cycles/);
    assert.throws(() => agreedScores([report, report]), /one validator/);
  });
});

describe("merge order", () => {
  const places = [
    { hotkey: a, block: 12, extrinsicIndex: 1 },
    { hotkey: b, block: 11, extrinsicIndex: 4 },
    { hotkey: c, block: 11, extrinsicIndex: 3 },
    { hotkey: d, block: 10, extrinsicIndex: 9 },
  ];
  const order = (agreed: AgreedScore[], contributors = 8) =>
    mergeOrder({ agreed, commits: places, groups: 2, contributors }).map((group) => group.map(({ miner }) => miner));

  it("is by falling score, then by earlier commit, within each group", () => {
    assert.deepEqual(order([entry(a, 5), entry(b, 5), entry(c, 5), entry(d, 4)]), [[c, b, a, d], []]);
    assert.deepEqual(order([entry(a, 1), entry(b, 2), entry(c, 3, 1), entry(d, 4, 1)]), [
      [b, a],
      [d, c],
    ]);
  });

  it("leaves out who was not accepted, and keeps at most the task's number", () => {
    assert.deepEqual(order([entry(a, 0), entry(b, "unscored"), entry(c, 3)]), [[c], []]);
    assert.deepEqual(order([entry(a, 1), entry(b, 2), entry(c, 3), entry(d, 4)], 2), [[d, c], []]);
  });

  it("does not depend on the order in which scores and commits come", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 4, maxLength: 4 }), (scores) => {
        const agreed = [a, b, c, d].map((miner, index) => entry(miner, scores[index] as number));
        assert.deepEqual(order([...agreed].reverse()), order(agreed));
      }),
    );
  });
});

describe("canonical version", () => {
  const record = (root: string, previous = "old", cycle = 5) => ({
    kind: "version" as const,
    cycle,
    previousRoot: hash(previous),
    root: hash(root),
    locator: "http://validator:1",
  });

  it("is the root with more than half of the reporting stake", () => {
    assert.deepEqual(
      canonicalRoot(
        [
          { stake: 6n, record: record("new") },
          { stake: 5n, record: record("else") },
        ],
        5,
      ),
      {
        root: hash("new"),
        majority: "root",
      },
    );
  });

  it("falls back to the previous root that more than half name, and else is none", () => {
    const halves = [
      { stake: 5n, record: record("new") },
      { stake: 5n, record: record("else") },
    ];
    assert.deepEqual(canonicalRoot(halves, 5), { root: hash("old"), majority: "previous" });
    const apart = [
      { stake: 5n, record: record("new", "old") },
      { stake: 5n, record: record("else", "older") },
    ];
    assert.equal(canonicalRoot(apart, 5), undefined);
    assert.equal(canonicalRoot([], 5), undefined);
    assert.equal(canonicalRoot([{ stake: 0n, record: record("new") }], 5), undefined);
  });

  it("counts only the stake that reported on the newest cycle up to this one", () => {
    const records = [
      { stake: 100n, record: record("late", "old", 4) },
      { stake: 1n, record: record("new") },
      { stake: 100n, record: record("ahead", "new", 6) },
    ];
    assert.equal(canonicalRoot(records, 5)?.root, hash("new"));
    assert.equal(canonicalRoot(records, 4)?.root, hash("late"));
    assert.equal(canonicalRoot(records, 9)?.root, hash("ahead"));
    assert.equal(canonicalRoot(records, 3), undefined);
  });

  it("adds the stake of all who name a root", () => {
    const records = ["new", "else", "new"].map((root, index) => ({ stake: index === 1 ? 3n : 2n, record: record(root) }));
    assert.equal(canonicalRoot(records, 5)?.root, hash("new"));
  });
});
