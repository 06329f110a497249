/** Small models, and what honest miners of one of their groups submit: trained on two real texts by the shipped engine. */
import { readdirSync, readFileSync } from "node:fs";
import { placeRate } from "../../src/engine/places.ts";
import { openTrainer } from "../../src/engine/trainer.ts";
import { byteVocabularySize } from "../../src/model/byte-tokenizer.ts";
import { type Codec, codecNamed } from "../../src/model/codecs/index.ts";
import { familyNamed, readArchitecture } from "../../src/model/families/index.ts";
import { submissionPlaces } from "../../src/model/submission.ts";
import { tensorsOf } from "../../src/model/tensors.ts";
import { sha256, toHex, utf8 } from "../../src/protocol/hash.ts";
import { placesSeed } from "../../src/protocol/places.ts";
import { type Stream, stream } from "../../src/protocol/random.ts";
import type { HeldOutSequence } from "../../src/steps/evaluate/held-out.ts";
import { measureByEngine } from "../../src/steps/evaluate/losses.ts";
import type { Losses } from "../../src/steps/evaluate/measure-losses.ts";

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
/** Of both texts in turn. */
export const batchSequences = 8;
/** From a raw base, on which all learn nearly the same, to one on which they do not. */
export const pretrainSteps = [60, 250, 1_000];
export const codecs = ["dense-bf16", "signs-10"].map(codecNamed);
/** Held-out sequences of each text, from its last tenth. */
const heldOutSequences = 16;
const optimizer = { learningRate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01, clipNorm: 1 };

type Tensors = Map<string, Float32Array>;
export type Delta = Float32Array;

export const toSeed = (name: string) => toHex(sha256(utf8(name)));
export const seeded = (name: string) => stream(toSeed(name));
const elements = (shape: readonly number[]) => shape.reduce((product, length) => product * length, 1);
const specs = [...familyNamed(architecture.family).tensors(architecture)];
/** What draws the places of a codec that says some values only. */
const cycle = { task: toHex(sha256(utf8("bench copies"))), cycle: 0, group: 0 };
const shapesOf = (names: readonly string[]) => specs.filter(({ name }) => names.includes(name));
const group = specs.filter(({ expert }) => expert !== undefined && expert < 2).map(({ name }) => name);

export function normal(random: Stream): number {
  const uniform = () => (random.uniform(2 ** 31) + 1) / 2 ** 31;
  return Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** Two real texts in bytes, cut into sequences. */
function texts(): Int32Array[][] {
  const length = sequenceLength + 1;
  return ["datasets-moby-dick", "datasets-sotu"].map((name) => {
    const folder = new URL(`../../node_modules/@stdlib/${name}/data/`, import.meta.url);
    const files = readdirSync(folder).filter((file) => file.endsWith(".txt"));
    const bytes = Buffer.concat(files.sort().map((file) => readFileSync(new URL(file, folder))));
    return Array.from({ length: Math.floor(bytes.length / length) }, (_, i) =>
      Int32Array.from(bytes.subarray(i * length, (i + 1) * length)),
    );
  });
}

const all = texts();
export const train = all.map((text) => text.slice(0, Math.floor(0.9 * text.length)));
const heldOut = all.flatMap((text, domain) => {
  const [first, step] = [Math.ceil(0.9 * text.length), Math.floor((0.1 * text.length) / heldOutSequences) - 1];
  return Array.from({ length: heldOutSequences }, (_, index) => ({ domain, index, tokens: text[first + step * index] as Int32Array }));
});

interface Training {
  readonly steps: number;
  readonly learningRate: number;
  readonly codec?: Codec;
}

/** What is learned from in each step. */
type Batches = (step: number) => readonly Int32Array[];

/** From both texts in turn, with repetition. */
function drawnWith(seed: string): Batches {
  const random = seeded(seed);
  return () =>
    Array.from({ length: batchSequences }, (_, index) => {
      const text = train[index % 2] as Int32Array[];
      return text[random.uniform(text.length)] as Int32Array;
    });
}

async function trainOn(
  weights: Tensors,
  trainable: readonly string[],
  batches: Batches,
  { steps, learningRate, codec }: Training,
): Promise<Tensors> {
  const places = codec && submissionPlaces(codec.name, cycle, shapesOf(trainable));
  const options = { architecture, weights, trainable, optimizer, sequenceLength, batchSequences, threads: 1 };
  const trainer = await openTrainer({ ...options, ...(places && { places }) });
  for (let step = 0; step < steps; step++)
    await trainer.step([batches(step)], { learningRate: learningRate * (1 - step / steps) * (places ? placeRate : 1) });
  const trained = await trainer.weights();
  const copy = new Map(trainable.map((name) => [name, Float32Array.from(trained.get(name) as Float32Array)]));
  await trainer.dispose();
  return new Map([...weights, ...copy]);
}

/** A base, on which a group's experts are trained. */
export interface Base {
  /** What training the group adds, from the base, or from the base with `from` added. */
  train(batches: Batches, how: Training & { readonly from?: Delta }): Promise<Delta>;
  /** What a delta is when it was encoded and decoded again. */
  sent(codec: Codec, delta: Delta): Delta;
  /** Losses on these sequences, of the base and with each of these deltas. */
  losses(sequences: readonly HeldOutSequence[], deltas: readonly Delta[]): Promise<Losses>;
}

export async function openBase(index: number): Promise<Base> {
  const name = String(index);
  const random = seeded(`weights ${name}`);
  const start = new Map(
    specs.map(({ name: tensor, shape }) => [
      tensor,
      Float32Array.from({ length: elements(shape) }, () => (shape.length === 1 ? 1 : 0.02 * normal(random))),
    ]),
  );
  const names = specs.map((spec) => spec.name);
  const steps = pretrainSteps[index % pretrainSteps.length] as number;
  const base = await trainOn(start, names, drawnWith(`pre-training ${name}`), { steps, learningRate: 3e-3 });
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
  const added = (delta: Delta): Tensors => {
    const parts = cut(delta);
    const changed = group.map((tensor, at): [string, Float32Array] => [
      tensor,
      (base.get(tensor) as Float32Array).map((value, i) => value + (parts[at]?.[i] as number)),
    ]);
    return new Map([...base, ...changed]);
  };
  const load = async (wanted: readonly string[]) => new Map(wanted.map((tensor) => [tensor, base.get(tensor) as Float32Array]));
  const engine = measureByEngine({ architecture, sequenceLength, threads: 1, load, signal: new AbortController().signal });
  const tensors = (delta: Delta) => {
    const parts = cut(delta);
    return tensorsOf(new Map(group.map((tensor, at) => [tensor, parts[at] as Delta])));
  };
  return {
    train: async (batches, { from, ...how }) => difference(await trainOn(from ? added(from) : base, group, batches, how)),
    sent: (codec, delta) =>
      Float32Array.from(
        cut(delta).flatMap((values, index) => {
          const seed = placesSeed(cycle, group[index] as string);
          return [...codec.decode(codec.encode(values.slice(), seed), values.length, seed)];
        }),
      ),
    losses: (sequences, deltas) => engine.losses(sequences, deltas.map(tensors)),
  };
}

/** Steps and learning rate of an honest miner. */
export function drawSkill(random: Stream, [least, most]: readonly [number, number] = [30, 120]): Omit<Training, "codec"> {
  return { steps: least + random.uniform(most - least + 1), learningRate: 3e-4 * (1 + random.uniform(100) / 50) };
}

/** A base, and what honest miners of one group submit on it, by codec. */
export interface Subject extends Pick<Base, "sent"> {
  readonly honest: ReadonlyMap<Codec, readonly Delta[]>;
  /** Losses on held-out sequences, of the base and with each of these deltas. */
  losses(deltas: readonly Delta[]): Promise<Losses>;
  /** A miner's training that starts from another's result. */
  goOn(delta: Delta, steps: number, seed: string): Promise<Delta>;
}

export async function openSubject(index: number, runs: number, wanted: readonly Codec[]): Promise<Subject> {
  const { train, sent, losses } = await openBase(index);
  const skill = seeded(`skill ${index}`);
  const honest = new Map<Codec, Delta[]>(wanted.map((codec) => [codec, []]));
  for (let run = 0; run < runs; run++) {
    const how = drawSkill(skill);
    for (const codec of wanted) honest.get(codec)?.push(sent(codec, await train(drawnWith(`miner ${index} ${run}`), { ...how, codec })));
  }
  return {
    honest,
    sent,
    losses: (deltas) => losses(heldOut, deltas),
    goOn: (from, steps, seed) => train(drawnWith(seed), { steps, learningRate: 5e-4, from }),
  };
}
