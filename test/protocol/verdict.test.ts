import assert from "node:assert/strict";
import fc from "fast-check";
import { windowOf } from "../../src/protocol/clock.ts";
import { commitmentHash } from "../../src/protocol/commitment.ts";
import type { Hotkey } from "../../src/protocol/hotkey.ts";
import { taskHash } from "../../src/protocol/task.ts";
import { type ChainCommit, type ChainReveal, type ChainVerdict, chainVerdicts, statuses } from "../../src/protocol/verdict.ts";
import { exampleTask, hash, hotkeys } from "./support.ts";

const task = exampleTask({ netuid: 11 });
const cycle = 4;
const baseRoot = hash("base of cycle 4");
const commitWindow = windowOf(task, cycle, "commit");
const revealWindow = windowOf(task, cycle, "reveal");

interface Entry {
  commit: ChainCommit;
  reveal: ChainReveal;
}

/** What an honest miner writes; `artifact` names the bytes it submits. */
function honest(miner: Hotkey, group: number, artifact: string, place: { block?: number; extrinsicIndex?: number } = {}): Entry {
  const [artifactRoot, salt] = [hash(artifact), hash(`salt of ${miner}`)];
  const preimage = { netuid: task.netuid, taskHash: taskHash(task), cycle, group, hotkey: miner, baseRoot, artifactRoot, salt };
  return {
    commit: {
      hotkey: miner,
      block: place.block ?? commitWindow.first,
      extrinsicIndex: place.extrinsicIndex ?? 1,
      record: { kind: "commit", cycle, group, commitment: commitmentHash(preimage) },
    },
    reveal: {
      hotkey: miner,
      block: revealWindow.first,
      record: { kind: "reveal", cycle, group, artifactRoot, salt, locator: "http://miner:1" },
    },
  };
}

function judge(groups: Hotkey[][], entries: Partial<Entry>[]): ChainVerdict[] {
  return chainVerdicts({
    task,
    assignment: { cycle, seed: hash("seed"), groups, unavailable: [] },
    baseRoot,
    commits: entries.flatMap(({ commit }) => commit ?? []),
    reveals: entries.flatMap(({ reveal }) => reveal ?? []),
  });
}

function statusOf(miner: Hotkey, group: number, entry: Partial<Entry>): string | undefined {
  const groups = group === 0 ? [[miner], []] : [[], [miner]];
  return judge(groups, [entry])[0]?.status;
}

const [a, b, c] = hotkeys(3) as [Hotkey, Hotkey, Hotkey];

describe("verdict from the chain", () => {
  it("lets an honest miner's artifact be fetched", () => {
    const entry = honest(a, 1, "work");
    const [verdict] = judge([[], [a]], [entry]);
    assert.deepEqual(verdict, { miner: a, group: 1, status: "to-fetch", root: hash("work"), ...entry });
  });

  it("needs a commit of this cycle inside the window, both ends included", () => {
    const entry = honest(a, 0, "work");
    const committed = (block: number, record = entry.commit.record) =>
      statusOf(a, 0, { ...entry, commit: { ...entry.commit, block, record } });
    assert.equal(statusOf(a, 0, {}), "not-committed");
    assert.equal(statusOf(a, 0, { reveal: entry.reveal }), "not-committed");
    assert.equal(committed(commitWindow.first - 1), "not-committed");
    assert.equal(committed(commitWindow.first), "to-fetch");
    assert.equal(committed(commitWindow.last), "to-fetch");
    assert.equal(committed(commitWindow.last + 1), "not-committed");
    assert.equal(committed(commitWindow.first, { ...entry.commit.record, cycle: cycle - 1 }), "not-committed");
  });

  it("needs a reveal of this cycle inside the window, both ends included", () => {
    const entry = honest(a, 0, "work");
    const revealed = (block: number, record = entry.reveal.record) =>
      statusOf(a, 0, { ...entry, reveal: { ...entry.reveal, block, record } });
    assert.equal(statusOf(a, 0, { commit: entry.commit }), "not-revealed");
    assert.equal(revealed(revealWindow.first - 1), "not-revealed");
    assert.equal(revealed(revealWindow.last), "to-fetch");
    assert.equal(revealed(revealWindow.last + 1), "not-revealed");
    assert.equal(revealed(revealWindow.first, { ...entry.reveal.record, cycle: cycle + 1 }), "not-revealed");
  });

  it("refuses a reveal that does not hash to the commitment in any part", () => {
    const entry = honest(a, 0, "work");
    const { record } = entry.reveal;
    for (const other of [
      { ...record, artifactRoot: hash("other") },
      { ...record, salt: hash("other") },
      { ...record, group: 1 },
    ]) {
      assert.equal(statusOf(a, 0, { ...entry, reveal: { ...entry.reveal, record: other } }), "commitment-mismatch");
    }
    // The commit names another group than its commitment binds: the two must say the same.
    const commit = { ...entry.commit, record: { ...entry.commit.record, group: 1 } };
    assert.equal(statusOf(a, 0, { ...entry, commit }), "commitment-mismatch");
  });

  it("refuses another's commitment, another base, another cycle's and another task's", () => {
    const stolen = honest(b, 0, "work");
    const asOwn = { commit: { ...stolen.commit, hotkey: a }, reveal: { ...stolen.reveal, hotkey: a } };
    assert.equal(statusOf(a, 0, asOwn), "commitment-mismatch");
    const entry = honest(a, 0, "work");
    const { artifactRoot, salt } = entry.reveal.record;
    const right = { netuid: task.netuid, taskHash: taskHash(task), cycle, group: 0, hotkey: a, baseRoot, artifactRoot, salt };
    for (const wrong of [{ baseRoot: hash("old base") }, { cycle: cycle - 1 }, { taskHash: hash("old task") }, { netuid: 9 }]) {
      const commitment = commitmentHash({ ...right, ...wrong });
      const commit = { ...entry.commit, record: { ...entry.commit.record, commitment } };
      assert.equal(statusOf(a, 0, { ...entry, commit }), "commitment-mismatch", Object.keys(wrong)[0]);
    }
  });

  it("refuses the wrong group before it looks for copies", () => {
    const original = honest(a, 0, "work");
    const copy = honest(b, 0, "work", { block: commitWindow.last });
    const [, verdict] = judge([[a], [b]], [original, copy]);
    assert.equal(verdict?.status, "wrong-group");
  });

  it("gives a root to the earliest commit: block, then extrinsic index, then hotkey", () => {
    const place = fc.record({ block: fc.integer({ min: commitWindow.first, max: commitWindow.last }), extrinsicIndex: fc.nat(2) });
    const order = fc.shuffledSubarray([0, 1, 2], { minLength: 3, maxLength: 3 });
    fc.assert(
      fc.property(fc.tuple(place, place, place), order, (places, shuffle) => {
        const miners = [a, b, c];
        const entries = miners.map((miner, index) => honest(miner, 0, "work", places[index]));
        const verdicts = judge(
          [miners, []],
          shuffle.map((index) => entries[index] as Entry),
        );
        const key = (index: number) => {
          const { block, extrinsicIndex } = places[index] as { block: number; extrinsicIndex: number };
          return `${String(block).padStart(9, "0")} ${extrinsicIndex} ${miners[index]}`;
        };
        const first = [0, 1, 2].sort((x, y) => (key(x) < key(y) ? -1 : 1))[0] as number;
        miners.forEach((miner, index) => {
          const status = verdicts.find((verdict) => verdict.miner === miner)?.status;
          assert.equal(status, index === first ? "to-fetch" : "copy");
        });
      }),
    );
  });

  it("never lets a commit without a matching reveal take a root away", () => {
    const owner = honest(b, 0, "work", { block: commitWindow.last });
    const early = honest(a, 0, "work");
    const forged = { ...early, commit: { ...early.commit, record: { ...early.commit.record, commitment: hash("anything") } } };
    const status = (entries: Partial<Entry>[]) => judge([[a, b], []], entries)[1]?.status;
    assert.equal(status([owner, forged]), "to-fetch");
    assert.equal(status([owner, { commit: early.commit }]), "to-fetch");
    assert.equal(status([owner, early]), "copy");
  });

  it("lets a miner who was not assigned own a root", () => {
    const [verdict] = judge([[b], []], [honest(a, 0, "work"), honest(b, 0, "work", { extrinsicIndex: 2 })]);
    assert.equal(verdict?.status, "copy");
  });

  it("takes the later of two records by one hotkey", () => {
    const entry = honest(a, 0, "work");
    const first = { ...entry.commit, record: { ...entry.commit.record, commitment: hash("first thought") } };
    const later = { ...entry.commit, block: commitWindow.last };
    for (const commits of [
      [first, later],
      [later, first],
    ]) {
      const [verdict] = judge([[a], []], [...commits.map((commit) => ({ commit })), { reveal: entry.reveal }]);
      assert.equal(verdict?.status, "to-fetch");
    }
  });

  it("judges every assigned miner once, by group and hotkey, and nobody else", () => {
    const verdicts = judge([[b], [a]], [honest(a, 1, "one"), honest(c, 0, "three")]);
    assert.deepEqual(
      verdicts.map(({ miner, group, status }) => [miner, group, status]),
      [
        [b, 0, "not-committed"],
        [a, 1, "to-fetch"],
      ],
    );
  });

  it("gives the first status that applies, whatever else is wrong", () => {
    const faults = fc.record({ commit: fc.boolean(), reveal: fc.boolean(), salt: fc.boolean(), group: fc.boolean(), copied: fc.boolean() });
    fc.assert(
      fc.property(faults, (fault) => {
        const group = fault.group ? 1 : 0;
        const entry = honest(b, group, "work", { extrinsicIndex: 5 });
        const record = fault.salt ? { ...entry.reveal.record, salt: hash("lost") } : entry.reveal.record;
        const mine: Partial<Entry> = {
          ...(fault.commit ? {} : { commit: entry.commit }),
          ...(fault.reveal ? {} : { reveal: { ...entry.reveal, record } }),
        };
        const others = fault.copied ? [honest(a, 0, "work", { extrinsicIndex: 2 })] : [];
        const status = judge([[b], []], [mine, ...others])[0]?.status;
        const expected = fault.commit
          ? "not-committed"
          : fault.reveal
            ? "not-revealed"
            : fault.salt
              ? "commitment-mismatch"
              : fault.group
                ? "wrong-group"
                : fault.copied
                  ? "copy"
                  : "to-fetch";
        assert.equal(status, expected);
      }),
    );
  });
});

describe("statuses", () => {
  it("stand in the order of the protocol's table, with the same hints", async () => {
    const { readFile } = await import("node:fs/promises");
    const text = await readFile(new URL("../../docs/protocol.md", import.meta.url), "utf8");
    const section = text.slice(text.indexOf("| status | meaning |"), text.indexOf("## 9."));
    const listed = [...section.matchAll(/^\| `([a-z-]+)` \| .* \| (.*) \|$/gm)].map(([, status, hint]) => [status, hint]);
    assert.deepEqual(
      Object.entries(statuses)
        .map(([status, { hint }]) => [status, hint])
        .slice(0, -1),
      listed,
    );
  });
});
