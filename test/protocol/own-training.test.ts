import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type BlockLosses,
  blocksOf,
  drawTurns,
  lookAgain,
  type OwnEffect,
  ownEffects,
  ownersOf,
  placesOfTurns,
  showLittle,
  turnsOfLook,
} from "../../src/protocol/own-training.ts";
import { stream } from "../../src/protocol/random.ts";
import { createWalk } from "../../src/protocol/walk.ts";
import { hash, hotkey } from "./support.ts";

const count = 224;

function normals(name: string, length: number): number[] {
  const random = stream(hash(name));
  return Array.from({ length }, () => Array.from({ length: 12 }, () => random.uniform(2 ** 20) / 2 ** 20).reduce((a, b) => a + b, -6));
}

interface Member {
  /** Members of one training have learned the same, but for a little noise. */
  readonly training: string;
  /** How much more it gains on its own sequences; and on those of the member at `learned`, where that is another. */
  readonly own?: number;
  readonly learned?: number;
}

/** A block as it may be measured: what anyone gains on a sequence, what a training gains on it besides, and what it learned of it. */
function blockOf(name: string, members: readonly Member[], sizes = members.map(() => count)): BlockLosses {
  const owners = ownersOf(sizes);
  const values = (part: string) => normals(`${name} ${part}`, owners.length);
  const [base, common] = [values("base").map((x) => 3 + x), values("common")];
  const losses = members.map(({ training, own = 0, learned }, member) => {
    const [besides, noise] = [values(`training ${training}`), values(`noise ${member}`)];
    return owners.map((owner, at) => {
      const gain = 5 + (common[at] as number) + 0.4 * (besides[at] as number) + 0.05 * (noise[at] as number);
      return (base[at] as number) - 0.01 * (gain + (owner === (learned ?? member) ? own : 0));
    });
  });
  return { owners, base, members: losses };
}

const honest = (name: number): Member => ({ training: `honest ${name}`, own: 1 });
const idle = (name: number): Member => ({ training: `idle ${name}` });
const little = (...blocks: readonly BlockLosses[]) => showLittle(blocks.flatMap(ownEffects));
/** The same block, where one member's losses are others. */
const withLosses = (block: BlockLosses, member: number, change: (loss: number, at: number) => number): BlockLosses => ({
  ...block,
  members: block.members.map((losses, index) => (index === member ? Array.from(losses, change) : losses)),
});
const near = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-9 * Math.max(1, Math.abs(b)), `${a} ${b}`);
const trials = Array.from({ length: 5 }, (_, trial) => `trial ${trial}`);

describe("own training: turns", () => {
  const rule = fc
    .tuple(fc.integer({ min: 16, max: 400 }), fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 5 }))
    .chain(([sequences, available]) =>
      fc.integer({ min: 16, max: sequences }).map((drawn) => ({ leastTraining: { sequences, drawn }, available })),
    );

  it("are different, of what has to be learned from and the share has, as many in each domain", () => {
    fc.assert(
      fc.property(rule, ({ leastTraining, available }) => {
        const turns = drawTurns(hash("seed"), 1, hotkey("miner"), leastTraining, available);
        for (const [domain, list] of turns.entries()) {
          const below = Math.min(Math.floor(leastTraining.sequences / available.length), available[domain] as number);
          assert.equal(list.length, Math.min(Math.floor(leastTraining.drawn / available.length), below));
          assert.equal(new Set(list).size, list.length);
          assert.ok(list.every((turn) => Number.isInteger(turn) && turn >= 0 && turn < below));
        }
        assert.equal(turns.length, available.length);
      }),
    );
  });

  it("are at the walk's first places, each of its domain", () => {
    fc.assert(
      fc.property(rule, ({ leastTraining, available }) => {
        const walk = createWalk(
          available.map((sequences) => [{ shard: 0, first: 0, sequences }]),
          hash("walk"),
        );
        const turns = drawTurns(hash("seed"), 1, hotkey("miner"), leastTraining, available);
        const places = placesOfTurns(turns);
        assert.ok(places.every((place) => place < leastTraining.sequences));
        const domains = turns.flatMap((list, domain) => list.map(() => domain));
        assert.deepEqual(
          places.map((place) => walk.at(place).domain),
          domains,
        );
        const seen = places.map((place) => `${walk.at(place).domain} ${walk.at(place).index}`);
        assert.equal(new Set(seen).size, turns.flat().length);
        assert.deepEqual(
          places.map((place) => Math.floor(place / turns.length)),
          turns.flat(),
        );
      }),
    );
  });

  it("are parted in two looks: the first quarter of each domain's, rounded up, and the others", () => {
    assert.deepEqual(turnsOfLook([[7, 1, 5, 3, 2], [4], [], [9, 8, 6, 0]], 1), [[7, 1], [4], [], [9]]);
    fc.assert(
      fc.property(rule, ({ leastTraining, available }) => {
        const turns = drawTurns(hash("seed"), 1, hotkey("miner"), leastTraining, available);
        const [first, second] = [turnsOfLook(turns, 1), turnsOfLook(turns, 2)];
        assert.deepEqual(
          turns.map((_, domain) => [...(first[domain] as number[]), ...(second[domain] as number[])]),
          turns,
        );
        for (const [domain, { length }] of turns.entries()) assert.equal(first[domain]?.length, Math.ceil(length / 4));
      }),
    );
  });

  it("are others for another seed, group, hotkey and domain, and any of those that there are", () => {
    const turns = (seed = "seed", group = 1, miner = "miner") =>
      drawTurns(hash(seed), group, hotkey(miner), { sequences: 200, drawn: 20 }, [500, 500]);
    assert.deepEqual(turns(), turns());
    for (const other of [turns("other"), turns("seed", 2), turns("seed", 1, "other")]) assert.notDeepEqual(other, turns());
    assert.notDeepEqual(turns()[0], turns()[1]);
    const all = new Set(Array.from({ length: 100 }, (_, miner) => turns("seed", 1, `${miner}`)).flat(2));
    assert.equal(all.size, 100);
  });
});

describe("own training: blocks", () => {
  it("are as few as can be, none above five, as equal as can be, in order; of one or two there is none", () => {
    fc.assert(
      fc.property(fc.array(fc.integer(), { minLength: 3, maxLength: 70 }), (members) => {
        const blocks = blocksOf(members);
        const sizes = blocks.map(({ length }) => length);
        assert.deepEqual(blocks.flat(), members);
        assert.ok(sizes.every((size) => size >= 3 && size <= 5));
        assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1);
        assert.ok(5 * (sizes.length - 1) < members.length);
      }),
    );
    assert.deepEqual(
      [0, 1, 2, 3, 5, 6, 7, 11].map((length) => blocksOf(Array(length).fill(0)).map((block) => block.length)),
      [[], [], [], [3], [5], [3, 3], [3, 4], [3, 4, 4]],
    );
  });
});

describe("own training: effects", () => {
  it("are by hand those of two", () => {
    // Gains of the first on its own 2, 4, 9, and on the other's 1, 1, 3, 3: a mean of 2, deviations of 1, a variance of 4/3; 9 and 4 count as 3.
    const [first, second] = ownEffects({
      owners: ownersOf([3, 4]),
      base: Array(7).fill(10),
      members: [[8, 6, 1, 9, 9, 7, 7], Array(7).fill(9)],
    });
    const scale = Math.sqrt(4 / 3);
    near(first?.effect as number, (8 / 3 - 2) / scale);
    near(first?.error as number, Math.sqrt(1 / 3 / 3 + 4 / 3 / 4) / scale);
    // What gains the same everywhere has no deviation to compare with.
    assert.deepEqual(second, { effect: Number.NaN, error: Number.NaN });
  });

  it("count of what is far out, its own or others', no more than the middle eight tenths of others'", () => {
    // Of fifteen the second and the fourteenth: 0 and 4. What is clipped has a mean of 2 and squared deviations of 26, its own 2 and 4 a mean of 3.
    const gains = [2, 50, -100, 0, 1, 1, 1, 1, 1, 2, 3, 3, 3, 3, 3, 4, 100];
    const losses = gains.map((gain) => 10 - gain);
    const [first] = ownEffects({ owners: ownersOf([2, 15]), base: Array(17).fill(10), members: [losses, Array(17).fill(9)] });
    const scale = Math.sqrt((20_070 - 26 ** 2 / 15) / 14);
    near(first?.effect as number, 1 / scale);
    near(first?.error as number, Math.sqrt(2 / 2 + 26 / 14 / 15) / scale);
  });

  it("are no less than a member's gains alone say, whatever the others learned", () => {
    const block = blockOf("others", [honest(1), honest(2), idle(3), idle(4)]);
    const others = [1, 2, 3].map((other) => block.owners.indexOf(other));
    const alone = ownEffects({
      ...block,
      members: block.members.map((losses, member) => (member === 0 ? losses : Array.from(losses, () => Number.NaN))),
    });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3 }), fc.double({ min: -1, max: 1, noNaN: true }), (member, gain) => {
        const after = ownEffects(withLosses(block, member, (loss, at) => (at < (others[0] as number) ? loss - gain : loss)));
        assert.ok((after[0]?.effect as number) >= (alone[0]?.effect as number));
      }),
      { numRuns: 30 },
    );
    // Two who learned its sequences better than their own.
    const thieves = [1, 2].reduce((one, member) => withLosses(one, member, (loss, at) => (at < count ? loss - 0.04 : loss)), block);
    assert.equal(little(thieves)[0], false);
  });

  it("do not suffer from sequences that are hard to learn for all", () => {
    for (const trial of trials) {
      const block = blockOf(trial, [honest(1), honest(2), honest(3), idle(4)]);
      const hard = [0, 1, 2, 3].reduce((one, member) => withLosses(one, member, (loss, at) => (at < count ? loss + 0.01 : loss)), block);
      const [before, after] = [ownEffects(block)[0], ownEffects(hard)[0]] as [OwnEffect, OwnEffect];
      assert.ok(after.effect > before.effect / 2, `${before.effect} ${after.effect}`);
      assert.deepEqual(little(hard).slice(0, 3), [false, false, false]);
    }
  });

  it("are the same whatever all gain alike, and of a member, whatever it gains alike everywhere", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 3 }), fc.double({ min: -1, max: 1, noNaN: true }), (member, shift) => {
        const block = blockOf("shifts", [honest(1), honest(2), idle(3), idle(4)]);
        const before = ownEffects(block);
        const after = ownEffects(withLosses(block, member, (loss) => loss + shift));
        near(after[member]?.effect as number, before[member]?.effect as number);
        near(after[member]?.error as number, before[member]?.error as number);
        const moved = ownEffects({ ...block, base: Array.from(block.base, (loss) => loss + shift) });
        for (const [at, { effect }] of moved.entries()) near(effect, before[at]?.effect as number);
      }),
      { numRuns: 30 },
    );
  });

  it("are the same whatever the scale of gains: of all, and of one for itself", () => {
    const gains = blockOf("scales", [honest(1), honest(2), idle(3), idle(4)]);
    // Without a loss of the base, so that scaling rounds nothing.
    const block = { ...gains, base: Array(4 * count).fill(0) };
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 3 }), fc.integer({ min: -20, max: 20 }), (member, power) => {
        const before = ownEffects(block);
        assert.deepEqual(ownEffects(withLosses(block, member, (loss) => loss * 2 ** power))[member], before[member]);
        const all = { ...block, members: block.members.map((losses) => Array.from(losses, (loss) => loss * 2 ** power)) };
        assert.deepEqual(ownEffects(all), before);
      }),
    );
  });

  it("of sequences learned by heart are no more than the clip", () => {
    for (const trial of trials) {
      const block = blockOf(trial, [idle(1), honest(2), honest(3), honest(4)]);
      const byHeart = (sequences: number, gain: number) => withLosses(block, 0, (loss, at) => (at < sequences ? loss - gain : loss));
      for (const sequences of [4, count]) {
        const [once, often] = [ownEffects(byHeart(sequences, 1)), ownEffects(byHeart(sequences, 1_000))];
        near(once[0]?.effect as number, often[0]?.effect as number);
        near(once[0]?.error as number, often[0]?.error as number);
        assert.ok((often[0]?.effect as number) < 1.6);
      }
      assert.deepEqual(little(byHeart(4, 1_000)), [true, false, false, false]);
    }
  });

  it("of sequences that a training broke are no less than the clip", () => {
    const block = blockOf("broken", [honest(1), honest(2), honest(3), honest(4)]);
    const broken = (loss: number) => ownEffects(withLosses(block, 0, (before, at) => (at < 4 ? before + loss : before)))[0] as OwnEffect;
    near(broken(1).effect, broken(1_000).effect);
    assert.ok(broken(1).effect > (ownEffects(block)[0]?.effect as number) / 2);
  });
});

describe("own training: who shows too little", () => {
  it("is who has not learned of its own sequences, and nobody who has, in blocks of any size", () => {
    for (const trial of trials) {
      // Of two there would be one that shows some, which may be chance.
      assert.deepEqual(little(blockOf(trial, [{ ...honest(1), own: 2 }, idle(2)], [4 * count, 4 * count])), [false, false]);
      assert.deepEqual(little(blockOf(trial, [honest(1), honest(2), idle(3)])), [false, false, true]);
      assert.deepEqual(little(blockOf(trial, [idle(1), honest(2), honest(3), idle(4)])), [true, false, false, true]);
      assert.deepEqual(little(blockOf(trial, [honest(1), honest(2), honest(3), honest(4)])), [false, false, false, false]);
    }
  });

  it("is who submits one training under many hotkeys, and nobody beside", () => {
    const ring: Member = { training: "ring", own: 1, learned: 0 };
    for (const trial of trials) {
      const blocks = [
        blockOf(trial, [ring, honest(1), ring, ring]),
        blockOf(
          `${trial} more`,
          [honest(2), ring, honest(3), ring].map((member) => (member === ring ? { training: "ring" } : member)),
        ),
      ];
      const found = little(...blocks);
      // The first may have learned of its own share: one training is one hotkey's.
      assert.deepEqual(found.slice(1), [false, true, true, false, true, false, true]);
    }
    // Whoever they are measured with, one another included.
    assert.deepEqual(
      little(
        blockOf("ring", Array(4).fill({ training: "ring" })),
        blockOf("beside", [honest(1), honest(2), honest(3), { training: "ring" }]),
      ),
      [true, true, true, true, false, false, false, true],
    );
  });

  it("is no other where one shows far more than is usual", () => {
    for (const trial of trials)
      for (const gain of [10, 1_000_000]) {
        const members = [honest(1), { training: "griefer", own: gain }, honest(2), honest(3)];
        assert.deepEqual(little(blockOf(trial, members)), [false, false, false, false]);
        // Alone it does not say what is usual.
        assert.deepEqual(little(blockOf(trial, [idle(1), { training: "griefer", own: gain }, idle(2), idle(3)])), [
          false,
          false,
          false,
          false,
        ]);
      }
  });

  it("is nobody where nobody shows anything", () => {
    for (const trial of trials) {
      const effects = ownEffects(blockOf(trial, [idle(1), idle(2), idle(3), idle(4)]));
      assert.ok(!showLittle(effects).includes(true), JSON.stringify(effects));
    }
    assert.deepEqual(showLittle([]), []);
    const none = { effect: 0, error: 0.001 };
    assert.deepEqual(showLittle([none, { effect: -1, error: 0.001 }]), [false, false]);
  });

  it("is by half of the lower median of what is surely shown, and nobody where that is below a quarter", () => {
    const sure = (effect: number): OwnEffect => ({ effect, error: 1 / 1024 });
    const nothing: OwnEffect = { effect: 0, error: 0 };
    // The last one's effect beside others'.
    const last = (effect: number, error: number, ...others: readonly number[]) =>
      showLittle([...others.map(sure), { effect, error }]).at(-1);
    assert.deepEqual([last(0, 0, 0.25, 0.25), last(0, 0, 0.2499, 0.25)], [true, false]);
    // What one shows alone may be chance.
    assert.equal(last(0, 0, 4), false);
    // Half of 1, with twice the error.
    assert.deepEqual([last(0, 0.25, 1, 1), last(0, 0.2499, 1, 1), last(-0.0001, 0.25, 1, 1)], [false, true, true]);
    // The lower of two, the middle of three, in whatever order.
    assert.deepEqual([last(0, 0.75, 1, 4), last(0, 0.25, 4, 1), last(0, 0.2499, 4, 1)], [false, false, true]);
    assert.deepEqual([last(0, 0.75, 4, 1, 2), last(0, 0.375, 4, 1, 2), last(0, 0.5, 4, 2, 4)], [false, true, true]);
    // What is four times its error is not surely shown, and does not count.
    const unsure: OwnEffect = { effect: 0.5, error: 0.125 };
    assert.deepEqual(showLittle([unsure, sure(4), nothing]), [false, false, false]);
    assert.deepEqual(showLittle([{ ...unsure, error: 0.1249 }, sure(4), nothing]), [false, false, true]);
    assert.deepEqual(showLittle([unsure, sure(4), { effect: 1.5, error: 0.125 }, nothing]), [false, false, false, true]);
  });

  it("is not known at the first look where something is asked and somebody of the block shows less, nor where nothing is asked", () => {
    const sure = (effect: number): OwnEffect => ({ effect, error: 1 / 1024 });
    const unknown: OwnEffect = { effect: Number.NaN, error: Number.NaN };
    const all = [sure(1), sure(1), sure(2)];
    assert.deepEqual(lookAgain([]), []);
    assert.deepEqual(lookAgain([all]), [false]);
    // Half of 1, or more, however unsure.
    assert.deepEqual(lookAgain([all, [sure(1), { effect: 0.5, error: 9 }, sure(1)]]), [false, false]);
    assert.deepEqual(lookAgain([all, [sure(1), sure(0.499), sure(1)], [unknown, sure(1), sure(1)]]), [false, true, true]);
    // What is known by a single sequence, or of what gains the same on all others'.
    for (const effect of [4, Number.POSITIVE_INFINITY])
      assert.deepEqual(lookAgain([all, [...all, { effect, error: Number.NaN }]]), [false, true]);
    assert.deepEqual(lookAgain([all, [...all, { effect: Number.POSITIVE_INFINITY, error: 0 }]]), [false, true]);
    const few = [sure(0), sure(0.25), sure(0)];
    assert.deepEqual(lookAgain([few, few.slice(0, 1)]), [true, true]);
    assert.deepEqual(lookAgain([few, few]), [true, true]);
    assert.deepEqual(lookAgain([few.slice(1, 2), few.slice(1, 2)]), [false, false]);
  });

  it("is no other, whatever of one's losses is not finite, and nothing is said of that one", () => {
    const members = [honest(1), honest(2), idle(3), honest(4)];
    for (const size of [2, 3, 4])
      for (const member of members.slice(0, size).keys()) {
        const block = blockOf("finite", members.slice(0, size));
        // To the others it is as if it had nothing that can be compared, wherever it is and whatever.
        const effects = ownEffects(withLosses(block, member, () => Number.NaN));
        for (const loss of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
          for (const place of Array.from({ length: size }, (_, owner) => count * owner + 5))
            assert.deepEqual(ownEffects(withLosses(block, member, (before, at) => (at === place ? loss : before))), effects);
        assert.deepEqual(effects[member], { effect: Number.NaN, error: Number.NaN });
        const shown = members.slice(0, size).filter((one, at) => one.own !== undefined && at !== member).length;
        const suspect = members.slice(0, size).map((_, at) => at === 2 && at !== member && shown > 1);
        assert.deepEqual(showLittle(effects), suspect);
      }
  });

  it("is nobody of whom too little is known, as of one sequence or none", () => {
    for (const size of [0, 1]) {
      const effects = ownEffects(blockOf("few", [honest(1), honest(2), idle(3)], [count, count, size]));
      assert.ok(Number.isNaN(effects[2]?.error));
      assert.ok(effects.slice(0, 2).every(({ effect, error }) => effect > 4 * error));
      assert.deepEqual(showLittle(effects), [false, false, false]);
    }
    assert.deepEqual(little(blockOf("alone", [honest(1)])), [false]);
  });
});
