/** The beginning of a miner's walk as an external trainer is told it (docs/external-trainers.md): a file, since it may be of millions of sequences. */
import { writeFile } from "node:fs/promises";
import type { Run } from "../../protocol/training-share.ts";
import type { Walk } from "../../protocol/walk.ts";

/** A sequence of a job: which part of its data, and which of the part's rows. */
export type Row = readonly [part: number, row: number];

const pairBytes = 8;
/** Pairs that are held in memory. */
const pairsInMemory = 65_536;

/** The sequences at the walk's first places. `parts` are the runs of each domain that are given, enough for them; a job names them one domain after another. */
export function* rowsOfWalk(walk: Walk, places: number, parts: readonly (readonly Run[])[]): Generator<Row> {
  let before = 0;
  const located = parts.map((runs) => {
    const first = before;
    before += runs.length;
    return new Map(runs.map((run, at) => [run.shard, { part: first + at, first: run.first }]));
  });
  for (let place = 0; place < places; place++) {
    const { domain, shard, index } = walk.at(place);
    const given = located[domain]?.get(shard);
    if (given === undefined) throw new Error(`shard ${shard} of domain ${domain} is of the walk's beginning, and not among what is given`);
    yield [given.part, index - given.first];
  }
}

/** Gives the file's path. */
export async function writeWalk(file: string, rows: Iterable<Row>): Promise<string> {
  await writeFile(file, inChunks(rows));
  return file;
}

function* inChunks(rows: Iterable<Row>): Generator<Uint8Array> {
  let chunk = Buffer.alloc(pairBytes * pairsInMemory);
  let at = 0;
  for (const [part, row] of rows) {
    chunk.writeUInt32LE(part, at);
    chunk.writeUInt32LE(row, at + 4);
    at += pairBytes;
    if (at < chunk.length) continue;
    yield chunk;
    // Whoever was given the last one may still be writing it.
    chunk = Buffer.alloc(chunk.length);
    at = 0;
  }
  yield chunk.subarray(0, at);
}
