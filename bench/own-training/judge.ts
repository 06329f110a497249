/** The shipped rule on groups of submissions. Each is measured once, on the sequences of all beside whom it can stand; a group takes what it needs of that. */
import { blocksOf, lookAgain, type OwnEffect, ownEffects, ownersOf, showLittle, turnsOfLook } from "../../src/protocol/own-training.ts";
import { type Base, type Delta, seeded, train } from "../copies/subject.ts";
import { type Miners, toLearn } from "./miners.ts";

/** What a hotkey submits. */
export interface Candidate {
  readonly hotkey: number;
  readonly delta: Delta;
}

export interface Judgement extends OwnEffect {
  readonly little: boolean;
}

export interface GroupJudgement {
  readonly judgements: readonly Judgement[];
  /** Whether enough is usual for anybody to be asked. */
  readonly asked: boolean;
  /** How many of them were looked at again, on all sequences that were drawn. */
  readonly again: number;
}

export interface Judge {
  /** Measures these on the sequences of these hotkeys, which have to be those of all in whose groups they are. */
  measure(candidates: readonly Candidate[], hotkeys: readonly number[]): Promise<void>;
  /** A group in order of commits, by so many sequences of each hotkey. */
  judge(group: readonly Candidate[], drawn: number): GroupJudgement;
}

/** Candidates in a pass. */
const together = 16;
/** Shows less than anybody: whether it is suspect says whether anybody is asked. */
const nothing: OwnEffect = { effect: Number.NEGATIVE_INFINITY, error: 0 };

/** @param most of each hotkey's sequences, at most; where fewer are drawn, it is the first of these */
export function createJudge(base: Base, { at }: Miners, { name, most }: { readonly name: string; readonly most: number }): Judge {
  const domains = train.length;
  const drawnOf = new Map<number, Int32Array[]>();
  const sequencesOf = (hotkey: number): Int32Array[] => {
    const known = drawnOf.get(hotkey);
    if (known) return known;
    const random = seeded(`drawn ${name} ${hotkey}`);
    const turns = train.map(() => random.draw(most / domains, toLearn / domains));
    const drawn = Array.from({ length: most }, (_, index) => {
      const domain = index % domains;
      return at(hotkey, domains * (turns[domain]?.[Math.floor(index / domains)] as number) + domain);
    });
    drawnOf.set(hotkey, drawn);
    return drawn;
  };
  /** By hotkey, losses on its sequences. */
  type Measured = Map<number, Float64Array>;
  const losses = new Map<Candidate, Measured>();
  const ofBase: Measured = new Map();

  const effectsOf = (block: readonly Candidate[], drawn: number): OwnEffect[] => {
    const joined = (measured: Measured): Float64Array => {
      const result = new Float64Array(block.length * drawn);
      for (const [place, { hotkey }] of block.entries())
        result.set((measured.get(hotkey) as Float64Array).subarray(0, drawn), place * drawn);
      return result;
    };
    return ownEffects({
      owners: ownersOf(block.map(() => drawn)),
      base: joined(ofBase),
      members: block.map((candidate) => joined(losses.get(candidate) as Measured)),
    });
  };

  return {
    async measure(candidates, hotkeys) {
      const sequences = hotkeys.flatMap(sequencesOf).map((tokens, index) => ({ domain: 0, index, tokens }));
      const divided = (all: Float64Array): Measured =>
        new Map(hotkeys.map((hotkey, place) => [hotkey, all.subarray(place * most, (place + 1) * most)]));
      for (let first = 0; first < candidates.length; first += together) {
        const part = candidates.slice(first, first + together);
        const found = await base.losses(
          sequences,
          part.map(({ delta }) => delta),
        );
        for (const [hotkey, own] of divided(found.base)) ofBase.set(hotkey, own);
        for (const [index, candidate] of part.entries()) losses.set(candidate, divided(found.candidates[index] as Float64Array));
      }
    },
    judge(group, drawn) {
      const blocks = blocksOf(group);
      if (blocks.length === 0) throw new Error("a group of one or two is not asked");
      const turns = Array.from({ length: domains }, () => [...Array(drawn / domains).keys()]);
      const first = blocks.map((block) => effectsOf(block, turnsOfLook(turns, 1).flat().length));
      const again = lookAgain(first);
      const effects = blocks.flatMap((block, place) => (again[place] ? effectsOf(block, drawn) : (first[place] as OwnEffect[])));
      const little = showLittle([...effects, nothing]);
      return {
        judgements: effects.map((effect, place) => ({ ...effect, little: little[place] as boolean })),
        asked: little.at(-1) as boolean,
        again: blocks.filter((_, place) => again[place]).flat().length,
      };
    },
  };
}
