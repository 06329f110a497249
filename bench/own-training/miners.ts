/** Honest miners of a base, each with a share of the training sequences of its own, through which it walks by the shipped rule. */
import type { Codec } from "../../src/model/codecs/index.ts";
import { createWalk } from "../../src/protocol/walk.ts";
import { type Base, batchSequences, type Delta, drawSkill, seeded, toSeed, train } from "../copies/subject.ts";

/** Places of the walk that have to be learned from. */
export const toLearn = 480;
/** After so many steps a miner has gone through them. */
export const stepsToLearn = toLearn / batchSequences;
/** Steps of those who go through all of them, and of those who do not. */
const skills = { whole: [stepsToLearn, 2 * stepsToLearn], short: [stepsToLearn / 2, stepsToLearn - 1] } as const;

export interface Miner {
  /** Its place among those who divide the training sequences. */
  readonly hotkey: number;
  readonly steps: number;
  readonly learningRate: number;
  /** What it learned, before and after it was encoded. */
  readonly trained: Delta;
  readonly sent: Delta;
}

export interface Miners {
  readonly honest: readonly Miner[];
  /** The sequence at a place of a hotkey's walk. */
  at(hotkey: number, place: number): Int32Array;
  /** Trains along a walk that goes through these places in turn, from the beginning again where it ends. */
  learn(
    walk: readonly (readonly [hotkey: number, place: number])[],
    how: { steps: number; learningRate: number; from?: Delta },
  ): Promise<Delta>;
}

/** The first `whole` of them go through all that is to be learned, `short` more do not. */
export async function openMiners(
  base: Base,
  codec: Codec,
  { name, whole, short }: { readonly name: string; readonly whole: number; readonly short: number },
): Promise<Miners> {
  const count = whole + short;
  const walks = Array.from({ length: count }, (_, hotkey) => {
    const runs = train.map((text) => {
      const sequences = Math.floor(text.length / count);
      return [{ shard: 0, first: hotkey * sequences, sequences }];
    });
    return createWalk(runs, toSeed(`walk ${name} ${hotkey}`));
  });
  const at: Miners["at"] = (hotkey, place) => {
    const { domain, index } = (walks[hotkey] as (typeof walks)[number]).at(place);
    return (train[domain] as Int32Array[])[index] as Int32Array;
  };
  const learn: Miners["learn"] = (walk, how) =>
    base.train(
      (step) =>
        Array.from({ length: batchSequences }, (_, index) => {
          const [hotkey, place] = walk[(step * batchSequences + index) % walk.length] as readonly [number, number];
          return at(hotkey, place);
        }),
      { ...how, codec },
    );
  const skill = seeded(`skill ${name}`);
  const honest: Miner[] = [];
  for (let hotkey = 0; hotkey < count; hotkey++) {
    const how = drawSkill(skill, hotkey < whole ? skills.whole : skills.short);
    const trained = await learn(places(hotkey, how.steps * batchSequences), how);
    honest.push({ hotkey, ...how, trained, sent: base.sent(codec, trained) });
  }
  return { honest, at, learn };
}

/** The first places of a hotkey's walk. */
export function places(hotkey: number, count: number): (readonly [hotkey: number, place: number])[] {
  return Array.from({ length: count }, (_, place) => [hotkey, place] as const);
}
