/**
 * How well near copies are told from honest work. Small models are pre-trained and then trained by many honest miners, who differ in the order
 * of the data, the number of steps and the learning rate, on the shipped engine, for each kind of codec; the shipped rules judge random groups of them,
 * and what attackers make of their submissions. The rate of false alarms is compared with the aim of 0.1%, and each attack's rate of discovery with 1.
 *
 *     npm run bench -- copies [--bases N] [--first N] [--runs N] [--json]
 */
import { readdirSync, readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { keepToPlaces, placeRate } from "../src/engine/places.ts";
import { openTrainer } from "../src/engine/trainer.ts";
import { byteVocabularySize } from "../src/model/byte-tokenizer.ts";
import { type Codec, codecNamed } from "../src/model/codecs/index.ts";
import { familyNamed, readArchitecture } from "../src/model/families/index.ts";
import { submissionPlaces } from "../src/model/submission.ts";
import { cosineOf, cosines, createSketcher, drawPlaces, likenessOf, type Sketch, type Sketcher } from "../src/protocol/copies.ts";
import { sha256, toHex, utf8 } from "../src/protocol/hash.ts";
import { placesSeed } from "../src/protocol/places.ts";
import { type Stream, stream } from "../src/protocol/random.ts";
import { table } from "../src/ui/table.ts";

const architecture = readArchitecture(
  familyNamed("qwen3_moe").newConfig?.({
    vocabularySize: byteVocabularySize,
    layers: 2,
    hiddenSize: 48,
    intermediateSize: 48,
    experts: 4,
    expertsPerToken: 2,
    heads: 2,
    keyValueHeads: 2,
    normalizeTopK: true,
  }) as Record<string, unknown>,
);
const sequenceLength = 48;
const batchSequences = 8;
/** From a raw base, on which all learn nearly the same, to one on which they do not. */
const pretrainSteps = [60, 250, 1_000];
const codecs = ["dense-bf16", "signs-10"].map(codecNamed);
const groupSizes = [2, 3, 5, 8];
const groupsJudged = 2_000;
const attacked = 16;
/** Whose submissions are trained on from: each has to be trained. */
const victims = 8;
const optimizer = { learningRate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01, clipNorm: 1 };

type Tensors = Map<string, Float32Array>;
type Delta = Float32Array;

const seeded = (name: string) => stream(toHex(sha256(utf8(name))));
const elements = (shape: readonly number[]) => shape.reduce((product, length) => product * length, 1);
const specs = familyNamed(architecture.family).tensors(architecture);
/** What draws the places of a codec that says some values only. */
const cycle = { task: toHex(sha256(utf8("bench copies"))), cycle: 0, group: 0 };
const shapesOf = (names: readonly string[]) => specs.filter(({ name }) => names.includes(name));
const group = specs.filter(({ expert }) => expert !== undefined && expert < 2).map(({ name }) => name);

function normal(random: Stream): number {
  const uniform = () => (random.uniform(2 ** 31) + 1) / 2 ** 31;
  return Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** Two real texts in bytes, cut into sequences. */
function texts(): Int32Array[][] {
  const length = sequenceLength + 1;
  return ["datasets-moby-dick", "datasets-sotu"].map((name) => {
    const folder = new URL(`../node_modules/@stdlib/${name}/data/`, import.meta.url);
    const files = readdirSync(folder).filter((file) => file.endsWith(".txt"));
    const bytes = Buffer.concat(files.sort().map((file) => readFileSync(new URL(file, folder))));
    return Array.from({ length: Math.floor(bytes.length / length) }, (_, i) =>
      Int32Array.from(bytes.subarray(i * length, (i + 1) * length)),
    );
  });
}

const train = texts();

async function trainOn(
  weights: Tensors,
  trainable: readonly string[],
  seed: string,
  { steps, learningRate, codec }: { steps: number; learningRate: number; codec?: Codec },
): Promise<Tensors> {
  const trainer = await openTrainer({ architecture, weights, trainable, optimizer, sequenceLength, batchSequences, threads: 1 });
  const base = new Map(trainable.map((name) => [name, weights.get(name) as Float32Array]));
  const places = codec && submissionPlaces(codec.name, cycle, shapesOf(trainable));
  const random = seeded(seed);
  for (let step = 0; step < steps; step++) {
    const batch = Array.from({ length: batchSequences }, (_, index) => {
      const text = train[index % 2] as Int32Array[];
      return text[random.uniform(text.length)] as Int32Array;
    });
    await trainer.step([batch], { learningRate: learningRate * (1 - step / steps) * (places ? placeRate : 1) });
    if (places) await keepToPlaces(trainer, async (name) => base.get(name) as Float32Array, places);
  }
  const trained = await trainer.weights();
  const copy = new Map(trainable.map((name) => [name, Float32Array.from(trained.get(name) as Float32Array)]));
  await trainer.dispose();
  return new Map([...weights, ...copy]);
}

/** A base, and what honest miners of one group submit on it, by codec. */
interface Subject {
  readonly honest: ReadonlyMap<Codec, readonly Delta[]>;
  /** What a delta is when it was encoded and decoded again. */
  sent(codec: Codec, delta: Delta): Delta;
  /** A miner's training that starts from another's result. */
  goOn(delta: Delta, steps: number, seed: string): Promise<Delta>;
}

async function openSubject(index: number, runs: number): Promise<Subject> {
  const name = String(index);
  const random = seeded(`weights ${name}`);
  const start = new Map(
    specs.map(({ name: tensor, shape }) => [
      tensor,
      Float32Array.from({ length: elements(shape) }, () => (shape.length === 1 ? 1 : 0.02 * normal(random))),
    ]),
  );
  const all = specs.map((spec) => spec.name);
  const steps = pretrainSteps[index % pretrainSteps.length] as number;
  const base = await trainOn(start, all, `pre-training ${name}`, { steps, learningRate: 3e-3 });
  const lengths = group.map((tensor) => (base.get(tensor) as Float32Array).length);
  const cut = (delta: Delta): Delta[] => {
    let at = 0;
    return lengths.map((length) => {
      at += length;
      return delta.subarray(at - length, at);
    });
  };
  const difference = (weights: Tensors): Delta =>
    Float32Array.from(
      group.flatMap((tensor) =>
        Array.from(weights.get(tensor) as Float32Array, (value, i) => value - ((base.get(tensor) as Float32Array)[i] as number)),
      ),
    );
  const sent: Subject["sent"] = (codec, delta) =>
    Float32Array.from(
      cut(delta).flatMap((values, index) => {
        const seed = placesSeed(cycle, group[index] as string);
        return [...codec.decode(codec.encode(values.slice(), seed), values.length, seed)];
      }),
    );
  const skill = seeded(`skill ${name}`);
  const honest = new Map<Codec, Delta[]>(codecs.map((codec) => [codec, []]));
  for (let run = 0; run < runs; run++) {
    const [steps, learningRate] = [30 + skill.uniform(91), 3e-4 * (1 + skill.uniform(100) / 50)];
    for (const codec of codecs) {
      const trained = await trainOn(base, group, `miner ${name} ${run}`, { steps, learningRate, codec });
      honest.get(codec)?.push(sent(codec, difference(trained)));
    }
  }
  return {
    honest,
    sent,
    goOn: async (delta, steps, seed) => {
      const parts = cut(delta);
      const from = group.map((tensor, at): [string, Float32Array] => [
        tensor,
        (base.get(tensor) as Float32Array).map((value, i) => value + (parts[at]?.[i] as number)),
      ]);
      return difference(await trainOn(new Map([...base, ...from]), group, seed, { steps, learningRate: 5e-4 }));
    },
  };
}

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
  for (let index = first; index < first + bases; index++) {
    const subject = await openSubject(index, runs);
    for (const [codec, honest] of subject.honest) rows.push(...(await judgeAll(subject, codec, honest, index)));
  }
  const judged = rows.reduce((sum, row) => sum + row.judged, 0);
  const falseAlarms = rows.reduce((sum, row) => sum + row.falseAlarms, 0);
  const honestRuns = bases * runs * codecs.length;
  const result = { honestRuns, judged, falseAlarms, rate: falseAlarms / judged, bound: upperBound(falseAlarms) / judged, aim: 0.001, rows };
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
  const [rate, bound] = [result.rate, result.bound].map((share) => `${(100 * share).toFixed(4)}%`);
  console.log(
    `${honestRuns} honest runs, ${falseAlarms} false alarms in ${judged} judgements: ${rate}, with 95% confidence under ${bound}.`,
  );
}

async function judgeAll(subject: Subject, codec: Codec, honest: readonly Delta[], base: number): Promise<Row[]> {
  const random = seeded(`groups ${base} ${codec.name}`);
  const sparse = codec.kept !== undefined;
  const sketches = honest.map((delta) => sketchOf(delta, codec, base));
  const cosine = cosines(sketches);
  const goneOn = new Map<string, Delta>();
  for (const steps of trainedOn)
    for (let victim = 0; victim < Math.min(victims, honest.length); victim++) {
      const delta = await subject.goOn(honest[victim] as Delta, steps, `${base} ${victim}`);
      goneOn.set(`${steps} ${victim}`, subject.sent(codec, delta));
    }
  return groupSizes.map((groupSize) => {
    let falseAlarms = 0;
    for (let turn = 0; turn < groupsJudged; turn++) {
      const members = random.draw(groupSize, honest.length);
      const own = members.map((a) => members.map((b) => cosine[a]?.[b] as number));
      if (likenessOf(own, groupSize - 1, sparse).copy) falseAlarms++;
    }
    const isFound = (members: readonly number[], copy: Delta): boolean => {
      const sketch = sketchOf(copy, codec, base);
      const own = members.map((member) => cosineOf(sketches[member] as Sketch, sketch));
      const rows = members.map((a, at) => [...members.map((b) => cosine[a]?.[b] as number), own[at] as number]);
      return likenessOf([...rows, [...own, 1]], members.length, sparse).copy;
    };
    const found: Record<string, number> = {};
    for (const [name, attack] of Object.entries(attacks)) {
      // A mixture needs two to be mixed of.
      const size = Math.max(groupSize - 1, name.includes("mixture") ? 2 : 1);
      found[name] = 0;
      for (let turn = 0; turn < attacked; turn++) {
        const members = random.draw(size, honest.length);
        const [first, second = first] = members.map((member) => honest[member] as Delta) as [Delta, Delta?];
        if (isFound(members, subject.sent(codec, attack(first, second, random)))) found[name] += 1;
      }
    }
    for (const steps of trainedOn) {
      const name = `trained on for ${steps} steps`;
      found[name] = 0;
      for (let turn = 0; turn < attacked; turn++) {
        const victim = turn % Math.min(victims, honest.length);
        const others = random.draw(groupSize - 1, honest.length).filter((member) => member !== victim);
        if (isFound([victim, ...others.slice(0, groupSize - 2)], goneOn.get(`${steps} ${victim}`) as Delta)) found[name] += 1;
      }
    }
    const steps = pretrainSteps[base % pretrainSteps.length] as number;
    return { codec: codec.name, pretrainSteps: steps, groupSize, judged: groupsJudged, falseAlarms, found, tried: attacked };
  });
}
