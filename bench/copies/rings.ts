/**
 * Rings: one training that nobody commits, submitted by several hotkeys under noise of their own, behind the honest members of a group. What is found of
 * them, what those not found are paid together, and whether they make honest work look like copies.
 */
import type { Codec } from "../../src/model/codecs/index.ts";
import { isNoise } from "../../src/protocol/copies.ts";
import type { Stream } from "../../src/protocol/random.ts";
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
/** Honest members and hotkeys of rings, under noise of these sizes, that lower cosines most where what is usual is told from few. */
const accusing = [
  { honest: 2, ring: 3 },
  { honest: 3, ring: 2 },
  { honest: 3, ring: 3 },
  { honest: 4, ring: 2 },
  { honest: 4, ring: 3 },
  { honest: 5, ring: 3 },
  { honest: 2, ring: 6 },
] as const;
const accusingNoise = [0.5, 1, 2, 3];
/** Half of them behind the honest members, half before. */
const accusingTurns = 10;

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

/** Of honest submissions beside rings that would be paid and have an earlier one, how many there were and were called copies: by sketches, and by losses. */
export interface AccusedRow {
  readonly noise: number;
  readonly judged: number;
  readonly bySketches: number;
  readonly byLosses: number;
}

/** A group of honest members and of a ring's submissions of one training of somebody else. */
interface RingGroup {
  readonly honest: readonly Seen[];
  readonly ring: readonly Seen[];
  readonly hidden: Seen;
}

async function drawRing(
  subject: Subject,
  codec: Codec,
  judge: Judge,
  honest: readonly Delta[],
  { honest: members, ring, noise }: { readonly honest: number; readonly ring: number; readonly noise: number },
  random: Stream,
): Promise<RingGroup> {
  const [hidden, ...others] = random.draw(members + 1, honest.length).map((index) => honest[index] as Delta) as [Delta, ...Delta[]];
  const see = async (deltas: readonly Delta[]): Promise<Seen[]> => {
    const seen: Seen[] = [];
    for (const delta of deltas) seen.push(await judge.see(delta));
    return seen;
  };
  const copies = Array.from({ length: ring }, () => subject.sent(codec, noisy(hidden, noise, random)));
  return { honest: await see(others), ring: await see(copies), hidden: await judge.see(hidden) };
}

/** By what the one at `place` is called a copy. */
async function accusation(judge: Judge, group: readonly Seen[], place: number): Promise<"sketches" | "losses" | undefined> {
  const likeness = judge.likeness({ group, place });
  if (likeness.copy === true) return "sketches";
  if (likeness.copy !== "unclear") return undefined;
  const effects = await judge.effects([{ group, place, likeness }]);
  return effects.some(isNoise) ? "losses" : undefined;
}

/** @param judge one that pays each by its own losses */
export async function judgeRings(subject: Subject, codec: Codec, judge: Judge, honest: readonly Delta[], base: number): Promise<RingRow[]> {
  const random = seeded(`rings ${base} ${codec.name}`);
  await judge.losses(honest);
  const rows: RingRow[] = [];
  for (const shape of rings) {
    const count = { submitted: 0, found: 0, judged: 0, accused: 0 };
    let [paid, trained] = [0, 0];
    for (let turn = 0; turn < turns; turn++) {
      const drawn = await drawRing(subject, codec, judge, honest, shape, random);
      const group = [...drawn.honest, ...drawn.ring];
      trained += drawn.hidden.paid;
      for (const [place, { paid: own }] of group.entries()) {
        if (place === 0 || own === 0) continue;
        const copy = (await accusation(judge, group, place)) !== undefined;
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

/** @param judge one that pays each by its own losses */
export async function judgeAccused(
  subject: Subject,
  codec: Codec,
  judge: Judge,
  honest: readonly Delta[],
  base: number,
): Promise<AccusedRow[]> {
  const random = seeded(`accused ${base} ${codec.name}`);
  await judge.losses(honest);
  const rows: AccusedRow[] = [];
  for (const noise of accusingNoise) {
    const count = { judged: 0, bySketches: 0, byLosses: 0 };
    for (const shape of accusing)
      for (let turn = 0; turn < accusingTurns; turn++) {
        const drawn = await drawRing(subject, codec, judge, honest, { ...shape, noise }, random);
        const group = turn % 2 === 0 ? [...drawn.honest, ...drawn.ring] : [...drawn.ring, ...drawn.honest];
        for (const [place, one] of group.entries()) {
          if (place === 0 || one.paid === 0 || !drawn.honest.includes(one)) continue;
          const by = await accusation(judge, group, place);
          count.judged++;
          if (by === "sketches") count.bySketches++;
          if (by === "losses") count.byLosses++;
        }
      }
    rows.push({ noise, ...count });
  }
  return rows;
}
