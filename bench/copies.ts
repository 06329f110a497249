/**
 * How well near copies are told from honest work. Small models are pre-trained and then trained by many honest miners, who differ in the order
 * of the data, the number of steps and the learning rate, on the shipped engine; the shipped rules judge random groups of them, and what attackers
 * make of their submissions. The rate of false alarms is compared with the aim of 0.1%, and each attack's rate of discovery with 1.
 *
 *     npm run bench -- copies [--bases N] [--runs N] [--json]
 */
import { readdirSync, readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { openEvaluator } from "../src/engine/evaluator.ts";
import { openTrainer } from "../src/engine/trainer.ts";
import { byteVocabularySize } from "../src/model/byte-tokenizer.ts";
import { familyNamed, readArchitecture } from "../src/model/families/index.ts";
import { addsNothing, drawCoordinates, explain, sketchOf, suspicion, unexplained, usualLikeness } from "../src/protocol/copies.ts";
import { sha256, toHex, utf8 } from "../src/protocol/hash.ts";
import { type Stream, stream } from "../src/protocol/random.ts";

const architecture = readArchitecture(
  familyNamed("qwen3_moe").newConfig?.({
    vocabularySize: byteVocabularySize,
    layers: 2,
    hiddenSize: 32,
    intermediateSize: 32,
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
const groupSize = 8;
const groupsJudged = 1_000;
const attacked = 12;
const optimizer = { learningRate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01, clipNorm: 1 };

type Tensors = Map<string, Float32Array>;
type Delta = Float32Array;

const seeded = (name: string) => stream(toHex(sha256(utf8(name))));
const elements = (shape: readonly number[]) => shape.reduce((product, length) => product * length, 1);
const specs = familyNamed(architecture.family).tensors(architecture);
const group = specs.filter(({ expert }) => expert !== undefined && expert < 2).map(({ name }) => name);

function normal(random: Stream): number {
  const uniform = () => (random.uniform(2 ** 31) + 1) / 2 ** 31;
  return Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** Two real texts in bytes, cut into sequences; every tenth run of fifty is held out. */
function texts(): { train: Int32Array[][]; heldOut: Int32Array[] } {
  const parts = ["datasets-moby-dick", "datasets-sotu"].map((name) => {
    const folder = new URL(`../node_modules/@stdlib/${name}/data/`, import.meta.url);
    const files = readdirSync(folder).filter((file) => file.endsWith(".txt"));
    const bytes = Buffer.concat(files.sort().map((file) => readFileSync(new URL(file, folder))));
    const length = sequenceLength + 1;
    return Array.from({ length: Math.floor(bytes.length / length) }, (_, i) =>
      Int32Array.from(bytes.subarray(i * length, (i + 1) * length)),
    );
  });
  const isHeldOut = (index: number) => Math.floor(index / 50) % 10 === 0;
  return {
    train: parts.map((part) => part.filter((_, index) => !isHeldOut(index))),
    heldOut: parts.flatMap((part) => {
      const held = part.filter((_, index) => isHeldOut(index));
      return seeded("held out")
        .draw(64, held.length)
        .map((index) => held[index] as Int32Array);
    }),
  };
}

const { train, heldOut } = texts();

async function trainOn(
  weights: Tensors,
  trainable: readonly string[],
  seed: string,
  steps: number,
  learningRate: number,
): Promise<Tensors> {
  const trainer = await openTrainer({ architecture, weights, trainable, optimizer, sequenceLength, batchSequences, threads: 1 });
  const random = seeded(seed);
  for (let step = 0; step < steps; step++) {
    const batch = Array.from({ length: batchSequences }, (_, index) => {
      const text = train[index % 2] as Int32Array[];
      return text[random.uniform(text.length)] as Int32Array;
    });
    await trainer.step([batch], { learningRate: learningRate * (1 - step / steps) });
  }
  const trained = await trainer.weights();
  const copy = new Map(trainable.map((name) => [name, Float32Array.from(trained.get(name) as Float32Array)]));
  await trainer.dispose();
  return new Map([...weights, ...copy]);
}

interface Subject {
  readonly base: Tensors;
  readonly honest: readonly Delta[];
  /** Mean gain on held-out text of the base with a delta, nats per token. */
  gain(delta: Delta): Promise<number>;
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
  const base = await trainOn(
    start,
    specs.map((spec) => spec.name),
    `pre-training ${name}`,
    pretrainSteps[index % pretrainSteps.length] as number,
    3e-3,
  );
  const difference = (weights: Tensors): Delta =>
    Float32Array.from(
      group.flatMap((tensor) =>
        [...(weights.get(tensor) as Float32Array)].map((value, i) => value - ((base.get(tensor) as Float32Array)[i] as number)),
      ),
    );
  const added = (delta: Delta): Tensors => {
    let at = 0;
    return new Map(
      group.map((tensor) => {
        const weights = (base.get(tensor) as Float32Array).map((value, i) => value + (delta[at + i] as number));
        at += weights.length;
        return [tensor, weights];
      }),
    );
  };
  const skill = seeded(`skill ${name}`);
  const honest: Delta[] = [];
  for (let run = 0; run < runs; run++) {
    const [steps, rate] = [30 + skill.uniform(91), 3e-4 * (1 + skill.uniform(100) / 50)];
    honest.push(difference(await trainOn(base, group, `miner ${name} ${run}`, steps, rate)));
  }
  const evaluator = await openEvaluator({ architecture, weights: base, sequenceLength, batchSequences, threads: 1 });
  const before = await evaluator.losses(heldOut);
  return {
    base,
    honest,
    async gain(delta) {
      evaluator.replace(added(delta));
      const after = await evaluator.losses(heldOut);
      evaluator.replace(new Map(group.map((tensor) => [tensor, base.get(tensor) as Float32Array])));
      return before.reduce((sum, loss, i) => sum + loss - (after[i] as number), 0) / before.length;
    },
    goOn: async (delta, steps, seed) => difference(await trainOn(new Map([...base, ...added(delta)]), group, seed, steps, 5e-4)),
  };
}

/** The shipped rules on one group: is the last of it a near copy of the others? */
async function judged(
  { gain }: Subject,
  later: Delta,
  earlier: readonly Delta[],
  seed: string,
): Promise<{ suspect: boolean; copy: boolean }> {
  const places = drawCoordinates(toHex(sha256(utf8(seed))), 0, later.length);
  const sketches = earlier.map((delta) => sketchOf([delta], places));
  const { share, sources } = explain(sketchOf([later], places), sketches);
  const level = suspicion(share, usualLikeness(sketches));
  if (level !== "suspect") return { suspect: level === "certain", copy: level === "certain" };
  const from = sources.map(({ index, factor }) => ({ delta: earlier[index] as Delta, factor }));
  return { suspect: true, copy: addsNothing(await gain(unexplained(later, from)), await gain(later), share) };
}

const noisy = (delta: Delta, ratio: number, random: Stream): Delta => {
  const size = ratio * Math.sqrt(delta.reduce((sum, value) => sum + value * value, 0) / delta.length);
  return delta.map((value) => value + size * normal(random));
};
const mixed = (...deltas: Delta[]): Delta =>
  (deltas[0] as Delta).map((_, i) => deltas.reduce((sum, delta) => sum + (delta[i] as number), 0) / deltas.length);

type Attack = (subject: Subject, victims: readonly Delta[], random: Stream, seed: string) => Delta | Promise<Delta>;
const first = (victims: readonly Delta[]) => victims[0] as Delta;

const attacks: Readonly<Record<string, Attack>> = {
  scaled: (_, victims) => first(victims).map((value) => 1.3 * value),
  "rounded to 16 levels": (_, victims) => {
    const largest = first(victims).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    return first(victims).map((value) => (Math.round((8 * value) / largest) * largest) / 8);
  },
  "noise of half the size": (_, victims, random) => noisy(first(victims), 0.5, random),
  "noise of the same size": (_, victims, random) => noisy(first(victims), 1, random),
  "every other value": (_, victims, random) => first(victims).map((value) => (random.uniform(2) === 0 ? value : 0)),
  "a mixture of two": (_, victims) => mixed(first(victims), victims[1] as Delta),
  "a mixture of two, with half the noise": (_, victims, random) => noisy(mixed(first(victims), victims[1] as Delta), 0.5, random),
  "trained on for 10 steps": (subject, victims, _random, seed) => subject.goOn(first(victims), 10, seed),
  "trained on for 30 steps": (subject, victims, _random, seed) => subject.goOn(first(victims), 30, seed),
};

export async function run(): Promise<void> {
  const { values } = parseArgs({
    args: process.argv.slice(3),
    options: {
      bases: { type: "string", default: "3" },
      runs: { type: "string", default: "40" },
      json: { type: "boolean", default: false },
    },
  });
  const [bases, runs] = [Number(values.bases), Number(values.runs)];
  let [judgements, suspects, falseAlarms] = [0, 0, 0];
  const caught = new Map(Object.keys(attacks).map((name) => [name, { tried: 0, caught: 0 }]));
  for (let index = 0; index < bases; index++) {
    const subject = await openSubject(index, runs);
    const random = seeded(`groups ${index}`);
    for (let turn = 0; turn < groupsJudged; turn++) {
      const [later, ...earlier] = random.draw(groupSize, runs).map((place) => subject.honest[place] as Delta);
      const { suspect, copy } = await judged(subject, later as Delta, earlier, `${index} ${turn}`);
      judgements++;
      suspects += suspect ? 1 : 0;
      falseAlarms += copy ? 1 : 0;
    }
    for (const [name, attack] of Object.entries(attacks)) {
      const row = caught.get(name) as { tried: number; caught: number };
      for (let turn = 0; turn < attacked; turn++) {
        const earlier = random.draw(groupSize - 1, runs).map((place) => subject.honest[place] as Delta);
        const copy = await attack(subject, earlier, random, `${index} ${name} ${turn}`);
        row.tried++;
        row.caught += (await judged(subject, copy, earlier, `${index} ${name} ${turn}`)).copy ? 1 : 0;
      }
    }
  }
  const result = {
    honestRuns: bases * runs,
    judgements,
    suspected: suspects,
    falseAlarms,
    falseAlarmRate: falseAlarms / judgements,
    aim: 0.001,
    attacks: [...caught].map(([attack, row]) => ({ attack, tried: row.tried, caught: row.caught, rate: row.caught / row.tried })),
  };
  if (values.json) return console.log(JSON.stringify(result));
  console.log(
    `${result.honestRuns} honest runs, ${judgements} judgements in groups of ${groupSize}: ${suspects} suspected, ${falseAlarms} false alarms (aim: under ${result.aim})`,
  );
  for (const { attack, tried, caught: found, rate } of result.attacks)
    console.log(`${attack.padEnd(40)} ${found} of ${tried} (${(100 * rate).toFixed(0)}%)`);
}
