import assert from "node:assert/strict";
import type { OwnEffect } from "../../../src/protocol/own-training.ts";
import { createReport, type ReportEntry } from "../../../src/protocol/report.ts";
import type { Status } from "../../../src/protocol/verdict.ts";
import { settledByEvidence } from "../../../src/steps/evaluate/agreed.ts";
import type { ScoreEvidence } from "../../../src/steps/evaluate/evidence.ts";
import { exampleTask, hash, hotkey } from "../../protocol/support.ts";

const task = exampleTask({ evaluation: { leastTraining: { sequences: 1_000, drawn: 64 } } });
const names = ["a", "b", "c", "ring"] as const;
type Name = (typeof names)[number];
const miners = new Map(names.map((name, index) => [name, hotkey(index)]));
const judged = { accepted: 500_000, "not-trained": 0, "no-gain": 0 };
const paid: Record<Name, Status> = { a: "accepted", b: "accepted", c: "accepted", ring: "accepted" };

interface Said {
  readonly stake: number;
  readonly statuses: Readonly<Record<Name, Status>>;
  /** The effects that it shows. */
  readonly effects?: Partial<Record<Name, number>>;
}

/** What follows from reports on four miners whose losses would all be paid, for who does not measure; by name. */
function settled(...said: readonly Said[]) {
  const shown = new Map<string, ScoreEvidence>();
  const weighed = said.map(({ stake, statuses, effects = {} }, index) => {
    const validator = hotkey(10 + index);
    const entries = names.map((name): ReportEntry => {
      const status = statuses[name];
      return { miner: miners.get(name) as string, group: 0, root: hash(name), status, score: judged[status as keyof typeof judged] };
    });
    const ownOf = (name: Name): { own?: OwnEffect } => (effects[name] === undefined ? {} : { own: { effect: effects[name], error: 0.05 } });
    shown.set(validator, {
      format: "connito/evidence/1",
      stages: [2, 2, 4],
      baseLosses: [3, 3.5],
      open: [],
      miners: names.map((name) => ({ miner: miners.get(name) as string, losses: [2.5, 3], openLosses: [], ...ownOf(name) })),
    });
    const head = { task: hash("task"), cycle: 1, base: hash("base"), validator, evidence: hash(validator) };
    return { stake: BigInt(stake), report: createReport({ ...head, entries }) };
  });
  const agreed = new Map(settledByEvidence(task, weighed, shown).map((entry) => [entry.miner, entry]));
  return Object.fromEntries(names.map((name) => [name, agreed.get(miners.get(name) as string)?.status]));
}

const effects = { a: 1, b: 0.9, c: 1.1, ring: 0 };
const honest: Said = { stake: 2, statuses: { ...paid, ring: "not-trained" }, effects };
const { ring: _, ...others } = effects;

describe("what who only follows takes reports for", () => {
  it("is no pay for whom one shows to be not trained, whatever effects others leave out or make up, and whatever their stake", () => {
    assert.deepEqual(settled(honest), honest.statuses);
    for (const shown of [{}, others, { a: 1 }, { ring: 1 }, { ...others, ring: 1 }])
      for (const stake of [1, 2, 1_000]) {
        const lying: Said = { stake, statuses: paid, effects: shown };
        for (const said of [
          [honest, lying],
          [lying, honest, lying],
        ])
          assert.deepEqual(settled(...said), { ...paid, ring: "unscored" }, JSON.stringify(said));
      }
  });

  it("is what the effects say where one shows them, and says something else", () => {
    const against = { stake: 1_000, statuses: paid, effects };
    assert.deepEqual(settled(honest, against), honest.statuses);
    for (const shown of [{}, others, effects])
      assert.deepEqual(settled(honest, { stake: 1_000, statuses: { ...honest.statuses, a: "not-trained" }, effects: shown }).a, "accepted");
  });

  it("is nothing where one makes effects up that accuse, and another had no time to ask", () => {
    const accusing: Said = { stake: 1_000, statuses: { ...paid, a: "not-trained" }, effects: { ...effects, a: 0, ring: 1 } };
    assert.deepEqual(settled({ stake: 1, statuses: paid }, accusing), { ...paid, a: "unscored" });
    assert.deepEqual(settled({ stake: 1, statuses: paid }), paid);
  });
});
