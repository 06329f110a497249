/**
 * How many bits the stand-in of each expert gets, when they go where they are used: a bit lowers the error of what a slice computes most where tokens
 * bring most through the expert. From router statistics alone and in a fixed order, so that whoever has them arrives at the same bits.
 *
 * The error that is expected of an expert is its energy (router-statistics.ts) times the share of a value's variance that rounding to so many bits leaves.
 * An expert that hardly any token chooses gets no bits, and then no stand-in: it contributes nothing.
 */
import type { LayerStatistics, RouterStatistics } from "./router-statistics.ts";

/** Bits a value, rising, and what the best equal steps leave of a normal variable's variance (Max 1960, "Quantizing for minimum distortion", table II). */
const rungs = [
  { bits: 0, left: 1 },
  { bits: 2, left: 0.1188 },
  { bits: 3, left: 0.03744 },
  { bits: 4, left: 0.01154 },
] as const;
export type StandInBits = (typeof rungs)[number]["bits"];

export interface AllottedLayer {
  readonly layer: number;
  readonly bits: readonly StandInBits[];
}

/** What a value takes, in eighths of a bit: its own bits, and an eighth for its share of a scale. */
const eighths = (bits: StandInBits) => (bits === 0 ? 0 : 8 * bits + 1);

/**
 * The bits of every expert, such that what any group lacks has at most `budget` bits a value on average. Steps are taken by falling error for each bit (ties:
 * the lower layer, then the lower expert), as long as they fit; each step of one expert lowers less than the one before. An expert's energy is the largest
 * of the domains', each divided by its tokens. `layers` holds the group of every expert, layer by layer, as the expert manager has them.
 */
export function allotBits(
  { domains }: RouterStatistics,
  layers: readonly { readonly layer: number; readonly groupOf: readonly number[] }[],
  groups: number,
  budget: number,
): AllottedLayer[] {
  const chosen = layers.map(({ groupOf }) => new Array<number>(groupOf.length).fill(0));
  /** What is left to each group for the experts that it lacks. */
  const left = Array.from({ length: groups }, (_, group) => {
    const lacking = layers.reduce((sum, { groupOf }) => sum + groupOf.filter((other) => other !== group).length, 0);
    return Math.floor(8 * budget * lacking);
  });
  const steps = layers.flatMap(({ groupOf }, place) => {
    const energies = domains.map(({ tokens, layers: own }) =>
      (own[place] as LayerStatistics).energy.map((sum) => sum / Math.max(1, tokens)),
    );
    return groupOf.flatMap((group, expert) => {
      const energy = Math.max(...energies.map((own) => own[expert] as number));
      return rungs.slice(1).map(({ bits, left: after }, rung) => {
        const before = rungs[rung] as (typeof rungs)[number];
        const cost = eighths(bits) - eighths(before.bits);
        return { place, expert, group, rung: rung + 1, cost, worth: (energy * (before.left - after)) / cost };
      });
    });
  });
  steps.sort((a, b) => b.worth - a.worth || a.place - b.place || a.expert - b.expert || a.rung - b.rung);
  for (const { place, expert, group, rung, cost, worth } of steps) {
    const own = chosen[place] as number[];
    if (worth === 0 || own[expert] !== rung - 1) continue;
    if (left.some((eighthsLeft, other) => other !== group && eighthsLeft < cost)) continue;
    own[expert] = rung;
    for (let other = 0; other < groups; other++) if (other !== group) left[other] = (left[other] as number) - cost;
  }
  return layers.map(({ layer }, place) => ({
    layer,
    bits: (chosen[place] as number[]).map((rung) => (rungs[rung] as (typeof rungs)[number]).bits),
  }));
}
