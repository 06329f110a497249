import assert from "node:assert/strict";
import { ConnitoError } from "../../../src/errors.ts";
import { type Tensors, tensorsOf } from "../../../src/model/tensors.ts";
import type { Look } from "../../../src/protocol/own-training.ts";
import { unfounded } from "../../../src/steps/evaluate/evidence.ts";
import type { HeldOutSequence } from "../../../src/steps/evaluate/held-out.ts";
import type { Compare, Comparison, Sketched } from "../../../src/steps/evaluate/near-copies.ts";
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
    let first: (readonly [base: readonly number[], own: readonly number[]])[] = [];
    const compare: Compare = (known) => {
      const paid = [...known].filter(([, { score }]) => score > 400_000);
      assert.deepEqual([paid.map(([miner]) => miner), known.get("worthless copy")?.score], [["clear", "copy", "own"], 0]);
      first = [...known.values()].map(({ base, own }) => [Array.from(base), Array.from(own)]);
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
    // Of the first stage alone, which all were measured on.
    const [size] = evidence.stages;
    assert.deepEqual(
      first,
      evidence.miners.map(({ losses: own }) => [evidence.baseLosses.slice(0, size), own.slice(0, size)]),
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

describe("own training in Proof-of-Loss", () => {
  const asking = exampleTask({ evaluation: { leastTraining: { sequences: 1_000, drawn: 64 } } });
  /** Submissions with the share that each was trained on, in units of what one sequence gains more than another; each miner's own is that of its place. */
  const trained = (list: readonly (readonly [miner: string, share: number, group?: number])[]) => {
    const submissions = list.map(([miner, share, group = 0], place): Sketched => {
      const values = new Map([
        ["gain", Float32Array.of(0.1)],
        ["share", Float32Array.of(share, place)],
      ]);
      return { miner, group, commit: { hotkey: miner, block: list.length - place, extrinsicIndex: 0 }, deltas: tensorsOf(values) };
    });
    const places = new Map(submissions.map(({ miner }, place) => [miner, place]));
    const passes: number[][] = [];
    const random = (a: number, b: number) => (Math.abs(Math.sin(a * 12.9898 + b * 78.233) * 43_758.5453) % 1) - 0.5;
    const losses = async (given: readonly HeldOutSequence[], candidates: readonly Tensors[] = []) => {
      const models = await Promise.all(candidates.map(({ read }) => read("share")));
      if (given.some(({ index }) => index >= 1_000)) passes.push(models.map((values) => values[1] as number));
      const base = Float64Array.from(given, ({ index }) => 3 + random(index, 0));
      const gain = (values: Float32Array, index: number) =>
        0.1 +
        0.01 * random(index, 1) +
        0.01 * random(index, 7 + (values[0] as number)) +
        (Math.floor(index / 1_000) === 1 + (values[0] as number) ? 0.01 : 0);
      return { base, candidates: models.map((values) => base.map((loss, at) => loss - gain(values, given[at]?.index as number))) };
    };
    const asked: string[] = [];
    const own = {
      async of({ miner }: { readonly miner: string }, look: Look) {
        asked.push(miner);
        const from = 1_000 * (1 + (places.get(miner) as number));
        return look === 1 ? range(from, from + 16) : range(from + 16, from + 64);
      },
      close: async () => undefined,
    };
    const input = {
      task: asking,
      losses,
      sequences,
      submissions,
      compare: () => new Map(),
      ...inTime,
      own: { own, onMissing: assert.fail },
    };
    return { input, passes, asked };
  };
  const statuses = ({ verdicts }: { verdicts: ReadonlyMap<string, { readonly status: string }> }) =>
    Object.fromEntries([...verdicts].map(([miner, { status }]) => [miner, status]));

  it("takes the pay of who has learned from nothing of its own, and shows by how much", async () => {
    const { input, passes } = trained([
      ["a", 0],
      ["b", 1],
      ["ring 1", 9],
      ["ring 2", 9],
      ["c", 4],
    ]);
    const proof = await proveLosses(input);
    assert.deepEqual(statuses(proof), { a: "accepted", b: "accepted", "ring 1": "not-trained", "ring 2": "not-trained", c: "accepted" });
    assert.equal(proof.verdicts.get("ring 1")?.score, 0);
    // In order of commits, which is the other way round; and again, as some show too little at the first look.
    assert.deepEqual(passes, [
      [4, 3, 2, 1, 0],
      [4, 3, 2, 1, 0],
    ]);
    const effects = new Map(proof.evidence.miners.map(({ miner, own }) => [miner, own?.effect ?? Number.NaN]));
    for (const miner of ["a", "b", "c"]) assert.ok((effects.get(miner) as number) > 0.5, `${miner} ${effects.get(miner)}`);
    for (const miner of ["ring 1", "ring 2"]) assert.ok((effects.get(miner) as number) < 0.5, `${miner} ${effects.get(miner)}`);
    const entries = [...proof.verdicts].map(([miner, verdict]) => ({ miner, group: 0, root: null, ...verdict }));
    const evidence = { format: "connito/evidence/1" as const, ...proof.evidence };
    assert.deepEqual(unfounded(asking, entries, evidence), []);
    const lies = entries.map((entry) => (entry.miner === "ring 1" ? { ...entry, status: "accepted" as const, score: 1 } : entry));
    assert.deepEqual(unfounded(asking, lies, evidence), ["ring 1"]);
    const accused = entries.map((entry) => (entry.miner === "a" ? { ...entry, status: "not-trained" as const, score: 0 } : entry));
    assert.deepEqual(unfounded(asking, accused, evidence), ["a"]);
  });

  it("looks at a quarter only where all of a block show enough there", async () => {
    const { input, passes, asked } = trained([
      ["a", 0],
      ["b", 1],
      ["c", 2],
    ]);
    const proof = await proveLosses(input);
    assert.deepEqual(statuses(proof), { a: "accepted", b: "accepted", c: "accepted" });
    assert.deepEqual([passes, asked], [[[2, 1, 0]], ["c", "b", "a"]]);
    assert.ok(proof.evidence.miners.every(({ own }) => (own?.effect as number) > 0.5));
    // The second of two blocks has a ring's; what is usual is told from both, of a quarter and of all.
    const both = trained(["a", "b", "ring 1", "c", "d", "e"].map((miner, place) => [miner, place === 2 ? 9 : place] as const));
    const { verdicts, hasty } = await proveLosses(both.input);
    assert.deepEqual(both.passes, [
      [5, 4, 3],
      [2, 1, 0],
      [2, 1, 0],
    ]);
    assert.deepEqual(
      [...verdicts].flatMap(([miner, { status }]) => (status === "accepted" ? [] : [[miner, status]])),
      [["ring 1", "not-trained"]],
    );
    assert.deepEqual(hasty, []);
  });

  it("does not ask one or two, near copies, who is not paid, nor anybody where the task does not", async () => {
    const alone = trained([
      ["a", 9],
      ["b", 9, 1],
      ["c", 1, 1],
    ]);
    assert.deepEqual(statuses(await proveLosses(alone.input)), { a: "accepted", b: "accepted", c: "accepted" });
    assert.deepEqual(alone.asked, []);
    const list = [
      ["a", 0],
      ["b", 9],
      ["c", 2],
    ] as const;
    const copied = trained(list);
    const compare = () => new Map([["b", compared(true)]]);
    assert.deepEqual(statuses(await proveLosses({ ...copied.input, compare })), { a: "accepted", b: "near-copy", c: "accepted" });
    assert.deepEqual(copied.asked, []);
    const free = trained(list);
    assert.deepEqual(statuses(await proveLosses({ ...free.input, task })), { a: "accepted", b: "accepted", c: "accepted" });
    assert.deepEqual(free.asked, []);
  });

  it("lets verdicts stand where time is out, or the data are not to be had", async () => {
    const list = [
      ["a", 0],
      ["b", 9],
      ["c", 2],
    ] as const;
    // At the first look, or at the second: what would have been looked at again is not told from the first.
    for (const ofEach of [16, 48]) {
      const late = trained(list);
      const isLate = async (losses: number) => losses === ofEach * 3 * 4;
      const proof = await proveLosses({ ...late.input, isLate });
      assert.deepEqual(statuses(proof), { a: "accepted", b: "accepted", c: "accepted" });
      assert.deepEqual([late.passes.length, proof.hasty], [ofEach === 16 ? 0 : 1, ["a", "b", "c"]]);
      assert.ok(proof.evidence.miners.every(({ own }) => own === undefined));
    }
    // Also where no peer would deliver later: what is known of the others is worth a report.
    for (const [code, retryable] of [
      ["peer-unreachable", true],
      ["request-refused", false],
    ] as const) {
      const missing = trained(list);
      const away = new ConnitoError("nobody delivers it", { code, exit: "network", retryable, hint: "" });
      const notes: string[] = [];
      const own = {
        own: { ...missing.input.own.own, of: () => Promise.reject(away) },
        onMissing: (error: ConnitoError) => notes.push(error.code),
      };
      assert.deepEqual(statuses(await proveLosses({ ...missing.input, own })), { a: "accepted", b: "accepted", c: "accepted" });
      assert.deepEqual(notes, [code]);
    }
  });

  it("asks no peers once more for a group of which the data of one block were missing", async () => {
    const { input } = trained(["a", "b", "c", "d", "e", "f"].map((miner) => [miner, 9] as const));
    const away = new ConnitoError("nobody delivers it", { code: "peer-unreachable", exit: "network", retryable: true, hint: "" });
    const [looks, notes]: [number[], string[]] = [[], []];
    const of: typeof input.own.own.of = (submission, look) => {
      looks.push(look);
      // The second block's; and of the first block nobody shows anything, so that it would be looked at again.
      return looks.length > 3 ? Promise.reject(away) : input.own.own.of(submission, look);
    };
    const own = { own: { ...input.own.own, of }, onMissing: (error: ConnitoError) => notes.push(error.code) };
    const { hasty } = await proveLosses({ ...input, own });
    assert.deepEqual([looks, notes], [[1, 1, 1, 1], ["peer-unreachable"]]);
    assert.equal(hasty.length, 6);
  });

  it("is hasty with all of a group where time is out between its blocks: what is usual is told from all", async () => {
    const list = ["a", "b", "c", "ring 1", "ring 2", "ring 3"].map((miner, place) => [miner, place < 3 ? place : 9] as const);
    const whole = await proveLosses(trained(list).input);
    const ofRing = ["ring 1", "ring 2", "ring 3"];
    for (const miner of ofRing) assert.equal(statuses(whole)[miner], "not-trained");
    assert.deepEqual(whole.hasty, []);
    // The ring committed first.
    const { input, passes } = trained(list);
    const cut = await proveLosses({ ...input, isLate: async () => passes.length === 1 });
    assert.deepEqual(passes, [[5, 4, 3]]);
    for (const miner of ofRing) assert.equal(statuses(cut)[miner], "accepted");
    assert.deepEqual(
      cut.hasty,
      list.map(([miner]) => miner),
    );
  });

  it("calls non-finite what is so there, and nobody else anything for it", async () => {
    const { input } = trained([
      ["a", 0],
      ["b", 1],
      ["c", 2],
    ]);
    const losses: typeof input.losses = async (given, candidates) => {
      const found = await input.losses(given, candidates);
      if (given[0]?.index !== 3_000) return found;
      return { ...found, candidates: found.candidates.map((own, place) => (place === 1 ? own.map(() => Number.POSITIVE_INFINITY) : own)) };
    };
    assert.deepEqual(statuses(await proveLosses({ ...input, losses })), { a: "accepted", b: "non-finite", c: "accepted" });
  });
});
