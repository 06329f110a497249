import assert from "node:assert/strict";
import { type Tensors, tensorsOf } from "../../../src/model/tensors.ts";
import type { HeldOutSequence } from "../../../src/steps/evaluate/held-out.ts";
import type { Comparison, Sketched } from "../../../src/steps/evaluate/near-copies.ts";
import { proveLosses } from "../../../src/steps/evaluate/proof-of-loss.ts";
import { exampleTask } from "../../protocol/support.ts";

const task = exampleTask();
const sequence = (index: number): HeldOutSequence => ({ domain: 0, index, tokens: Int32Array.of(index) });
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => sequence(from + index));
const sequences = { stages: [range(0, 8), range(8, 16), range(16, 32)], open: range(100, 102), gate: [], seed: "" };

const submission = (miner: string, gain: number): Sketched => ({
  miner,
  group: 0,
  commit: { hotkey: miner, block: 1, extrinsicIndex: 0 },
  deltas: tensorsOf(new Map([["gain", Float32Array.of(gain)]])),
});
const compared = (copy: boolean): Comparison => ({ copy, likeness: { share: 0.9, usual: 0.4, like: ["clear"] } });

/** Losses of 3; a candidate gains what its delta says, and where that is below 1 in 1000 as much again as noise. */
function meter() {
  const passes: { readonly sequences: number[]; readonly candidates: number }[] = [];
  const losses = async (given: readonly HeldOutSequence[], candidates: readonly Tensors[] = []) => {
    passes.push({ sequences: given.map(({ index }) => index), candidates: candidates.length });
    const base = Float64Array.from(given, ({ index }) => 3 + index / 1000);
    const gains = await Promise.all(candidates.map(async ({ read }) => (await read("gain"))[0] as number));
    return {
      base,
      candidates: gains.map((gain) => base.map((loss, at) => loss - gain * (1 + (gain < 1e-3 ? 4 * ((at % 2) - 0.5) : (at % 2) / 100)))),
    };
  };
  return { passes, losses };
}

const inTime = { isLate: async () => false, onJudged: () => undefined };

describe("Proof-of-Loss in stages", () => {
  it("is one pass a stage for whoever is undecided, the open sequences with the first", async () => {
    const { passes, losses } = meter();
    const judged: number[] = [];
    const submissions = [submission("clear", 0.5), submission("none", -0.5), submission("slight", 2e-4)];
    const { verdicts, evidence } = await proveLosses({
      ...{ task, losses, sequences, submissions, compare: () => new Map(), ...inTime },
      onJudged: (count) => judged.push(count),
    });
    assert.deepEqual(
      passes.map(({ sequences: { length }, candidates }) => [length, candidates]),
      [
        [10, 3],
        [8, 1],
        [16, 1],
      ],
    );
    assert.deepEqual(judged, [2, 2, 3]);
    assert.equal(verdicts.get("clear")?.status, "accepted");
    assert.equal(verdicts.get("none")?.status, "no-gain");
    const taken = evidence.miners.map(({ losses: own, openLosses }) => [own.length, openLosses.length]);
    assert.deepEqual(taken, [
      [8, 2],
      [8, 2],
      [32, 2],
    ]);
    assert.deepEqual(
      evidence.open.map(({ index, baseLoss }) => [index, baseLoss]),
      [
        [100, 3.1],
        [101, 3.101],
      ],
    );
    assert.equal(evidence.baseLosses.length, 32);
  });

  it("takes the pay of near copies, and shows what they are like", async () => {
    const { losses } = meter();
    const submissions = [submission("clear", 0.5), submission("copy", 0.5), submission("own", 0.5), submission("worthless copy", -0.5)];
    const comparisons = new Map([
      ["copy", compared(true)],
      ["own", compared(false)],
      ["worthless copy", compared(true)],
    ]);
    const compare = (scores: ReadonlyMap<string, number>) => {
      const paid = [...scores].filter(([, score]) => score > 400_000);
      assert.deepEqual([paid.map(([miner]) => miner), scores.get("worthless copy")], [["clear", "copy", "own"], 0]);
      return comparisons;
    };
    const { verdicts, evidence } = await proveLosses({ task, losses, sequences, submissions, compare, ...inTime });
    const statuses = Object.fromEntries([...verdicts].map(([miner, { status }]) => [miner, status]));
    assert.deepEqual(statuses, { clear: "accepted", copy: "near-copy", own: "accepted", "worthless copy": "no-gain" });
    assert.equal(verdicts.get("copy")?.score, 0);
    assert.deepEqual(
      evidence.miners.map(({ likeness }) => likeness?.share),
      [undefined, 0.9, 0.9, 0.9],
    );
  });

  it("takes the pay of what sketches leave unclear and what adds nothing, measured after all verdicts and only of those to be paid", async () => {
    const { passes, losses } = meter();
    const submissions = [
      submission("clear", 0.5),
      submission("idle", 0.5),
      submission("busy", 0.5),
      submission("subtle", 0.5),
      submission("poor", -0.5),
    ];
    const unclear = (...gains: readonly number[]): Comparison => ({
      ...compared(false),
      unclear: gains.map((gain) => submission("", gain).deltas),
    });
    // What is explained, the mirror, and with random signs to either side.
    const comparisons = new Map([
      ["idle", unclear(0.5, 0.49, 0.505, 0.495)],
      ["busy", unclear(0.5, 0.3, 0.505, 0.495)],
      ["subtle", unclear(0.5, 0.49, 0.501, 0.5)],
      ["poor", unclear(0.5, 0.49, 0.505, 0.495)],
    ]);
    const looks = [false, true];
    const late = await proveLosses({
      ...inTime,
      task,
      losses,
      sequences,
      submissions,
      compare: () => comparisons,
      isLate: async () => looks.shift() ?? true,
    });
    assert.equal(late.verdicts.get("idle")?.status, "accepted");
    passes.length = 0;
    const { verdicts, evidence } = await proveLosses({ task, losses, sequences, submissions, compare: () => comparisons, ...inTime });
    const statuses = Object.fromEntries([...verdicts].map(([miner, { status }]) => [miner, status]));
    assert.deepEqual(statuses, { clear: "accepted", idle: "near-copy", busy: "accepted", subtle: "accepted", poor: "no-gain" });
    assert.deepEqual(passes.map(({ sequences: { length }, candidates }) => [length, candidates]).at(-1), [8, 12]);
    const effects = evidence.miners.map(({ likeness }) => [likeness?.effect?.toFixed(3), likeness?.random?.toFixed(3)]);
    assert.deepEqual(effects, [
      [undefined, undefined],
      ["0.021", "0.021"],
      ["0.413", "0.021"],
      ["0.021", "0.002"],
      [undefined, undefined],
    ]);
  });

  it("leaves whoever is not judged when time is out without a verdict, and measures nothing for nobody", async () => {
    const late = meter();
    const looks = [false, true];
    const { verdicts, evidence } = await proveLosses({
      ...{
        task,
        losses: late.losses,
        sequences,
        submissions: [submission("clear", 0.5), submission("slight", 2e-4)],
        compare: () => new Map(),
      },
      ...inTime,
      isLate: async () => looks.shift() as boolean,
    });
    assert.deepEqual([[...verdicts.keys()], late.passes.length], [["clear"], 1]);
    assert.equal(evidence.miners.length, 2);
    const none = meter();
    await proveLosses({ task, losses: none.losses, sequences, submissions: [], compare: () => new Map(), ...inTime });
    assert.equal(none.passes.length, 0);
  });

  it("shows nothing of a submission whose losses are not finite", async () => {
    const { losses } = meter();
    const submissions = [submission("clear", 0.5), submission("broken", Number.NaN)];
    const { verdicts, evidence } = await proveLosses({ task, losses, sequences, submissions, compare: () => new Map(), ...inTime });
    assert.deepEqual(verdicts.get("broken"), { status: "non-finite", score: 0, sequences: 8 });
    assert.deepEqual(
      evidence.miners.map(({ miner }) => miner),
      ["clear"],
    );
  });
});
