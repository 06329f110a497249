/**
 * Own training (docs/protocol.md, section 8): whether a submission learned from the sequences that its own miner was to learn from. What was trained on a
 * sequence lowers its loss by a little more than that of others like it, and over many sequences that shows. Noise on another's training, or one training
 * under many hotkeys, has learned from one share at most. (Gauntlet, arXiv 2505.21684, compares a peer's loss on data assigned to it with that on others
 * for the same purpose.)
 */
import { type Hash, hashFields, hashToBytes, u16 } from "./hash.ts";
import { type Hotkey, publicKeyOf } from "./hotkey.ts";
import { stream } from "./random.ts";
import type { Task } from "./task.ts";

/** Most submissions show enough on few sequences; all are looked at on these first, and only some on the others. */
export type Look = 1 | 2;
export type LeastTraining = NonNullable<Task["evaluation"]["leastTraining"]>;

/** So many of a group are measured on each other's sequences: what they have in common is seen by four of them well enough, and not of two. */
const block = { least: 3, most: 5 };
/** Control gains outside of their middle eight tenths count as the nearest inside: few sequences learned by heart are no training. */
const clipped = 0.1;
/** Standard errors by which an effect is surely there, and within which it is taken to be known. */
const errors = { there: 4, known: 2 };
/** Of what is usual a submission has to show so much; and where less than this is usual, nothing is asked. */
const least = { ofUsual: 1 / 2, usual: 1 / 4 };
/** The share of each domain's turns that is looked at first. */
const firstLook = 1 / 4;

/**
 * The turns at which a miner is looked at, by domain: of the first `sequences` places of its walk, `drawn` in all domains together, each domain the same
 * number, as far as it has them. `available` are the sequences that its share has of each domain.
 */
export function drawTurns(
  seed: Hash,
  group: number,
  miner: Hotkey,
  { sequences, drawn }: LeastTraining,
  available: readonly number[],
): number[][] {
  const random = stream(hashFields("connito/own/1", hashToBytes(seed), u16(group), publicKeyOf(miner)));
  const domains = available.length;
  return available.map((total) => {
    const turns = Math.min(Math.floor(sequences / domains), total);
    return random.draw(Math.min(Math.floor(drawn / domains), turns), turns);
  });
}

/**
 * How many places of its walk a miner has to go through, so that all that may be drawn is among them: those that the task asks for, or fewer, where its
 * whole share is among fewer. 0 where the task asks for none.
 */
export function leastPlaces(leastTraining: LeastTraining | undefined, available: readonly number[]): number {
  return Math.min(leastTraining?.sequences ?? 0, available.length * Math.max(...available));
}

/** The turns of the first look, the first of each domain's, and those of the second, the others. */
export function turnsOfLook(turns: readonly (readonly number[])[], look: Look): number[][] {
  return turns.map((list) => {
    const first = Math.ceil(firstLook * list.length);
    return look === 1 ? list.slice(0, first) : list.slice(first);
  });
}

/** The places of the walk at these turns. */
export function placesOfTurns(turns: readonly (readonly number[])[]): number[] {
  return turns.flatMap((list, domain) => list.map((turn) => turn * turns.length + domain));
}

/** A group's submissions, in order of commits, in parts that are measured together: as few as can be, as equal as can be; none of two or less. */
export function blocksOf<T>(members: readonly T[]): T[][] {
  if (members.length < block.least) return [];
  const count = Math.ceil(members.length / block.most);
  const start = (place: number) => Math.floor((place * members.length) / count);
  return Array.from({ length: count }, (_, place) => members.slice(start(place), start(place + 1)));
}

/** On how many sequences a submission is measured at most, to see its own training. */
export function sequencesOfBlock({ drawn }: LeastTraining): number {
  return drawn * block.most;
}

/** Losses of a block on the sequences of all its members. */
export interface BlockLosses {
  /** Whose each sequence is, by place in the block. */
  readonly owners: readonly number[];
  readonly base: ArrayLike<number>;
  /** Of each member with its submission, on all sequences. */
  readonly members: readonly ArrayLike<number>[];
}

/** Of so many sequences of each member, one member's after another's. */
export function ownersOf(sizes: readonly number[]): number[] {
  return sizes.flatMap((size, owner) => Array<number>(size).fill(owner));
}

/** How much more a submission gains on its own sequences than on others', in standard deviations of its gain on these; and the standard error of that. */
export interface OwnEffect {
  readonly effect: number;
  readonly error: number;
}

/**
 * The effect of each member of a block, the larger of two: of its gains as they are, which nobody else moves; and without what is expected of them by the
 * gains of others, as some sequences are easier to learn. So neither a share that is hard to learn nor somebody who learned another's share makes honest
 * work suspect. NaN where a loss is not finite, or there is nothing to compare.
 */
export function ownEffects({ owners, base, members }: BlockLosses): OwnEffect[] {
  const gains = members.map((losses) => owners.map((_, at) => (base[at] as number) - (losses[at] as number)));
  const finite = gains.map((gain) => gain.every(Number.isFinite));
  return gains.map((gain, member) => {
    if (!finite[member]) return { effect: Number.NaN, error: Number.NaN };
    const parted = (list: readonly number[]): Parted => ({
      own: list.filter((_, at) => owners[at] === member),
      others: list.filter((_, at) => owners[at] !== member),
    });
    const expected = owners.map((owner, at) =>
      mean(gains.filter((_, other) => finite[other] && other !== member && other !== owner).map((other) => other[at] as number)),
    );
    const slope = slopeOf(parted(expected).others, parted(gain).others);
    const scale = Math.sqrt(variance(parted(gain).others));
    const plain = effectOf(parted(gain), scale);
    if (slope === 0) return plain;
    const beyond = effectOf(parted(gain.map((value, at) => value - slope * (expected[at] as number))), scale);
    return beyond.effect > plain.effect ? beyond : plain;
  });
}

/** What is known of each sequence, of a member's own and of others'. */
interface Parted {
  readonly own: readonly number[];
  readonly others: readonly number[];
}

function effectOf({ own, others }: Parted, scale: number): OwnEffect {
  const clip = clipperOf(others);
  const [clippedOwn, clippedOthers] = [own.map(clip), others.map(clip)];
  return {
    effect: (mean(clippedOwn) - mean(clippedOthers)) / scale,
    error: Math.sqrt(variance(clippedOwn) / own.length + variance(clippedOthers) / others.length) / scale,
  };
}

/**
 * What each of a group has to show at least, within its error: half of what is usual among those that surely show some; 0 where nothing is asked. What is
 * usual is their lower median, so that whoever learns its own sequences by heart makes nobody suspect while most of these are honest. Where fewer than two
 * do, or what is usual is little, as on a base that has hardly been trained, nothing is asked: what one shows alone may be chance.
 */
export function askedOf(effects: readonly OwnEffect[]): number {
  const shown = effects.filter(({ effect, error }) => effect > errors.there * error).map(({ effect }) => effect);
  const usual = shown.length < 2 ? 0 : (shown.sort((a, b) => a - b)[(shown.length - 1) >> 1] as number);
  return usual >= least.usual ? least.ofUsual * usual : 0;
}

/**
 * Which of a group's blocks have to be looked at again, by the effects of all at the first look: all but those whose members show what is asked of them. Where
 * nothing is asked yet, more sequences may show that something is usual.
 */
export function lookAgain(blocks: readonly (readonly OwnEffect[])[]): boolean[] {
  const asked = askedOf(blocks.flat());
  const isEnough = ({ effect, error }: OwnEffect) => Number.isFinite(effect) && Number.isFinite(error) && effect >= asked;
  return blocks.map((effects) => asked === 0 || !effects.every(isEnough));
}

/** Which of a group's submissions show too little training of their own: surely less than what is asked. */
export function showLittle(effects: readonly OwnEffect[]): boolean[] {
  const asked = askedOf(effects);
  return effects.map(({ effect, error }) => asked > 0 && effect + errors.known * error < asked);
}

/** The same by name. */
export function whoShowLittle(effects: ReadonlyMap<string, OwnEffect>): Set<string> {
  const little = showLittle([...effects.values()]);
  return new Set([...effects.keys()].filter((_, place) => little[place]));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function variance(values: readonly number[]): number {
  const middle = mean(values);
  return values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1);
}

/** Least squares; 0 where x says nothing: is the same everywhere, or NaN, as where nobody is left to expect anything of. */
function slopeOf(x: readonly number[], y: readonly number[]): number {
  const [middleX, middleY] = [mean(x), mean(y)];
  const squares = x.reduce((sum, value) => sum + (value - middleX) ** 2, 0);
  const products = x.reduce((sum, value, at) => sum + (value - middleX) * ((y[at] as number) - middleY), 0);
  return squares > 0 ? products / squares : 0;
}

/** Takes a value to the nearest within the middle eight tenths of these. */
function clipperOf(values: readonly number[]): (value: number) => number {
  const rising = [...values].sort((a, b) => a - b);
  const [low, high] = [
    rising[Math.floor(clipped * rising.length)] as number,
    rising[Math.ceil((1 - clipped) * rising.length) - 1] as number,
  ];
  return (value) => Math.min(high, Math.max(low, value));
}
