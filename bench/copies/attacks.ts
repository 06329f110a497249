/** What attackers make of others' submissions, in place of training. */
import type { Stream } from "../../src/protocol/random.ts";
import { type Delta, normal } from "./subject.ts";

/** Noise where the delta is not 0, `ratio` times as large as it: elsewhere a sparse codec would drop it. */
export const noisy = (delta: Delta, ratio: number, random: Stream): Delta => {
  const values = delta.filter((value) => value !== 0);
  const size = ratio * Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
  return delta.map((value) => (value === 0 ? 0 : value + size * normal(random)));
};
const mixed = (a: Delta, b: Delta): Delta => a.map((value, i) => (value + (b[i] as number)) / 2);

export type Attack = (first: Delta, second: Delta, random: Stream) => Delta;

export const attacks: Readonly<Record<string, Attack>> = {
  scaled: (first) => first.map((value) => 1.3 * value),
  "rounded to 16 levels": (first) => {
    const largest = first.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    return first.map((value) => (Math.round((8 * value) / largest) * largest) / 8);
  },
  "noise of a fifth of the size": (first, _, random) => noisy(first, 0.2, random),
  "noise of half the size": (first, _, random) => noisy(first, 0.5, random),
  "noise of the same size": (first, _, random) => noisy(first, 1, random),
  "noise of twice the size": (first, _, random) => noisy(first, 2, random),
  "every other value": (first, _, random) => first.map((value) => (random.uniform(2) === 0 ? value : 0)),
  "a mixture of two": (first, second) => mixed(first, second),
  "a mixture of two, with half the noise": (first, second, random) => noisy(mixed(first, second), 0.5, random),
};

/** Steps that a thief trains on from what it took. */
export const trainedOn = [5, 10, 30];
