/**
 * Rings: one training that nobody commits, submitted by several hotkeys under noise of their own, behind the honest members of a group. What is found of
 * them, what those not found are paid together, and whether they make honest work look like copies.
 */
import type { Codec } from "../../src/model/codecs/index.ts";
import { isNoise } from "../../src/protocol/copies.ts";
import { noisy } from "./attacks.ts";
import type { Judge, Seen } from "./judge.ts";
import { type Delta, type Subject, seeded } from "./subject.ts";

/** Honest members, hotkeys of the ring, and the size of their noise as a part of the delta's. */
const rings = [
  { honest: 6, ring: 2, noise: 0.5 },
  { honest: 5, ring: 3, noise: 0.5 },
  { honest: 4, ring: 4, noise: 0.5 },
  { honest: 4, ring: 6, noise: 0.5 },
  { honest: 4, ring: 3, noise: 2 },
  { honest: 3, ring: 2, noise: 2 },
] as const;
const turns = 4;

export interface RingRow {
  readonly honest: number;
  readonly ring: number;
  readonly noise: number;
  /** Of the ring's submissions that would be paid, how many there were and were found. */
  readonly submitted: number;
  readonly found: number;
  /** What the others are paid together, of what the training itself would be paid. */
  readonly paid: number;
  /** Of the honest ones that would be paid and have an earlier one, how many there were and were called copies. */
  readonly judged: number;
  readonly accused: number;
}

/** @param judge one that pays each by its own losses */
export async function judgeRings(subject: Subject, codec: Codec, judge: Judge, honest: readonly Delta[], base: number): Promise<RingRow[]> {
  const random = seeded(`rings ${base} ${codec.name}`);
  await judge.losses(honest);
  const isCopy = async (group: readonly Seen[], place: number): Promise<boolean> => {
    const likeness = judge.likeness({ group, place });
    if (likeness.copy !== "unclear") return likeness.copy;
    const effects = await judge.effects([{ group, place, likeness }]);
    return effects.some(isNoise);
  };
  const rows: RingRow[] = [];
  for (const shape of rings) {
    const count = { submitted: 0, found: 0, judged: 0, accused: 0 };
    let [paid, trained] = [0, 0];
    for (let turn = 0; turn < turns; turn++) {
      const [hidden, ...members] = random.draw(shape.honest + 1, honest.length).map((index) => honest[index] as Delta) as [
        Delta,
        ...Delta[],
      ];
      const copies = Array.from({ length: shape.ring }, () => subject.sent(codec, noisy(hidden, shape.noise, random)));
      const group: Seen[] = [];
      for (const delta of [...members, ...copies]) group.push(await judge.see(delta));
      trained += (await judge.see(hidden)).paid;
      for (const [place, { paid: own }] of group.entries()) {
        if (place === 0 || own === 0) continue;
        const copy = await isCopy(group, place);
        const inRing = place >= shape.honest;
        count[inRing ? "submitted" : "judged"]++;
        if (copy) count[inRing ? "found" : "accused"]++;
        else if (inRing) paid += own;
      }
    }
    rows.push({ ...shape, ...count, paid: paid / trained });
  }
  return rows;
}
