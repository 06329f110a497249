import assert from "node:assert/strict";
import { canonicalJson } from "../../../src/protocol/canonical.ts";
import { drawOpenSequences, drawSequences, mostSequences } from "../../../src/protocol/held-out.ts";
import type { Status } from "../../../src/protocol/verdict.ts";
import {
  checkDrawn,
  checkEvidenceBytes,
  encodeEvidence,
  judgeAgain,
  type MinerEvidence,
  mostEvidenceBytes,
  parseEvidence,
  type ScoreEvidence,
  unfounded,
} from "../../../src/steps/evaluate/evidence.ts";
import { exampleTask, hash, hotkey } from "../../protocol/support.ts";

const task = exampleTask();
const evidence: ScoreEvidence = {
  format: "connito/evidence/1",
  stages: [2, 2, 4],
  baseLosses: [3, 3.5, 3, 3.5],
  open: [{ domain: 0, index: 3, tokens: [1, 2, 3], baseLoss: 2 }],
  miners: [
    { miner: "sure", losses: [2.5, 3], openLosses: [1.5] },
    { miner: "unsure", losses: [2.9, 3.6, 2.8, 3.4], openLosses: [2], likeness: { share: 0.3, usual: 0.2, like: ["sure"] } },
  ],
};

describe("evidence", () => {
  it("comes back from its bytes as it was", () => {
    const { format: _, ...content } = evidence;
    assert.deepEqual(parseEvidence(encodeEvidence(content)), evidence);
  });

  it("is enough to come to the same score, at the stage that was reached", () => {
    const [sure, unsure] = evidence.miners;
    assert.ok(sure && unsure);
    assert.deepEqual(judgeAgain(task, evidence, sure), { status: "accepted", score: 500_000, sequences: 2 });
    // After two of three stages nothing was clear, and nothing is.
    assert.equal(judgeAgain(task, evidence, unsure), undefined);
  });

  it("has whole stages, or nothing follows from it, however long it says they are", () => {
    const [sure] = evidence.miners;
    for (const stages of [[], [0, 0], [1], [3], [1, 2], [Number.MAX_SAFE_INTEGER, 1]])
      assert.equal(judgeAgain(task, { ...evidence, stages }, sure as MinerEvidence), undefined, `${stages}`);
  });

  it("founds what follows from it, and nothing else", () => {
    const entry = (miner: string, status: Status, score = 0) => ({ miner, group: 0, root: null, status, score });
    const told = (...entries: ReturnType<typeof entry>[]) => unfounded(task, entries, evidence);
    assert.deepEqual(told(entry("sure", "accepted", 500_000), entry("none", "not-revealed"), entry("late", "unscored")), []);
    assert.deepEqual(told(entry("sure", "near-copy")), []);
    assert.deepEqual(told(entry("sure", "accepted", 500_001)), ["sure"]);
    assert.deepEqual(told(entry("sure", "no-gain"), entry("unsure", "no-gain"), entry("unseen", "accepted", 1)), [
      "sure",
      "unsure",
      "unseen",
    ]);
    assert.deepEqual(unfounded(task, [entry("sure", "accepted", 500_000)], undefined), ["sure"]);
    const cut = { ...evidence, baseLosses: [3] };
    assert.deepEqual(unfounded(task, [entry("sure", "accepted", 500_000)], cut), ["sure"]);
  });

  it("is refused when its stages or open sequences are not those drawn, also by who knows no more than the task", () => {
    const draw = { task, seed: hash("seed"), available: [300, 200] };
    const stages = drawSequences(draw).stages.map(({ length }) => length);
    const open = drawOpenSequences(draw).map((one) => ({ ...one, tokens: [1], baseLoss: 2 }));
    const whole = { stages, open, baseLosses: [3] };
    for (const known of [draw, { ...draw, available: undefined }]) {
      checkDrawn(known, whole);
      checkDrawn(known, { stages, open: [], baseLosses: [] });
      for (const lie of [
        { ...whole, stages: stages.slice(0, -1).map((size) => size / 2) },
        { ...whole, stages: [2] },
        { ...whole, stages: [] },
        { ...whole, open: open.map((one) => ({ ...one, index: 4 })) },
        { ...whole, open: [] },
      ])
        assert.throws(() => checkDrawn(known, lie), { code: "evidence-not-drawn" }, JSON.stringify(lie.stages));
    }
    // What only the size of the data tells.
    assert.throws(() => checkDrawn(draw, { ...whole, stages: stages.slice(0, 1) }), { code: "evidence-not-drawn" });
  });

  it("is never larger than all that a task's can say, and hardly smaller where its numbers are long", () => {
    const tasks = [task, exampleTask({ data: { sequenceLength: 4096 }, evaluation: { sequencesPerDomain: 2, stages: 1 } })];
    for (const one of tasks)
      for (const miners of [0, 1, 256]) {
        const { scored, shown } = mostSequences(one);
        // The longest that JSON has: 24, 16 and 10 characters.
        const losses = (count: number) => new Array<number>(count).fill(-1.2345678901234567e-100);
        const [large, token] = [Number.MAX_SAFE_INTEGER, 2 ** 31 - 1];
        const like = [hotkey(1), hotkey(2), hotkey(3)];
        const [share] = losses(1) as [number];
        const likeness = { share, usual: share, like, weight: share, effect: share, random: share };
        const own = { effect: share, error: share };
        const tokens = new Array<number>(one.data.sequenceLength + 1).fill(token);
        const largest = {
          stages: new Array<number>(one.evaluation.stages).fill(large),
          baseLosses: losses(scored),
          open: new Array(shown).fill({ domain: large, index: large, tokens, baseLoss: share }),
          miners: new Array(miners).fill({ miner: hotkey(0), losses: losses(scored), openLosses: losses(shown), likeness, own }),
        };
        const { length } = encodeEvidence(largest);
        const most = mostEvidenceBytes(one, miners);
        assert.ok(length <= most && length > 0.85 * most, `${length} of ${most}`);
      }
  });

  it("is not read where it is larger, which is said", () => {
    const most = mostEvidenceBytes(task, 2);
    checkEvidenceBytes(most, most);
    assert.throws(() => checkEvidenceBytes(most + 1, most), { code: "evidence-oversize" });
    const vast = exampleTask({ evaluation: { sequencesPerDomain: 65_536, stages: 12 } });
    assert.equal(mostEvidenceBytes(vast, 256), 64 * 2 ** 20);
  });

  it("is refused when it is something else", () => {
    const stages = (list: unknown[]) => ({ ...evidence, stages: list });
    const shown = (tokens: unknown[]) => ({ ...evidence, open: [{ domain: 0, index: 3, tokens, baseLoss: 2 }] });
    for (const value of [
      stages([-1]),
      stages([0.5]),
      stages([2 ** 60]),
      shown([-1]),
      shown([2 ** 31]),
      {},
      { ...evidence, more: 1 },
      { ...evidence, baseLosses: ["3"] },
      { ...evidence, format: "connito/evidence/2" },
    ]) {
      assert.throws(() => parseEvidence(canonicalJson(value)), { code: "evidence-invalid" });
    }
    for (const text of ["", "{", '{"stages": [-1e999]}', "\ud800"])
      assert.throws(() => parseEvidence(Buffer.from(text)), { code: "evidence-invalid" });
  });
});
