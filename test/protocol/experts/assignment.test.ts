import assert from "node:assert/strict";
import fc from "fast-check";
import { cycleLength, cycleWindow } from "../../../src/protocol/clock.ts";
import { type Assignment, assignMiners, type Candidate, groupOfMiner } from "../../../src/protocol/experts/assignment.ts";
import type { Hotkey } from "../../../src/protocol/hotkey.ts";
import { exampleTask, hash, hotkey } from "../support.ts";
import { secondAssignment } from "../vectors/second.ts";

const task = exampleTask({ assignment: { missedCycles: 2 } });
const cycle = 10;
const oldest = cycleWindow(task, cycle - 2).first;

function assign(miners: readonly Candidate[], groups: number, seed = hash("seed"), inCycle = cycle): Assignment {
  return assignMiners({ cycle: inCycle, task, seed, groups, miners });
}

function miner(name: string | number, previous?: number): Candidate {
  return {
    hotkey: hotkey(name),
    uid: 0,
    registeredAt: 1,
    lastRecord: previous === undefined ? undefined : { cycle: cycle - 1, group: previous },
  };
}

/** Miners that are all available: some new, the others with a record of the last cycle. */
const crowd = fc
  .record({ groups: fc.integer({ min: 1, max: 6 }), previous: fc.array(fc.option(fc.nat(7), { nil: undefined }), { maxLength: 25 }) })
  .map(({ groups, previous }) => ({
    groups,
    miners: previous.map((group, index) => ({ ...miner(index, group), ...(group === undefined ? { registeredAt: oldest } : {}) })),
  }));

const anyMiner = fc.record({
  registeredAt: fc.integer({ min: 1, max: cycleWindow(task, cycle).last }),
  lastRecord: fc.option(fc.record({ cycle: fc.nat(12), group: fc.nat(5) }), { nil: undefined }),
});

function movers(miners: readonly Candidate[], assignment: Assignment): Hotkey[] {
  const { length } = assignment.groups;
  const settled = miners.filter(({ lastRecord }) => lastRecord !== undefined && lastRecord.group < length);
  return settled
    .filter(({ hotkey: name, lastRecord }) => groupOfMiner(assignment, name) !== lastRecord?.group)
    .map(({ hotkey: name }) => name);
}

/** The fewest moves with which loads can differ by at most one, over every choice of the groups that take one more. */
function fewestMoves(miners: readonly Candidate[], groups: number): number {
  const had = Array.from({ length: groups }, (_, group) => miners.filter(({ lastRecord }) => lastRecord?.group === group).length);
  const [share, extra] = [Math.floor(miners.length / groups), miners.length % groups];
  let fewest = Number.POSITIVE_INFINITY;
  for (let choice = 0; choice < 1 << groups; choice++) {
    const takesOneMore = had.map((_, group) => (choice >> group) & 1);
    if (takesOneMore.reduce((sum, bit) => sum + bit, 0) !== extra) continue;
    const moves = had.reduce((sum, count, group) => sum + Math.max(0, count - share - (takesOneMore[group] as number)), 0);
    fewest = Math.min(fewest, moves);
  }
  return fewest;
}

describe("assignment", () => {
  it("equals a second implementation, availability included", () => {
    fc.assert(
      fc.property(
        fc.array(anyMiner, { maxLength: 20 }),
        fc.integer({ min: 1, max: 5 }),
        fc.nat(12),
        fc.string(),
        (list, groups, inCycle, text) => {
          const miners = list.map((entry, index) => ({ ...entry, hotkey: hotkey(index), uid: index }));
          const seed = hash(text);
          const { startBlock } = task.cycle;
          const expected = secondAssignment({
            cycle: inCycle,
            seed,
            groups,
            missedCycles: 2,
            startBlock,
            cycleLength: cycleLength(task),
            miners,
          });
          const result = assign(miners, groups, seed, inCycle);
          assert.deepEqual(result.groups, expected);
          const everybody = [...result.groups.flat(), ...result.unavailable].sort();
          assert.deepEqual(everybody, miners.map(({ hotkey: name }) => name).sort());
        },
      ),
    );
  });

  it("gives every available miner one group, and loads that differ by at most one", () => {
    fc.assert(
      fc.property(crowd, ({ miners, groups }) => {
        const assignment = assign(miners, groups);
        assert.deepEqual(assignment.groups.flat().sort(), miners.map(({ hotkey: name }) => name).sort());
        const loads = assignment.groups.map((group) => group.length);
        assert.equal(loads.length, groups);
        assert.ok(Math.max(...loads) - Math.min(...loads) <= 1, String(loads));
      }),
    );
  });

  it("moves as few miners as can be", () => {
    fc.assert(
      fc.property(crowd, ({ miners, groups }) => {
        assert.equal(movers(miners, assign(miners, groups)).length, fewestMoves(miners, groups));
      }),
    );
  });

  it("moves nobody when a miner joins, and at most one when one leaves", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 25 }), fc.nat(24), (groups, count, leaver) => {
        const fresh = Array.from({ length: count }, (_, index) => miner(index));
        const before = assign(
          fresh.map((candidate) => ({ ...candidate, registeredAt: oldest })),
          groups,
        );
        const settled = fresh.map((candidate) => miner(fresh.indexOf(candidate), groupOfMiner(before, candidate.hotkey)));
        assert.deepEqual(assign(settled, groups, hash("another seed")).groups, before.groups);
        const joined = [...settled, { ...miner("new"), registeredAt: oldest }];
        assert.deepEqual(movers(joined, assign(joined, groups, hash("another seed"))), []);
        const left = settled.filter((_, index) => index !== leaver % count);
        assert.ok(movers(left, assign(left, groups, hash("another seed"))).length <= 1);
      }),
    );
  });

  it("does not depend on the order of the list", () => {
    fc.assert(
      fc.property(crowd, ({ miners, groups }) => {
        assert.deepEqual(assign([...miners].reverse(), groups), assign(miners, groups));
      }),
    );
  });

  it("is drawn by the seed, which nobody can choose", () => {
    const miners = Array.from({ length: 12 }, (_, index) => ({ ...miner(index), registeredAt: oldest }));
    const outcomes = new Set(Array.from({ length: 20 }, (_, index) => JSON.stringify(assign(miners, 3, hash(`seed ${index}`)).groups)));
    assert.equal(outcomes.size, 20);
  });

  it("takes who registered or committed lately, and everybody in the first cycles", () => {
    const record = (of: number) => ({ ...miner("a"), lastRecord: { cycle: of, group: 0 } });
    const isAvailable = (candidate: Candidate, inCycle = cycle) => assign([candidate], 2, hash("seed"), inCycle).unavailable.length === 0;
    assert.equal(isAvailable({ ...miner("a"), registeredAt: oldest - 1 }), false);
    assert.equal(isAvailable({ ...miner("a"), registeredAt: oldest }), true);
    assert.equal(isAvailable(record(cycle - 3)), false);
    assert.equal(isAvailable(record(cycle - 2)), true);
    assert.equal(isAvailable(record(cycle - 1)), true);
    assert.equal(isAvailable(miner("a"), 2), true);
    assert.equal(isAvailable(miner("a"), 3), false);
  });

  it("does not take a record for presence that names a cycle yet to come", () => {
    for (const future of [cycle, cycle + 1, 0xffff_ffff]) {
      const candidate = { ...miner("a"), lastRecord: { cycle: future, group: 0 } };
      assert.deepEqual(assign([candidate], 2).unavailable, [candidate.hotkey]);
    }
  });

  it("refuses a miner that is listed twice", () => {
    assert.throws(() => assign([miner("a", 0), miner("a", 1)], 2), /twice/);
  });
});

describe("assignment over many cycles", () => {
  /** What happens to each of 16 miners before each cycle: it is away (0 in ten), stays registered and works (most), or misses it. */
  const event = fc.oneof(
    { weight: 7, arbitrary: fc.constant("works" as const) },
    { weight: 2, arbitrary: fc.constant("misses" as const) },
    { weight: 1, arbitrary: fc.constant("toggles" as const) },
  );
  const history = fc.array(fc.array(event, { minLength: 16, maxLength: 16 }), { minLength: 4, maxLength: 14 });

  it("keeps loads even and moves no more miners than the changes since the last cycle", () => {
    fc.assert(
      fc.property(history, fc.integer({ min: 1, max: 5 }), (cycles, groups) => {
        const registered = new Map<Hotkey, Candidate>();
        let last = new Map<Hotkey, number>();
        cycles.forEach((events, index) => {
          const window = cycleWindow(task, index);
          events.forEach((what, who) => {
            const name = hotkey(who);
            if (what !== "toggles" && index > 0) return;
            if (!registered.delete(name)) registered.set(name, { hotkey: name, uid: who, registeredAt: Math.max(1, window.first - 5) });
          });
          const miners = [...registered.values()];
          const assignment = assign(miners, groups, hash(`block before cycle ${index}`), index);

          const loads = assignment.groups.map((group) => group.length);
          assert.ok(Math.max(...loads) - Math.min(...loads) <= 1, String(loads));
          const now = new Map(assignment.groups.flatMap((names, group) => names.map((name) => [name, group] as const)));
          const available = miners.filter(({ hotkey: name }) => now.has(name));
          const moved = movers(available, assignment).length;
          // A miner changes the state when it comes, goes, or holds another group than it last was given.
          const names = new Set([...last.keys(), ...now.keys()]);
          const changes = [...names].filter((name) => !now.has(name) || registered.get(name)?.lastRecord?.group !== last.get(name)).length;
          assert.ok(moved <= changes, `${moved} moved after ${changes} changes in cycle ${index}`);

          events.forEach((what, who) => {
            const [candidate, group] = [registered.get(hotkey(who)), now.get(hotkey(who))];
            if (what !== "misses" && candidate !== undefined && group !== undefined) {
              registered.set(candidate.hotkey, { ...candidate, lastRecord: { cycle: index, group } });
            }
          });
          last = now;
        });
      }),
      { numRuns: 60 },
    );
  });

  it("stands still when everybody works", () => {
    let miners = Array.from({ length: 11 }, (_, index): Candidate => ({ hotkey: hotkey(index), uid: index, registeredAt: 1 }));
    const first = assign(miners, 3, hash("0"), 0);
    for (let index = 0; index < 30; index++) {
      const assignment = assign(miners, 3, hash(String(index)), index);
      assert.deepEqual(assignment.groups, first.groups);
      miners = miners.map((candidate) => ({
        ...candidate,
        lastRecord: { cycle: index, group: groupOfMiner(assignment, candidate.hotkey) as number },
      }));
    }
  });

  it("lets a miner that stays away go, and takes it back into its old group when there is room", () => {
    const present = Array.from({ length: 5 }, (_, index) => miner(index, index % 2));
    const absent = { ...miner("absent", 1), lastRecord: { cycle: cycle - 3, group: 1 } };
    assert.deepEqual(assign([...present, absent], 2).unavailable, [absent.hotkey]);
    const back = { ...absent, registeredAt: oldest };
    assert.equal(groupOfMiner(assign([...present, back], 2), back.hotkey), 1);
  });
});
