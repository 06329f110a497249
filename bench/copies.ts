/**
 * How well near copies are told from honest work. Small models are pre-trained and then trained by many honest miners, who differ in the order
 * of the data, the number of steps and the learning rate, on the shipped engine, for each kind of codec; the shipped rules judge random groups of them,
 * and what attackers make of their submissions. The rate of false alarms is compared with the aim of 0.1%, and each attack's rate of discovery with 1.
 *
 *     npm run bench -- copies [--bases N] [--first N] [--runs N] [--codec NAME] [--losses N] [--draw TEXT] [--paid] [--json]
 */
import { parseArgs } from "node:util";
import type { Codec } from "../src/model/codecs/index.ts";
import { type Effects, isNoise, type Likeness } from "../src/protocol/copies.ts";
import { gainOf } from "../src/protocol/evaluation.ts";
import { createProgress } from "../src/ui/progress.ts";
import { table } from "../src/ui/table.ts";
import { attacks, trainedOn } from "./copies/attacks.ts";
import { type Case, createJudge, type Judge, type Seen } from "./copies/judge.ts";
import { type AccusedRow, judgeAccused, judgeRings, type RingRow } from "./copies/rings.ts";
import { codecs, type Delta, openSubject, pretrainSteps, type Subject, seeded } from "./copies/subject.ts";

/** Miners in a group, the attacker included. */
const groupSizes = [2, 3, 5, 8];
/** Honest groups of each size that sketches judge; of those whom they leave open losses judge some, each of which takes five models to measure. */
const judgedBySketches = 5_000;
/** Copies that each attack makes for a group of each size. */
const tries = 10;
/** Whose submissions are trained on from: each has to be trained. */
const victims = 5;
const errorRate = 0.01;

interface Subjected {
  readonly codec: string;
  readonly pretrainSteps: number;
}

interface Row extends Subjected {
  readonly groupSize: number;
  /** Honest submissions at random places of random groups, and how many sketches alone called copies. */
  readonly judged: number;
  readonly bySketches: number;
  /** Of those that sketches left open, how many were measured and how many losses called noise. */
  readonly measured: number;
  readonly byLosses: number;
  /** The least that what those add does, and the least that it does more than its own values at random. */
  readonly leastEffect?: number;
  readonly leastOfRandom?: number;
  /** Copies found, by attack, of `tries`; and of those that losses were asked of, the most that what they add does more than at random. */
  readonly found: Record<string, number>;
  readonly mostOfRandom: Record<string, number>;
}

/** What a copy would be paid if it was not found, of what its original is paid. */
interface Worth extends Subjected {
  readonly paid: Record<string, number>;
}

export async function run(): Promise<void> {
  const { values } = parseArgs({
    args: process.argv.slice(3),
    options: {
      bases: { type: "string", default: "3" },
      first: { type: "string", default: "0" },
      runs: { type: "string", default: "40" },
      codec: { type: "string" },
      losses: { type: "string", default: "125" },
      /** Other groups, and other places of sketches. */
      draw: { type: "string", default: "" },
      /** Each is paid by its own losses, in place of all alike; honest work that is paid nothing is not judged. */
      paid: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
    },
  });
  const [bases, first, runs] = [Number(values.bases), Number(values.first), Number(values.runs)];
  const wanted = codecs.filter(({ name }) => values.codec === undefined || name === values.codec);
  const progress = createProgress({ kind: "plain" });
  const rows: Row[] = [];
  const worth: Worth[] = [];
  const rings: (Subjected & RingRow)[] = [];
  const accused: (Subjected & AccusedRow)[] = [];
  for (let index = first; index < first + bases; index++) {
    const subject = await openSubject(index, runs, wanted);
    for (const [codec, honest] of subject.honest) {
      const about = { codec: codec.name, pretrainSteps: pretrainSteps[index % pretrainSteps.length] as number };
      const name = `${index} ${codec.name}${values.draw}`;
      const elements = (honest[0] as Delta).length;
      const judge = createJudge(subject, codec, { name, elements, errorRate: values.paid ? errorRate : undefined });
      const how = { name, base: index, judgedByLosses: Number(values.losses) };
      for (const row of await judgeAll(subject, codec, judge, honest, how)) rows.push({ ...about, ...row });
      worth.push({ ...about, paid: await worthOf(subject, codec, judge, honest, index) });
      const payer = createJudge(subject, codec, { name: `rings ${name}`, elements, errorRate });
      for (const row of await judgeRings(subject, codec, payer, honest, index)) rings.push({ ...about, ...row });
      for (const row of await judgeAccused(subject, codec, payer, honest, index)) accused.push({ ...about, ...row });
      progress.note(JSON.stringify({ rows: rows.slice(-groupSizes.length), worth: worth.at(-1) }));
    }
  }
  const total = (of: (row: Row) => number) => rows.reduce((sum, row) => sum + of(row), 0);
  const rates = {
    sketches: rateOf(
      total(({ bySketches }) => bySketches),
      total(({ judged }) => judged),
    ),
    losses: rateOf(
      total(({ byLosses }) => byLosses),
      total(({ measured }) => measured),
    ),
  };
  const result = { honestRuns: bases * runs * wanted.length, rates, aim: 0.001, tries, rows, worth, rings, accused };
  console.log(values.json ? JSON.stringify(result) : shown(result));
}

interface Rate {
  readonly falseAlarms: number;
  readonly judged: number;
  readonly rate: number;
  /** With 95% confidence, were judgements independent. */
  readonly bound: number;
}

function rateOf(falseAlarms: number, judged: number): Rate {
  return { falseAlarms, judged, rate: falseAlarms / judged, bound: upperBound(falseAlarms) / judged };
}

/** The most that a mean of so many events can be, with 95% confidence, if they are Poisson's. */
function upperBound(events: number): number {
  const chance = (mean: number) => {
    let [term, sum] = [Math.exp(-mean), 0];
    for (let k = 0; k <= events; k++) {
      sum += term;
      term *= mean / (k + 1);
    }
    return sum;
  };
  let bound = events;
  while (chance(bound) > 0.05) bound += 0.01;
  return bound;
}

function ofRandom({ effect, random }: Effects): number {
  return effect / random;
}

async function judgeAll(
  subject: Subject,
  codec: Codec,
  judge: Judge,
  honest: readonly Delta[],
  { name: drawn, base, judgedByLosses }: { readonly name: string; readonly base: number; readonly judgedByLosses: number },
): Promise<Omit<Row, keyof Subjected>[]> {
  const random = seeded(`groups ${drawn}`);
  // All in one pass; each is asked for again.
  await judge.losses(honest);
  const seen: Seen[] = [];
  for (const delta of honest) seen.push(await judge.see(delta));
  const goneOn = new Map<string, Delta>();
  for (const steps of trainedOn)
    for (let victim = 0; victim < victims; victim++) {
      const delta = await subject.goOn(honest[victim] as Delta, steps, `${base} ${victim}`);
      goneOn.set(`${steps} ${victim}`, subject.sent(codec, delta));
    }
  const groupOf = (members: readonly number[]) => members.map((member) => seen[member] as Seen);

  /** How many of these sketches call copies, and what losses say of the first of those that they leave open. */
  const settle = async (cases: readonly Case[], most = cases.length): Promise<{ copies: number; effects: Effects[] }> => {
    const open: (Case & { likeness: Likeness })[] = [];
    let copies = 0;
    for (const one of cases) {
      const likeness = judge.likeness(one);
      if (likeness.copy === true) copies++;
      else if (likeness.copy === "unclear") open.push({ ...one, likeness });
    }
    return { copies, effects: await judge.effects(open.slice(0, most)) };
  };

  const rows: Omit<Row, keyof Subjected>[] = [];
  for (const groupSize of groupSizes) {
    const cases = Array.from({ length: judgedBySketches }, (): Case => {
      return { group: groupOf(random.draw(groupSize, honest.length)), place: 1 + random.uniform(groupSize - 1) };
    }).filter(({ group, place }) => (group[place] as Seen).paid > 0);
    const { copies, effects } = await settle(cases, judgedByLosses);
    const found: Record<string, number> = {};
    const mostOfRandom: Record<string, number> = {};
    const attacked = async (name: string, group: (turn: number) => { members: readonly number[]; copy: Delta }) => {
      const against: Case[] = [];
      for (let turn = 0; turn < tries; turn++) {
        const { members, copy } = group(turn);
        against.push({ group: [...groupOf(members), await judge.see(copy)], place: members.length });
      }
      const outcome = await settle(against);
      found[name] = outcome.copies + outcome.effects.filter(isNoise).length;
      if (outcome.effects.length > 0) mostOfRandom[name] = Math.max(...outcome.effects.map(ofRandom));
    };
    for (const [name, attack] of Object.entries(attacks))
      await attacked(name, () => {
        // A mixture needs two to be mixed of.
        const members = random.draw(Math.max(groupSize - 1, name.includes("mixture") ? 2 : 1), honest.length);
        const [first, second = first] = members.map((member) => honest[member] as Delta) as [Delta, Delta?];
        return { members, copy: subject.sent(codec, attack(first, second, random)) };
      });
    for (const steps of trainedOn)
      await attacked(`trained on for ${steps} steps`, (turn) => {
        const victim = turn % victims;
        const others = random.draw(groupSize - 1, honest.length).filter((member) => member !== victim);
        return { members: [victim, ...others.slice(0, groupSize - 2)], copy: goneOn.get(`${steps} ${victim}`) as Delta };
      });
    rows.push({
      groupSize,
      judged: cases.length,
      bySketches: copies,
      measured: effects.length,
      byLosses: effects.filter(isNoise).length,
      ...(effects.length > 0 && {
        leastEffect: Math.min(...effects.map(({ effect }) => effect)),
        leastOfRandom: Math.min(...effects.map(ofRandom)),
      }),
      found,
      mostOfRandom,
    });
  }
  return rows;
}

async function worthOf(
  subject: Subject,
  codec: Codec,
  judge: Judge,
  honest: readonly Delta[],
  base: number,
): Promise<Record<string, number>> {
  const random = seeded(`worth ${base} ${codec.name}`);
  const paid: Record<string, number> = {};
  for (const [name, attack] of Object.entries(attacks)) {
    let [copies, originals] = [0, 0];
    for (let victim = 0; victim < victims; victim++) {
      const [first, second] = [honest[victim], honest[victim + 1]] as [Delta, Delta];
      const { base: losses, candidates } = await judge.losses([first, subject.sent(codec, attack(first, second, random))]);
      const [original, copy] = candidates.map((own) => Math.max(0, gainOf(losses, own, errorRate).lower)) as [number, number];
      originals += original;
      copies += copy;
    }
    paid[name] = copies / originals;
  }
  return paid;
}

interface Result {
  readonly honestRuns: number;
  readonly rates: Readonly<Record<"sketches" | "losses", Rate>>;
  readonly rows: readonly Row[];
  readonly worth: readonly Worth[];
  readonly rings: readonly (Subjected & RingRow)[];
  readonly accused: readonly (Subjected & AccusedRow)[];
}

function shown({ honestRuns, rates, rows, worth, rings, accused }: Result): string {
  const percent = (part: number, whole: number) => `${Math.round((100 * part) / whole)}%`;
  const subjects = [...new Set(rows.map(({ pretrainSteps: steps, codec }) => `${steps} steps, ${codec}`))];
  const of = (subject: string) => rows.filter(({ pretrainSteps: steps, codec }) => `${steps} steps, ${codec}` === subject);
  const alarms = rows.map((row) => [
    `${row.pretrainSteps} steps, ${row.codec}`,
    row.groupSize,
    `${row.bySketches} of ${row.judged}`,
    `${row.byLosses} of ${row.measured}`,
    row.leastEffect?.toFixed(2),
    row.leastOfRandom?.toFixed(1),
  ]);
  const names = Object.keys(rows[0]?.found ?? {});
  const paid = Object.keys(worth[0]?.paid ?? {});
  return [
    "Honest submissions called copies:",
    table(["base, codec", "group", "by sketches", "by losses", "least effect", "least of random"], alarms),
    `Copies found, in groups of ${groupSizes.join(" / ")}:`,
    table(
      ["attack", ...subjects],
      names.map((name) => [
        name,
        ...subjects.map((subject) =>
          of(subject)
            .map(({ found }) => percent(found[name] as number, tries))
            .join(" / "),
        ),
      ]),
    ),
    "Paid for a copy that is not found, of what its original is paid:",
    table(
      ["attack", ...subjects],
      paid.map((name) => [
        name,
        ...worth.map((one) => (Number.isNaN(one.paid[name]) ? "nothing is" : percent(one.paid[name] as number, 1))),
      ]),
    ),
    "Rings: one training that nobody commits, submitted by several hotkeys under noise of their own:",
    table(
      ["base, codec", "honest, ring", "noise", "found", "the rest is paid, in trainings", "honest called copies"],
      rings.map((one) => [
        `${one.pretrainSteps} steps, ${one.codec}`,
        `${one.honest}, ${one.ring}`,
        one.noise,
        `${one.found} of ${one.submitted}`,
        Number.isFinite(one.paid) ? one.paid.toFixed(2) : "-",
        `${one.accused} of ${one.judged}`,
      ]),
    ),
    "Honest submissions beside rings, in groups of 5 to 8, called copies:",
    table(
      ["base, codec", "noise", "by sketches", "by losses"],
      accused.map((one) => [
        `${one.pretrainSteps} steps, ${one.codec}`,
        one.noise,
        `${one.bySketches} of ${one.judged}`,
        `${one.byLosses} of ${one.judged}`,
      ]),
    ),
    `${honestRuns} honest runs. ${Object.entries(rates)
      .filter(([, { judged }]) => judged > 0)
      .map(([rule, { falseAlarms, judged, rate, bound }]) => {
        const [seen, most] = [rate, bound].map((share) => `${(100 * share).toFixed(4)}%`);
        return `By ${rule} ${falseAlarms} false alarms in ${judged} judgements: ${seen}, with 95% confidence under ${most}.`;
      })
      .join(" ")}`,
  ].join("\n\n");
}
