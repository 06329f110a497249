import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type AgreedScore,
  agreedScores,
  areCompatible,
  contradictsChain,
  disputedMiners,
  heldToChain,
  mergeOrder,
  voteOnVersion,
  type WeighedReport,
} from "../../src/protocol/agreement.ts";
import type { Hotkey } from "../../src/protocol/hotkey.ts";
import { createReport, type ReportEntry } from "../../src/protocol/report.ts";
import type { ChainVerdict, Status } from "../../src/protocol/verdict.ts";
import { hash, hotkey, hotkeys } from "./support.ts";
import { secondMedian } from "./vectors/second.ts";

const [a, b, c, d] = hotkeys(4) as [Hotkey, Hotkey, Hotkey, Hotkey];
const validators = Array.from({ length: 9 }, (_, index) => hotkey(`validator ${index}`)).sort();
const head = { task: hash("task"), cycle: 1, base: hash("base"), evidence: hash("evidence") };

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

describe("what reports say against the chain", () => {
  const root = hash("artifact");
  const place = { block: 1, extrinsicIndex: 0 };
  const opened = { miner: a, group: 0, status: "to-fetch", root, commit: { hotkey: a, ...place }, reveal: {} } as unknown as ChainVerdict;
  const verdicts: ChainVerdict[] = [
    opened,
    { miner: b, group: 0, status: "not-committed", root: null },
    { miner: c, group: 0, status: "copy", root },
  ];
  const said = (miner: Hotkey, status: Status, revealed: string | null): ReportEntry => {
    return { miner, group: 0, status, score: status === "accepted" ? 5 : 0, root: revealed };
  };
  const saying = (...entries: ReportEntry[]) =>
    heldToChain([{ stake: 1n, report: createReport({ ...head, validator: validators[0] as Hotkey, entries }) }], verdicts);
  const counts = (miner: Hotkey, status: Status, revealed: string | null) => {
    const one = said(miner, status, revealed);
    const fits = !contradictsChain(one, verdicts.find((verdict) => verdict.miner === miner) as ChainVerdict);
    // What counts stays; only of whom the chain refuses, `unscored` gives way too.
    if (miner === a || status !== "unscored") assert.equal(saying(one)[0]?.report.entries[0]?.status === status, fits);
    return fits;
  };

  it("does not count: nobody is accepted who showed nothing, and nobody refused for what the chain does not say", () => {
    for (const status of ["accepted", "no-gain", "near-copy", "unreachable", "malformed"] as const) {
      assert.ok(counts(a, status, root), status);
      assert.ok(!counts(a, status, hash("another")), status);
      assert.ok(!counts(b, status, root), status);
      assert.ok(!counts(c, status, root), status);
      assert.deepEqual(saying(said(d, status, root))[0]?.report.entries, [], status);
    }
    for (const status of ["copy", "wrong-group", "commitment-mismatch"] as const) assert.ok(!counts(a, status, root), status);
    assert.ok(!counts(a, "not-revealed", null));
    assert.ok(!counts(b, "not-revealed", null));
    assert.ok(counts(b, "not-committed", null) && counts(c, "copy", root));
    for (const miner of [a, b, c]) assert.ok(counts(miner, "unscored", null) && counts(miner, "unscored", root));
  });

  it("leaves what the chain alone says: its refusal, or nothing of whose commitment opened", () => {
    const lies = [said(a, "copy", root), said(b, "accepted", root), said(c, "not-revealed", null)];
    const silence = [a, b, c].map((miner) => said(miner, "unscored", null));
    const known = { status: "unscored", score: 0, root };
    const refused = [
      { miner: b, group: 0, status: "not-committed", score: 0, root: null },
      { miner: c, group: 0, status: "copy", score: 0, root },
    ] as const;
    const expected = (own: object) => [{ miner: a, group: 0, ...own }, ...refused].sort((x, y) => (x.miner < y.miner ? -1 : 1));
    assert.deepEqual(agreedScores(saying(...lies)), expected(known));
    assert.deepEqual(agreedScores(saying(...silence)), expected({ ...known, root: null }));
    assert.deepEqual(
      agreedScores(saying(said(a, "accepted", root), ...lies.slice(1))),
      expected({ ...known, status: "accepted", score: 5 }),
    );
  });
});

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

  it("is disputed where two validators say what cannot both be true", () => {
    const say = (...scores: (number | "unscored")[]) => disputedMiners(reportsOn(scores.map((score) => ({ stake: 1n, score }))));
    for (const scores of [[500], [500, 1_100], [0, 100], [500, "unscored"], [0, 0]] as const) assert.deepEqual(say(...scores), []);
    for (const scores of [
      [500, 1_101],
      [0, 101],
      [500, 700, 1_200],
    ] as const)
      assert.deepEqual(say(...scores), [a]);
    assert.ok(areCompatible(entry(a, 1_100), entry(a, 500)) && !areCompatible(entry(a, 0), entry(a, 101)));
  });

  it("of a disputed miner is what an honest scorer said, whatever the stake of those who lie", () => {
    const lies = fc.array(fc.record({ stake, score: fc.oneof(fc.constant(0), fc.integer({ min: 5_000, max: 10 ** 9 })) }), {
      maxLength: 6,
    });
    const honest = fc.array(fc.record({ stake, score: fc.integer({ min: 1_000, max: 1_500 }) }), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(honest, lies, fc.integer({ min: 1_000, max: 1_500 }), (truthful, lying, own) => {
        const [found] = agreedScores(reportsOn([...truthful, ...lying]), new Map([[a, entry(a, own)]]));
        assert.equal(found?.score, secondMedian(truthful));
      }),
    );
  });

  it("is what was measured where nobody said anything like it, and the reports' where nothing was", () => {
    const reports = reportsOn([
      { stake: 5n, score: 9_000 },
      { stake: 1n, score: 0 },
    ]);
    assert.equal(agreedScores(reports, new Map([[a, entry(a, 1_000)]]))[0]?.score, 1_000);
    assert.equal(agreedScores(reports, new Map([[a, entry(a, "unscored")]]))[0]?.score, 9_000);
    assert.equal(agreedScores(reports, new Map([[b, entry(b, 1_000)]]))[0]?.score, 9_000);
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

describe("vote on the version", () => {
  const claim = (stake: bigint, root: string, { cycle = 5, previous = "old", proven = true } = {}) => ({
    stake,
    cycle,
    root: hash(root),
    previousRoot: hash(previous),
    proven,
  });
  const vote = (claims: Parameters<typeof voteOnVersion>[0], cycle = 5) => voteOnVersion(claims, cycle, 2).canonical;

  it("goes to the root that more than half of the reporting stake proved", () => {
    assert.deepEqual(vote([claim(6n, "new"), claim(5n, "else")]), { root: hash("new"), majority: "root" });
    assert.equal(vote([claim(2n, "new"), claim(3n, "else"), claim(2n, "new")])?.root, hash("new"));
  });

  it("leaves the old version standing without such a majority, and none where there is no old one", () => {
    assert.deepEqual(vote([claim(5n, "new"), claim(5n, "else")]), { root: hash("old"), majority: "previous" });
    assert.equal(vote([claim(5n, "new"), claim(5n, "else", { previous: "older" })]), undefined);
    assert.equal(vote([]), undefined);
    assert.equal(vote([claim(0n, "new")]), undefined);
  });

  it("does not let few decide for many: half of the active stake has to report", () => {
    const away = claim(11n, "old", { cycle: 4, previous: "older" });
    assert.deepEqual(vote([claim(10n, "new"), away]), { root: hash("old"), majority: "previous" });
    assert.equal(vote([claim(11n, "new"), away])?.root, hash("new"));
    assert.deepEqual(voteOnVersion([claim(10n, "new"), away], 5, 2), {
      active: 21n,
      reporting: 10n,
      canonical: { root: hash("old"), majority: "previous" },
    });
  });

  it("forgets who was not heard of for longer than the task allows, unless nobody was", () => {
    const gone = claim(100n, "ancient", { cycle: 2 });
    assert.equal(vote([claim(1n, "new"), gone])?.root, hash("new"));
    assert.equal(vote([gone])?.root, hash("ancient"));
  });

  it("does not count a root that was not proved, and ignores records that run ahead", () => {
    const unproven = claim(9n, "copied", { proven: false });
    assert.equal(vote([unproven, claim(10n, "new")])?.root, hash("new"));
    assert.deepEqual(vote([unproven, claim(8n, "new")]), { root: hash("old"), majority: "previous" });
    assert.equal(vote([claim(1n, "new"), claim(100n, "ahead", { cycle: 6 })])?.root, hash("new"));
  });

  it("of honest validators with more than half of the stake is not moved by the others, whatever they say", () => {
    const lie = fc.record({
      stake: fc.bigInt({ min: 0n, max: 9n }),
      root: fc.constantFrom("lie", "old", "new"),
      cycle: fc.integer({ min: 0, max: 7 }),
      previous: fc.constantFrom("lie", "old"),
      proven: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(lie, { maxLength: 4 }), fc.boolean(), (lies, merged) => {
        const root = merged ? "new" : "old";
        const result = vote([claim(37n, root), ...lies.map(({ stake, root: said, ...rest }) => claim(stake, said, rest))]);
        assert.equal(result?.root, hash(root));
      }),
    );
  });
});
