/**
 * How well near copies are told from honest work. Small models are pre-trained and then trained by many honest miners, who differ in the order
 * of the data, the number of steps and the learning rate, on the shipped engine, for each kind of codec; the shipped rules judge random groups of them,
 * and what attackers make of their submissions. The rate of false alarms is compared with the aim of 0.1%, and each attack's rate of discovery with 1.
 *
 *     npm run bench -- copies [--bases N] [--first N] [--runs N] [--json]
 */
import { parseArgs } from "node:util";
import type { Codec } from "../src/model/codecs/index.ts";
import {
  cosineOf,
  cosines,
  createSketcher,
  drawPlaces,
  drawSigns,
  effectsOf,
  isNoise,
  lengthOf,
  likenessOf,
  type Sketch,
  type Sketcher,
} from "../src/protocol/copies.ts";
import { gainOf } from "../src/protocol/evaluation.ts";
import { sha256, toHex, utf8 } from "../src/protocol/hash.ts";
import type { Stream } from "../src/protocol/random.ts";
import { table } from "../src/ui/table.ts";
import { codecs, type Delta, normal, openSubject, pretrainSteps, type Subject, seeded } from "./copies/subject.ts";

const groupSizes = [2, 3, 4, 5, 8];
const groupsJudged = 2_000;
/** Of groups so small that losses decide: each takes five models to measure. */
const groupsMeasured = 100;
const smallGroup = 4;
const attacked = 16;
/** Whose submissions are trained on from: each has to be trained. */
const victims = 8;

/** Noise where the delta is not 0, `ratio` times as large as it: elsewhere a sparse codec would drop it. */
const noisy = (delta: Delta, ratio: number, random: Stream): Delta => {
  const values = delta.filter((value) => value !== 0);
  const size = ratio * Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
  return delta.map((value) => (value === 0 ? 0 : value + size * normal(random)));
};
const mixed = (a: Delta, b: Delta): Delta => a.map((value, i) => (value + (b[i] as number)) / 2);

type Attack = (first: Delta, second: Delta, random: Stream) => Delta;

const attacks: Readonly<Record<string, Attack>> = {
  scaled: (first) => first.map((value) => 1.3 * value),
  "rounded to 16 levels": (first) => {
    const largest = first.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    return first.map((value) => (Math.round((8 * value) / largest) * largest) / 8);
  },
  "noise of a fifth of the size": (first, _, random) => noisy(first, 0.2, random),
  "noise of half the size": (first, _, random) => noisy(first, 0.5, random),
  "noise of the same size": (first, _, random) => noisy(first, 1, random),
  "every other value": (first, _, random) => first.map((value) => (random.uniform(2) === 0 ? value : 0)),
  "a mixture of two": (first, second) => mixed(first, second),
  "a mixture of two, with half the noise": (first, second, random) => noisy(mixed(first, second), 0.5, random),
};
const trainedOn = [5, 10, 30];

const sketchers = new Map<string, Sketcher>();
function sketchOf(delta: Delta, codec: Codec, base: number): Sketch {
  const key = `${base} ${codec.name}`;
  const sketcher = sketchers.get(key) ?? createSketcher(drawPlaces(toHex(sha256(utf8(key))), 0, delta.length, codec.kept));
  sketchers.set(key, sketcher);
  sketcher.add(delta);
  return sketcher.finish();
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

interface Row {
  readonly codec: string;
  readonly pretrainSteps: number;
  readonly groupSize: number;
  /** Honest submissions judged, each the last of a random group, and how many of them were called copies. */
  readonly judged: number;
  readonly falseAlarms: number;
  /** By attack: how many of `tried` were found. */
  readonly found: Record<string, number>;
  readonly tried: number;
}

/** What a copy would be paid if it was not found, of what its original is paid. */
interface Worth {
  readonly codec: string;
  readonly pretrainSteps: number;
  readonly paid: Record<string, number>;
}

/** A submission of a group, as its rule sees it. */
interface Seen {
  readonly delta: Delta;
  readonly sketch: Sketch;
}

/** Whether the last of these, in order of commits, is a near copy; `cosine` holds all pairs. */
async function isCopy(subject: Subject, codec: Codec, cosine: readonly (readonly number[])[], group: readonly Seen[]): Promise<boolean> {
  const place = group.length - 1;
  const { copy, share, like, parts } = likenessOf(cosine, place, codec.kept !== undefined);
  if (copy !== "unclear") return copy;
  const { delta, sketch } = group[place] as Seen;
  const explained = new Float32Array(delta.length);
  for (const [at, source] of like.entries()) {
    const { delta: values, sketch: of } = group[source] as Seen;
    const factor = ((parts[at] as number) * lengthOf(sketch)) / lengthOf(of);
    for (let i = 0; i < explained.length; i++) explained[i] = (explained[i] as number) + factor * (values[i] as number);
  }
  const sign = drawSigns(toHex(sha256(utf8(codec.name))), 0, "all");
  const around = (times: (index: number) => number) => explained.map((part, i) => part + times(i) * ((delta[i] as number) - part));
  const beside = [around(() => -1), around(sign), around((i) => -sign(i))];
  const { base, candidates } = await subject.losses([delta, explained, ...beside]);
  const [own, part, mirrored, scrambled, scrambledMirrored] = candidates as [
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  return isNoise(effectsOf({ base, own, explained: part, mirrored, scrambled, scrambledMirrored }, share));
}

export async function run(): Promise<void> {
  const { values } = parseArgs({
    args: process.argv.slice(3),
    options: {
      bases: { type: "string", default: "3" },
      first: { type: "string", default: "0" },
      runs: { type: "string", default: "40" },
      json: { type: "boolean", default: false },
    },
  });
  const [bases, first, runs] = [Number(values.bases), Number(values.first), Number(values.runs)];
  const rows: Row[] = [];
  const worth: Worth[] = [];
  for (let index = first; index < first + bases; index++) {
    const subject = await openSubject(index, runs);
    for (const [codec, honest] of subject.honest) {
      rows.push(...(await judgeAll(subject, codec, honest, index)));
      worth.push(await worthOf(subject, codec, honest, index));
    }
  }
  const judged = rows.reduce((sum, row) => sum + row.judged, 0);
  const falseAlarms = rows.reduce((sum, row) => sum + row.falseAlarms, 0);
  const honestRuns = bases * runs * codecs.length;
  const result = {
    honestRuns,
    judged,
    falseAlarms,
    rate: falseAlarms / judged,
    bound: upperBound(falseAlarms) / judged,
    aim: 0.001,
    rows,
    worth,
  };
  if (values.json) return console.log(JSON.stringify(result));
  const percent = (part: number, whole: number) => `${Math.round((100 * part) / whole)}%`;
  const names = Object.keys(rows[0]?.found ?? {});
  console.log(
    table(
      ["steps before, codec, group", "false alarms", ...names],
      rows.map((row) => [
        `${row.pretrainSteps}, ${row.codec}, ${row.groupSize}`,
        `${row.falseAlarms} of ${row.judged}`,
        ...names.map((name) => percent(row.found[name] ?? 0, row.tried)),
      ]),
    ),
  );
  console.log("Paid for a copy that is not found, of what its original is paid:");
  const attempts = Object.keys(worth[0]?.paid ?? {});
  console.log(
    table(
      ["steps before, codec", ...attempts],
      worth.map(({ codec, pretrainSteps: steps, paid }) => [`${steps}, ${codec}`, ...attempts.map((name) => percent(paid[name] ?? 0, 1))]),
    ),
  );
  const [rate, bound] = [result.rate, result.bound].map((share) => `${(100 * share).toFixed(4)}%`);
  console.log(
    `${honestRuns} honest runs, ${falseAlarms} false alarms in ${judged} judgements: ${rate}, with 95% confidence under ${bound}.`,
  );
}

const errorRate = 0.01;

async function worthOf(subject: Subject, codec: Codec, honest: readonly Delta[], base: number): Promise<Worth> {
  const random = seeded(`worth ${base} ${codec.name}`);
  const paid: Record<string, number> = {};
  for (const [name, attack] of Object.entries(attacks)) {
    let [copies, originals] = [0, 0];
    for (let victim = 0; victim < victims; victim++) {
      const [first, second] = [honest[victim], honest[victim + 1]] as [Delta, Delta];
      const { base: losses, candidates } = await subject.losses([first, subject.sent(codec, attack(first, second, random))]);
      const [original, copy] = candidates.map((own) => Math.max(0, gainOf(losses, own, errorRate).lower)) as [number, number];
      originals += original;
      copies += copy;
    }
    paid[name] = copies / originals;
  }
  return { codec: codec.name, pretrainSteps: pretrainSteps[base % pretrainSteps.length] as number, paid };
}

async function judgeAll(subject: Subject, codec: Codec, honest: readonly Delta[], base: number): Promise<Row[]> {
  const random = seeded(`groups ${base} ${codec.name}`);
  const seen = honest.map((delta): Seen => ({ delta, sketch: sketchOf(delta, codec, base) }));
  const cosine = cosines(seen.map(({ sketch }) => sketch));
  const goneOn = new Map<string, Delta>();
  for (const steps of trainedOn)
    for (let victim = 0; victim < Math.min(victims, honest.length); victim++) {
      const delta = await subject.goOn(honest[victim] as Delta, steps, `${base} ${victim}`);
      goneOn.set(`${steps} ${victim}`, subject.sent(codec, delta));
    }
  const among = (members: readonly number[]) => members.map((a) => members.map((b) => cosine[a]?.[b] as number));
  const isFound = (members: readonly number[], delta: Delta): Promise<boolean> => {
    const sketch = sketchOf(delta, codec, base);
    const own = members.map((member) => cosineOf((seen[member] as Seen).sketch, sketch));
    const rows = among(members).map((row, at) => [...row, own[at] as number]);
    return isCopy(subject, codec, [...rows, [...own, 1]], [...members.map((member) => seen[member] as Seen), { delta, sketch }]);
  };
  const rows: Row[] = [];
  for (const groupSize of groupSizes) {
    const judged = groupSize > smallGroup ? groupsJudged : groupsMeasured;
    let falseAlarms = 0;
    for (let turn = 0; turn < judged; turn++) {
      const members = random.draw(groupSize, honest.length);
      const group = members.map((member) => seen[member] as Seen);
      if (await isCopy(subject, codec, among(members), group)) falseAlarms++;
    }
    const found: Record<string, number> = {};
    for (const [name, attack] of Object.entries(attacks)) {
      // A mixture needs two to be mixed of.
      const size = Math.max(groupSize - 1, name.includes("mixture") ? 2 : 1);
      found[name] = 0;
      for (let turn = 0; turn < attacked; turn++) {
        const members = random.draw(size, honest.length);
        const [first, second = first] = members.map((member) => honest[member] as Delta) as [Delta, Delta?];
        if (await isFound(members, subject.sent(codec, attack(first, second, random)))) found[name] += 1;
      }
    }
    for (const steps of trainedOn) {
      const name = `trained on for ${steps} steps`;
      found[name] = 0;
      for (let turn = 0; turn < attacked; turn++) {
        const victim = turn % Math.min(victims, honest.length);
        const others = random.draw(groupSize - 1, honest.length).filter((member) => member !== victim);
        if (await isFound([victim, ...others.slice(0, groupSize - 2)], goneOn.get(`${steps} ${victim}`) as Delta)) found[name] += 1;
      }
    }
    const steps = pretrainSteps[base % pretrainSteps.length] as number;
    rows.push({ codec: codec.name, pretrainSteps: steps, groupSize, judged, falseAlarms, found, tried: attacked });
  }
  return rows;
}
