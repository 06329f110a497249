import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { drawTurns, leastPlaces, placesOfTurns } from "../../../src/protocol/own-training.ts";
import { type Run, sequencesIn } from "../../../src/protocol/training-share.ts";
import { createWalk, type Walk } from "../../../src/protocol/walk.ts";
import { partsToGive } from "../../../src/steps/train/train-by-command.ts";
import { type Row, rowsOfWalk, writeWalk } from "../../../src/steps/train/walk-file.ts";
import { hotkey } from "../../protocol/support.ts";

/** Runs of so many sequences, each the last of a shard of ten; often more of them than a program is given where nothing tells how many it needs. */
const runsOf = (sizes: readonly number[]): Run[] =>
  sizes.map((sequences, shard) => ({ shard, first: 10 * shard + 10 - sequences, sequences }));
const shares = fc.array(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 60 }).map(runsOf), {
  minLength: 1,
  maxLength: 3,
});
const sequenceLength = 7;
const beginning = (share: readonly (readonly Run[])[], sequences: number) => {
  const walk = createWalk(share, "9d".repeat(32));
  const leastTraining = { sequences, drawn: Math.min(64, sequences) };
  const available = share.map(sequencesIn);
  const places = leastPlaces(leastTraining, available);
  const parts = partsToGive(walk, sequenceLength, { places, tokens: 0 });
  return { walk, leastTraining, available, places, parts, rows: [...rowsOfWalk(walk, places, parts)] };
};
/** What the rows are to those who have the job's list of parts and nothing else. */
const sequencesOf = (rows: readonly Row[], parts: readonly (readonly Run[])[]) => {
  const list = parts.flatMap((runs, domain) => runs.map((run) => ({ domain, ...run })));
  return rows.map(([part, row]) => {
    const { domain, first, sequences } = list[part] as (typeof list)[number];
    assert.ok(row < sequences);
    return `${domain}: ${first + row}`;
  });
};
const named = (walk: Walk, places: readonly number[]) =>
  places.map((place) => {
    const { domain, index } = walk.at(place);
    return `${domain}: ${index}`;
  });

describe("steps/train/walk-file", () => {
  it("names the sequences at the walk's first places in their order, all that may be drawn among them", () => {
    fc.assert(
      fc.property(shares, fc.integer({ min: 16, max: 700 }), (share, sequences) => {
        const { walk, leastTraining, available, places, parts, rows } = beginning(share, sequences);
        const told = sequencesOf(rows, parts);
        assert.deepEqual(told, named(walk, [...Array(places).keys()]));
        const turns = drawTurns("17".repeat(32), 0, hotkey(1), leastTraining, available);
        const drawn = named(walk, placesOfTurns(turns));
        assert.ok(drawn.every((sequence) => told.includes(sequence)));
      }),
    );
  });

  it("ends where every sequence of the share was named", () => {
    fc.assert(
      fc.property(shares, (share) => {
        const { rows, parts, available } = beginning(share, 1_000_000);
        const all = share.flatMap((runs, domain) =>
          runs.flatMap(({ first, sequences }) => Array.from({ length: sequences }, (_, at) => `${domain}: ${first + at}`)),
        );
        assert.deepEqual(new Set(sequencesOf(rows, parts)), new Set(all));
        assert.equal(rows.length, share.length * Math.max(...available));
      }),
    );
  });

  it("takes no more parts than it comes to, beyond those that are given anyway", () => {
    const share = [runsOf(Array(100).fill(9)), runsOf(Array(100).fill(3))];
    assert.deepEqual(
      [16, 288, 360, 362].map((sequences) => beginning(share, sequences).parts.map((runs) => runs.length)),
      [
        [16, 16],
        [16, 48],
        [20, 60],
        [21, 61],
      ],
    );
  });

  it("is written as pairs of little-endian numbers, however many they are", async () => {
    const directory = await mkdtemp(join(tmpdir(), "connito-walk-"));
    try {
      const rows = Array.from({ length: 150_000 }, (_, at): Row => [at, 0xffff_ffff - at]);
      const bytes = await readFile(await writeWalk(join(directory, "walk"), rows));
      assert.equal(bytes.length, 8 * rows.length);
      assert.ok(rows.every(([part, row], at) => bytes.readUInt32LE(8 * at) === part && bytes.readUInt32LE(8 * at + 4) === row));
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
