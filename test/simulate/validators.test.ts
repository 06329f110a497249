/**
 * What validators do among each other, on a simulated subnet with the shipped steps: two honest ones, one that reports without measuring and signs
 * gradients of its own making, one that reports what the chain contradicts, and one that comes a cycle late.
 */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CycleStep, roles } from "../../src/cycle/roles.ts";
import { votingWindows, windowOf } from "../../src/protocol/clock.ts";
import { hashFields } from "../../src/protocol/hash.ts";
import { simulate } from "../../src/simulate/simulate.ts";
import { honest } from "../../src/simulate/strategies/miners.ts";
import { type RunStep, replacing, type Strategy } from "../../src/simulate/strategies/strategy.ts";
import { reporting, validatorAttacks } from "../../src/simulate/strategies/validators.ts";
import type { Context } from "../../src/steps/context.ts";
import { viewCycle } from "../../src/steps/cycle-view.ts";
import { sliceForCycle } from "../../src/steps/distribute/slice.ts";
import { agreedVerdicts } from "../../src/steps/evaluate/agreed.ts";
import { groupGradients, mergeOrderOf, ownPart } from "../../src/steps/evaluate/contributions.ts";
import { type Explanation, explainScore } from "../../src/steps/evaluate/explain.ts";
import { keepGroupResult, publishGroupResult } from "../../src/steps/evaluate/group-results.ts";
import type { MergeResult } from "../../src/steps/evaluate/merge.ts";
import { type ObservedValidator, observeValidators } from "../../src/steps/evaluate/observe.ts";
import { showReport } from "../../src/steps/evaluate/reports.ts";
import type { SetWeightsResult } from "../../src/steps/evaluate/set-weights.ts";
import type { Membership } from "../../src/steps/membership.ts";
import { silentProgress } from "../../src/ui/progress.ts";
import { writeJson } from "../../src/workspace/files.ts";

type Note = Readonly<Record<string, unknown>>;
type Scorer = readonly [name: string, stake: bigint];

const hotkeys = new Map<string, string>();
const merged = new Map<string, MergeResult[]>();
const weights = new Map<string, SetWeightsResult[]>();
const explained: Explanation[] = [];
const news: Note[] = [];
/** What recorded validators noted, and during which step. */
const named = new Map<string, Note[]>();
let observed: readonly ObservedValidator[] = [];
/** Hashes of each group's gradient, by who was said to have scored the groups, and what was noted on the way. */
const exchanged = new Map<string, { readonly contributors: readonly string[][]; readonly bits: string[]; readonly notes: Note[] }>();

const step = (name: string, run: RunStep): CycleStep => ({ name, run });

/** Takes the gradients of all groups as if these had been drawn to score them, the rest being as it is. */
async function exchange(context: Context, membership: Membership, cycle: number, drawn: readonly Scorer[]) {
  const view = await viewCycle(context, membership, cycle);
  const given = drawn.map(([name, stake]) => {
    const validator = view.participants.validators.find(({ hotkey }) => hotkey === hotkeys.get(name));
    assert.ok(validator, name);
    return { ...validator, stake };
  });
  const scorers = Array.from({ length: membership.task.experts.groups }, () => given);
  const order = await mergeOrderOf(context, membership, view, (await agreedVerdicts(context, membership, cycle)) ?? []);
  const { opened, search, own } = await ownPart(context, membership, { view, scorers, order });
  try {
    return await groupGradients(context, membership, { view, scorers, order, slice: opened.slice, search }, own);
  } finally {
    await opened.close();
  }
}

async function exchangeAs(what: string, context: Context, membership: Membership, cycle: number, drawn: readonly Scorer[]) {
  const notes: Note[] = [];
  const note = (_text: string, fields: Note = {}) => notes.push(fields);
  const groups = await exchange({ ...context, progress: { ...silentProgress, note } }, membership, cycle, drawn);
  const bits: string[] = [];
  for (const { gradient } of groups)
    for (const name of gradient.sizes.keys())
      bits.push(Buffer.from(Uint8Array.from(new Uint8Array((await gradient.read(name)).slice().buffer))).toString("hex"));
  exchanged.set(what, { contributors: groups.map(({ contributors }) => [...contributors]), bits, notes });
}

const recorded = (name: string): readonly CycleStep[] =>
  roles.validator.map(({ name: what, run }) =>
    step(what, async (context, membership, input) => {
      hotkeys.set(name, context.signer.address);
      const note = (_text: string, fields: Note = {}) => named.set(name, [...(named.get(name) ?? []), { ...fields, during: what }]);
      const result = await run({ ...context, progress: { ...silentProgress, note } }, membership, input);
      if (what === "merge") merged.set(name, [...(merged.get(name) ?? []), result as MergeResult]);
      if (what === "set-weights") weights.set(name, [...(weights.get(name) ?? []), result as SetWeightsResult]);
      return result;
    }),
  );
const validator = (name: string, steps: () => readonly CycleStep[]): Strategy => ({
  name,
  role: "validator",
  summary: name,
  honest: true,
  steps,
});

/** Shows its result of every group, whether it was drawn for it or not. */
const showAll: RunStep = async (context, membership, { cycle }) => ({
  groups: cycle === 0 ? await exchange(context, membership, cycle, [["first", 1n]]) : [],
});

/** Signs gradients that nobody sent, does not show them, and votes for nothing. */
const signWrong: RunStep = async (context, membership, { cycle }) => {
  hotkeys.set("liar", context.signer.address);
  await context.clock.until(({ best }) => best >= votingWindows(membership.task, cycle).ballot.first, context.signal);
  await showReport(context, cycle);
  const view = await viewCycle(context, membership, cycle);
  for (const [group, miners] of view.assignment.groups.entries()) {
    const gradient = { sizes: new Map([["none", 2]]), read: async () => Float32Array.of(group, cycle) };
    const result = await keepGroupResult(context, view, { group, contributors: [...miners], gradient });
    await publishGroupResult(context, membership, view, result);
    await rm(join(context.locator?.slice("file:".length) ?? "", "objects", result.outcome.gradient ?? ""));
  }
  // A version that it computed all by itself.
  await writeJson(context.workspace.layout.cycle(cycle, "merge.json"), { root: hashFields("wrong"), verdicts: [] });
  return {};
};

/** Goes on with the canonical version, and notes what is said of it. */
const listenToNews: RunStep = (context, membership, input) => {
  const note = (_text: string, fields: Note = {}) => news.push(fields);
  return sliceForCycle("whole")({ ...context, progress: { ...silentProgress, note } }, membership, input);
};

/** When the cycle's merge is over for everybody, asks as a validator that was not drawn would. */
const compare: RunStep = async (context, membership, { cycle }) => {
  if (cycle > 0) return {};
  await context.clock.until(({ best }) => best >= windowOf(membership.task, cycle + 1, "distribute").last, context.signal);
  await exchangeAs("itself", context, membership, cycle, [["second", 1n]]);
  await exchangeAs("one voice", context, membership, cycle, [["first", 1n]]);
  await exchangeAs("majority", context, membership, cycle, [
    ["first", 3n],
    ["liar", 2n],
  ]);
  await exchangeAs("no majority", context, membership, cycle, [
    ["first", 2n],
    ["liar", 2n],
  ]);
  await exchangeAs("wrong majority", context, membership, cycle, [
    ["first", 2n],
    ["liar", 3n],
  ]);
  observed = (await observeValidators(context, membership, { cycle })).validators;
  return {};
};

const lazy = validatorAttacks.find(({ name }) => name === "lazy") as Strategy;
const liar: Strategy = { ...lazy, name: "liar", steps: (scene) => replacing(lazy.steps(scene), { merge: signWrong, slice: listenToNews }) };
const denier: Strategy = validator("denier", () => [
  step(
    "score",
    reporting(() => ({ status: "copy", score: 0 })),
  ),
  step("show", async (context, membership, { cycle }) => {
    hotkeys.set("denier", context.signer.address);
    await context.clock.until(({ best }) => best >= votingWindows(membership.task, cycle).ballot.first, context.signal);
    await showReport(context, cycle);
    return {};
  }),
]);
const miner: Strategy = {
  ...honest,
  steps: (scene) => [
    ...honest.steps(scene),
    step("explain", async (context, membership, { cycle }) => {
      if (cycle > 0) return {};
      await context.clock.until(({ best }) => best >= votingWindows(membership.task, cycle).ballot.last, context.signal);
      explained.push(await explainScore(context, membership, { cycle, hotkey: context.signer.address, measure: true }));
      return {};
    }),
  ],
};

describe("validators among each other", function () {
  this.timeout(240_000);
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "connito-test-"));
    const outcome = await simulate({
      cast: [
        { name: "first", strategy: validator("first", () => [...recorded("first"), step("show", showAll)]), stake: 600 },
        { name: "second", strategy: validator("second", () => [...recorded("second"), step("compare", compare)]), stake: 500 },
        { name: "late", strategy: validator("late", () => recorded("late")), stake: 300, from: 1 },
        { name: "liar", strategy: liar, stake: 400 },
        { name: "denier", strategy: denier, stake: 100 },
        { name: "a", strategy: miner, trainingSteps: 80 },
        { name: "b", strategy: miner, trainingSteps: 80 },
      ],
      ...{ cycles: 2, seed: "1", directory, threads: 1, progress: silentProgress, signal: new AbortController().signal },
    });
    for (const { name, troubles } of outcome.players) assert.deepEqual(troubles, [], name);
  });
  after(() => rm(directory, { recursive: true, force: true }));

  it("come to one version, whoever was drawn for which group", () => {
    const [first, second] = [merged.get("first"), merged.get("second")];
    assert.equal(first?.[0]?.root, second?.[0]?.root);
    assert.notEqual(first?.[0]?.root, first?.[0]?.base);
  });

  it("take the gradient that a group's scorers signed", () => {
    const [own, taken] = [exchanged.get("itself"), exchanged.get("one voice")];
    assert.ok(own && own.bits.length > 0);
    assert.deepEqual(taken, { ...own, notes: [] });
  });

  it("come to the same where one of them signed another, and name it", () => {
    const [own, settled] = [exchanged.get("itself"), exchanged.get("majority")];
    assert.ok(own && settled && own.bits.length > 0);
    assert.deepEqual([settled.contributors, settled.bits], [own.contributors, own.bits]);
    assert.deepEqual(
      settled.notes.map(({ code, group, validators }) => [code, group, validators]),
      [0, 1].map((group) => ["group-result-differs", group, [hotkeys.get("liar")]]),
    );
  });

  it("name who signed another result of a group than theirs, when all have voted", () => {
    for (const name of ["first", "second"]) {
      const during = named.get(name)?.filter(({ code, during }) => code === "group-result-differs" && during === "merge") ?? [];
      assert.ok(during.length > 0, name);
      for (const { validators } of during) assert.deepEqual(validators, [hotkeys.get("liar")]);
    }
  });

  it("settle a disagreement from the submissions, and name the wrong party", () => {
    const [own, recomputed] = [exchanged.get("itself"), exchanged.get("no majority")];
    assert.deepEqual([recomputed?.contributors, recomputed?.bits], [own?.contributors, own?.bits]);
    assert.deepEqual(
      recomputed?.notes.map(({ code, validators }) => [code, validators]),
      [0, 1].map(() => ["group-result-differs", [hotkeys.get("liar")]]),
    );
  });

  it("compute a group themselves where nobody shows the gradient that most signed", () => {
    const [own, recomputed] = [exchanged.get("itself"), exchanged.get("wrong majority")];
    assert.deepEqual([recomputed?.contributors, recomputed?.bits], [own?.contributors, own?.bits]);
    assert.ok(recomputed?.notes.some(({ code, validators }) => code === "group-result-differs" && `${validators}` === hotkeys.get("liar")));
  });

  it("stand out where they measured nothing, and where they signed another result", () => {
    const of = (name: string) => observed.find(({ validator: hotkey }) => hotkey === hotkeys.get(name)) as ObservedValidator;
    for (const name of ["first", "second"]) {
      assert.ok(["agrees", "not-drawn"].includes(of(name).standing), `${name} ${of(name).standing}`);
      assert.deepEqual([of(name).unfounded, of(name).differingGroups], [[], []]);
    }
    assert.deepEqual([of("liar").unfounded.length, of("liar").scored], [2, 2]);
    assert.deepEqual(of("liar").differingGroups, of("liar").groups);
  });

  it("lead a miner that asks to its own score, computed and measured again, where they contradict each other to what the evidence bears out", () => {
    assert.equal(explained.length, 2);
    assert.ok(explained.some(({ settled }) => settled === "evidence"));
    for (const { hotkey, agreed, settled, scorers: all, measured } of explained) {
      assert.equal(agreed?.status, "accepted", hotkey);
      const scorers = all.filter(({ validator: name }) => name !== hotkeys.get("denier"));
      // The lie may happen to be near the truth.
      const scores = scorers.map(({ score }) => score ?? 0);
      const contradicted = Math.max(...scores) > 2 * Math.min(...scores) + 100;
      assert.equal(settled, contradicted ? "evidence" : "median");
      for (const scorer of scorers.filter(({ validator: name }) => name !== hotkeys.get("liar"))) {
        assert.deepEqual([scorer.report, scorer.consistent], ["counted", true]);
        assert.deepEqual([scorer.score, scorer.computedAgain?.score], [agreed?.score, agreed?.score]);
        assert.ok((scorer.largestDifference ?? 1) < 1e-6 && measured > 0, `${scorer.largestDifference}`);
      }
      for (const scorer of scorers.filter(({ validator: name }) => name === hotkeys.get("liar")))
        assert.deepEqual([scorer.report, scorer.consistent], [settled === "median" ? "counted" : "contradicted", undefined]);
    }
  });

  it("are told from the others where they say what the chain contradicts", () => {
    for (const { scorers } of explained) {
      const { report, status, consistent } = scorers.find(({ validator: name }) => name === hotkeys.get("denier")) ?? {};
      assert.deepEqual([report, status, consistent], ["against-chain", "copy", undefined]);
    }
  });

  it("give up a version that only they computed, say so, and go on with the canonical one", () => {
    const root = merged.get("first")?.[0]?.root;
    assert.deepEqual(
      news.filter(({ code }) => code === "version-given-up"),
      [{ code: "version-given-up", own: hashFields("wrong"), canonical: root }],
    );
  });

  it("join late from the chain and their peers alone: the same version and the same weights", () => {
    assert.equal(merged.get("late")?.at(-1)?.root, merged.get("first")?.at(-1)?.root);
    assert.deepEqual(weights.get("late")?.at(-1)?.weights, weights.get("first")?.at(-1)?.weights);
    assert.ok((weights.get("late")?.at(-1)?.weights.length ?? 0) > 0);
  });
});
