/** What is submitted in place of an honest training: rings, several hotkeys with one training that nobody commits; and who learns by heart. */
import type { Codec } from "../../src/model/codecs/index.ts";
import { noisy } from "../copies/attacks.ts";
import { type Base, type Delta, seeded } from "../copies/subject.ts";
import type { Candidate } from "./judge.ts";
import { type Miner, type Miners, places, stepsToLearn, toLearn } from "./miners.ts";

/** Hotkeys of a ring, at most. */
const largestRing = 3;
/** How members train on from the ring's training: as honest miners do, or several times faster. */
const rates = { "": 5e-4, " fast": 3e-3 };
const trainedOn = [6, 20];
const byHeart = { steps: 300, learningRate: 1e-3 };

export interface Ring {
  readonly kind: string;
  readonly members: readonly Candidate[];
}

/** Honest members beside a ring, and hotkeys of the ring. */
export interface Shape {
  readonly honest: number;
  readonly ring: number;
}

const usualShapes: readonly Shape[] = [
  { honest: 2, ring: 2 },
  { honest: 4, ring: 3 },
  { honest: 1, ring: 3 },
];
const sharedShapes: readonly Shape[] = [
  { honest: 2, ring: 2 },
  { honest: 4, ring: 2 },
  { honest: 1, ring: 2 },
];
const byHeartShapes: readonly Shape[] = [
  { honest: 2, ring: 1 },
  { honest: 3, ring: 2 },
  { honest: 4, ring: 1 },
];
const shared = "half of two walks";
const learnedByHeart = "by heart";

export function shapesOf(kind: string): readonly Shape[] {
  if (kind.startsWith(shared)) return sharedShapes;
  return kind === learnedByHeart ? byHeartShapes : usualShapes;
}

/** The first hotkey of those that have no part in so many rings, and so can stand beside any. */
export const firstBeside = (count: number) => count * (1 + largestRing);

/** Rings of each kind, `count` of each. Their trainings are those of the first miners, their members' hotkeys those of the next. */
export async function makeRings(
  base: Base,
  codec: Codec,
  miners: Miners,
  { name, count }: { readonly name: string; readonly count: number },
): Promise<Ring[]> {
  const random = seeded(`rings ${name}`);
  const under = (delta: Delta, noise: number) => base.sent(codec, noisy(delta, noise, random));
  const rings: Ring[] = [];
  for (let hidden = 0; hidden < count; hidden++) {
    const { trained, learningRate } = miners.honest[hidden] as Miner;
    const hotkeys = Array.from({ length: largestRing }, (_, member) => count + hidden * largestRing + member);
    const add = async (kind: string, make: (hotkey: number) => Delta | Promise<Delta>, of = hotkeys) => {
      const members: Candidate[] = [];
      for (const hotkey of of) members.push({ hotkey, delta: await make(hotkey) });
      rings.push({ kind, members });
    };
    for (const noise of [0.5, 2]) await add(`noise ${noise}`, () => under(trained, noise));
    for (const steps of trainedOn)
      for (const [fast, rate] of Object.entries(rates))
        await add(`${steps} steps on${fast}`, async (hotkey) =>
          base.sent(codec, await miners.learn(places(hotkey, toLearn), { steps, learningRate: rate, from: trained })),
        );
    const two = hotkeys.slice(0, 2) as [number, number];
    // Two places of each in turn, as a walk's places are of both texts in turn.
    const both = Array.from(
      { length: toLearn },
      (_, at) => [two[Math.floor(at / 2) % 2] as number, 2 * Math.floor(at / 4) + (at % 2)] as const,
    );
    const ofBoth = await miners.learn(both, { steps: stepsToLearn, learningRate });
    await add(shared, () => base.sent(codec, ofBoth), two);
    await add(`${shared}, noise 0.5`, () => under(ofBoth, 0.5), two);
    await add(learnedByHeart, async (hotkey) =>
      base.sent(codec, await miners.learn(places(hotkey, toLearn), { ...byHeart, from: (miners.honest[hotkey] as Miner).trained })),
    );
  }
  return rings;
}
