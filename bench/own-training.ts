/**
 * What the rule of own training finds. Small models are pre-trained and then trained by many honest miners, each on a share of its own, and by rings: several
 * hotkeys with one training that nobody commits. Each submission is measured on the training sequences of all beside whom it can stand; the shipped rule judges
 * random groups. Honest submissions that it calls untrained are compared with the aim of 0.1%, what it finds of rings with 1.
 *
 *     npm run bench -- own-training [--bases N] [--first N] [--codec NAME] [--json]
 */
import { parseArgs } from "node:util";
import { createProgress } from "../src/ui/progress.ts";
import { table } from "../src/ui/table.ts";
import { codecs, openBase, pretrainSteps, seeded } from "./copies/subject.ts";
import { type Candidate, createJudge, type Judge, type Judgement } from "./own-training/judge.ts";
import { type Miner, openMiners } from "./own-training/miners.ts";
import { firstBeside, makeRings, type Ring, type Shape, shapesOf } from "./own-training/rings.ts";

/** Sequences of each hotkey that are measured. */
const drawnCounts = [64, 128];
const groupSizes = [3, 4, 5, 8];
/** Honest miners who go through all that is to be learned from, and who do not. */
const miners = { whole: 24, short: 8 };
const ringsOfKind = 3;
/** Groups of each size: of the former, and of both. */
const groups = { whole: 3_000, mixed: 1_000 };
/** Groups of each kind of ring in each shape. */
const turns = 120;

interface Subjected {
  readonly pretrainSteps: number;
  readonly codec: string;
  readonly drawn: number;
}

interface Share {
  readonly found: number;
  readonly of: number;
}

/** Honest submissions, all in groups of those who went through all that is to be learned from, but for `mixed`. */
interface HonestRow extends Subjected {
  readonly effect: number;
  readonly deviation: number;
  /** Effect by error: its mean and its first percentile. */
  readonly certainty: number;
  readonly leastCertainty: number;
  /** Groups in which enough is usual for anybody to be asked. */
  readonly asked: Share;
  /** Submissions that the first look did not suffice for. */
  readonly again: Share;
  /** Called untrained, by size of the group. */
  readonly accused: Readonly<Record<number, Share>>;
  /** The miner with the least effect. */
  readonly least: Pick<Miner, "steps" | "learningRate"> & { readonly effect: number; readonly accused: Share };
  /** Of effects of miners with their learning rates and their steps. */
  readonly correlation: { readonly learningRate: number; readonly steps: number };
  /** Groups in which some went through less. */
  readonly mixed: { readonly shortEffect: number; readonly short: Share; readonly whole: Share };
}

interface RingRow extends Subjected, Shape {
  readonly kind: string;
  readonly effect: number;
  readonly found: Share;
  readonly again: Share;
  /** Honest members beside it that were called untrained. */
  readonly accused: Share;
}

export async function run(): Promise<void> {
  const { values } = parseArgs({
    args: process.argv.slice(3),
    options: {
      bases: { type: "string", default: String(pretrainSteps.length) },
      first: { type: "string", default: "0" },
      codec: { type: "string", multiple: true },
      json: { type: "boolean", default: false },
    },
  });
  const [bases, first] = [Number(values.bases), Number(values.first)];
  const progress = createProgress({ kind: "plain" });
  const honest: HonestRow[] = [];
  const rings: RingRow[] = [];
  for (let index = first; index < first + bases; index++) {
    const base = await openBase(index);
    for (const codec of codecs.filter(({ name }) => values.codec?.includes(name) ?? true)) {
      const name = `own training ${index} ${codec.name}`;
      const opened = await openMiners(base, codec, { name, ...miners });
      const judge = createJudge(base, opened, { name, most: Math.max(...drawnCounts) });
      const candidates = opened.honest.map(({ hotkey, sent }): Candidate => ({ hotkey, delta: sent }));
      progress.note(`${name}: trained`);
      await judge.measure(candidates, [...candidates.keys()]);
      const beside = candidates.slice(firstBeside(ringsOfKind), miners.whole);
      const made = await makeRings(base, codec, opened, { name, count: ringsOfKind });
      progress.note(`${name}: honest submissions measured, rings made`);
      for (const { members } of made)
        await judge.measure(
          members,
          [...members, ...beside].map(({ hotkey }) => hotkey),
        );
      for (const drawn of drawnCounts) {
        const about = { pretrainSteps: pretrainSteps[index % pretrainSteps.length] as number, codec: codec.name, drawn };
        honest.push({ ...about, ...judgeHonest(judge, opened.honest, candidates, { name, drawn }) });
        for (const row of judgeRings(judge, made, beside, { name, drawn })) rings.push({ ...about, ...row });
        progress.note(JSON.stringify(honest.at(-1)));
      }
    }
  }
  const result = { aim: 0.001, miners, honest, rings };
  console.log(values.json ? JSON.stringify(result) : shown(result));
}

interface How {
  readonly name: string;
  readonly drawn: number;
}

function judgeHonest(
  judge: Judge,
  honest: readonly Miner[],
  candidates: readonly Candidate[],
  { name, drawn }: How,
): Omit<HonestRow, keyof Subjected> {
  const random = seeded(`groups ${name}`);
  /** Of each miner. */
  type Judged = Judgement[][];
  const judged = (size: number, count: number, among: number) => {
    const by: Judged = candidates.map(() => []);
    let [asked, again] = [0, 0];
    for (let turn = 0; turn < count; turn++) {
      const members = random.draw(size, among);
      const verdict = judge.judge(
        members.map((member) => candidates[member] as Candidate),
        drawn,
      );
      if (verdict.asked) asked++;
      again += verdict.again;
      for (const [place, member] of members.entries()) by[member]?.push(verdict.judgements[place] as Judgement);
    }
    return { by, asked: { found: asked, of: count }, again: { found: again, of: count * size } };
  };
  const bySize = groupSizes.map((size) => judged(size, groups.whole, miners.whole));
  const ofMiner = candidates.slice(0, miners.whole).map((_, member) => bySize.flatMap(({ by }) => by[member] as Judgement[]));
  const means = ofMiner.map((own) => mean(own.map(({ effect }) => effect)));
  const all = ofMiner.flat();
  const certainties = Float64Array.from(all, ({ effect, error }) => effect / error).sort();
  const least = means.indexOf(Math.min(...means));
  const mixed = groupSizes.map((size) => judged(size, groups.mixed, candidates.length));
  const of = (from: number, to: number) => mixed.flatMap(({ by }) => by.slice(from, to).flat());
  const [whole, short] = [of(0, miners.whole), of(miners.whole, candidates.length)];
  const { steps, learningRate } = honest[least] as Miner;
  const correlated = (value: (miner: Miner) => number) => correlation(means, honest.slice(0, miners.whole).map(value));
  return {
    effect: mean(all.map(({ effect }) => effect)),
    deviation: deviation(all.map(({ effect }) => effect)),
    certainty: mean([...certainties]),
    leastCertainty: certainties[Math.floor(certainties.length / 100)] as number,
    asked: added(bySize.map(({ asked }) => asked)),
    again: added(bySize.map(({ again }) => again)),
    accused: Object.fromEntries(bySize.map(({ by }, at) => [groupSizes[at], littleOf(by.flat())])),
    least: { steps, learningRate, effect: means[least] as number, accused: littleOf(ofMiner[least] as Judgement[]) },
    correlation: { learningRate: correlated((miner) => miner.learningRate), steps: correlated((miner) => miner.steps) },
    mixed: { shortEffect: mean(short.map(({ effect }) => effect)), short: littleOf(short), whole: littleOf(whole) },
  };
}

function judgeRings(
  judge: Judge,
  rings: readonly Ring[],
  beside: readonly Candidate[],
  { name, drawn }: How,
): Omit<RingRow, keyof Subjected>[] {
  const random = seeded(`beside ${name}`);
  const rows: Omit<RingRow, keyof Subjected>[] = [];
  for (const kind of new Set(rings.map((one) => one.kind))) {
    const ofKind = rings.filter((one) => one.kind === kind);
    for (const shape of shapesOf(kind)) {
      const [inRing, others]: [Judgement[], Judgement[]] = [[], []];
      let looked = 0;
      for (let turn = 0; turn < turns; turn++) {
        const { members } = ofKind[turn % ofKind.length] as Ring;
        const ring = random.draw(shape.ring, members.length).map((member) => members[member] as Candidate);
        const honest = random.draw(shape.honest, beside.length).map((member) => beside[member] as Candidate);
        // It chooses when it commits, and so with whom it is measured.
        const isFirst = random.uniform(2) === 0;
        const { judgements, again } = judge.judge(isFirst ? [...ring, ...honest] : [...honest, ...ring], drawn);
        looked += again;
        const split = isFirst ? shape.ring : shape.honest;
        const [before, behind] = [judgements.slice(0, split), judgements.slice(split)];
        inRing.push(...(isFirst ? before : behind));
        others.push(...(isFirst ? behind : before));
      }
      const effect = mean(inRing.map((one) => one.effect));
      const again = { found: looked, of: inRing.length + others.length };
      rows.push({ kind, ...shape, effect, again, found: littleOf(inRing), accused: littleOf(others) });
    }
  }
  return rows;
}

function littleOf(judgements: readonly Judgement[]): Share {
  return { found: judgements.filter(({ little }) => little).length, of: judgements.length };
}

function added(shares: readonly Share[]): Share {
  return shares.reduce((sum, { found, of }) => ({ found: sum.found + found, of: sum.of + of }), { found: 0, of: 0 });
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function deviation(values: readonly number[]): number {
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
}

function correlation(a: readonly number[], b: readonly number[]): number {
  const [middleA, middleB] = [mean(a), mean(b)];
  const products = a.reduce((sum, value, at) => sum + (value - middleA) * ((b[at] as number) - middleB), 0);
  return products / (a.length - 1) / deviation(a) / deviation(b);
}

interface Result {
  readonly honest: readonly HonestRow[];
  readonly rings: readonly RingRow[];
}

function shown({ honest, rings }: Result): string {
  const share = ({ found, of }: Share) => `${found} of ${of}`;
  const percent = ({ found, of }: Share) => (of === 0 ? "-" : `${Math.round((100 * found) / of)}%`);
  const subjectOf = (row: Subjected) => `${row.pretrainSteps} steps, ${row.codec}`;
  const named = (row: Subjected) => [subjectOf(row), row.drawn] as const;
  const subjects = [...new Set(rings.map(subjectOf))];
  const cases = [...new Set(rings.map(({ kind }) => kind))].flatMap((kind) => shapesOf(kind).map((shape) => ({ kind, ...shape })));
  const inCase = (one: Shape & { kind: string }) =>
    rings.filter((row) => row.kind === one.kind && row.honest === one.honest && row.ring === one.ring);
  return [
    "Honest submissions, of miners who went through all that is to be learned from:",
    table(
      [
        "base, codec",
        "drawn",
        "effect",
        "deviation",
        "by error",
        "1st percentile",
        "asked",
        "looked at again",
        ...groupSizes.map((size) => `accused, ${size}`),
      ],
      honest.map((row) => [
        ...named(row),
        ...[row.effect, row.deviation, row.certainty, row.leastCertainty].map((value) => value.toFixed(2)),
        percent(row.asked),
        percent(row.again),
        ...groupSizes.map((size) => share(row.accused[size] as Share)),
      ]),
    ),
    "By skill: the one with the least effect, what effects go with, and groups in which some went through less:",
    table(
      [
        "base, codec",
        "drawn",
        "least",
        "steps, rate",
        "accused",
        "with rate, steps",
        "effect of less",
        "of less, accused",
        "others, accused",
      ],
      honest.map((row) => [
        ...named(row),
        row.least.effect.toFixed(2),
        `${row.least.steps}, ${row.least.learningRate.toExponential(1)}`,
        share(row.least.accused),
        `${row.correlation.learningRate.toFixed(2)}, ${row.correlation.steps.toFixed(2)}`,
        row.mixed.shortEffect.toFixed(2),
        share(row.mixed.short),
        share(row.mixed.whole),
      ]),
    ),
    `Found of rings, by ${drawnCounts.join(" / ")} (effect), and honest members beside them that were accused:`,
    table(
      ["ring", "honest, ring", ...subjects, "accused"],
      cases.map((one) => [
        one.kind,
        `${one.honest}, ${one.ring}`,
        ...subjects.map((subject) => {
          const rows = inCase(one).filter((row) => subjectOf(row) === subject);
          return `${rows.map(({ found }) => percent(found)).join(" / ")} (${rows.map(({ effect }) => effect.toFixed(2)).join(" / ")})`;
        }),
        share(added(inCase(one).map(({ accused }) => accused))),
      ]),
    ),
  ].join("\n\n");
}
