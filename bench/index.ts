/**
 * Indexing a checkpoint of about 1 GB (every piece hashed, on all cores) against what the cores can do: as many threads that hash
 * memory; as many that read the same files and hash them, knowing nothing of pieces; and coreutils' sha256sum, as many at a time. Then
 * indexing again with the memo of the first time, and making stand-ins. `--json`, `--rounds N`.
 */
import { mkdir } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openCheckpoint } from "../src/model/checkpoint.ts";
import { openHashMemo } from "../src/model/hash-memo.ts";
import { totalBytes } from "../src/model/manifest.ts";
import {
  built,
  hashFiles,
  hashMemory,
  inBenchDirectory,
  peakMemory,
  report,
  runProgram,
  type StorageRow,
  seconds,
  takeTurns,
  writeBenchCheckpoint,
} from "./storage/support.ts";

const threads = availableParallelism();

export async function run(parameters: readonly string[] = process.argv.slice(3)): Promise<void> {
  const { values } = parseArgs({
    args: [...parameters],
    options: { json: { type: "boolean", default: false }, rounds: { type: "string", default: "5" } },
  });
  await inBenchDirectory(async (directory) => {
    const base = join(directory, "base");
    await mkdir(base);
    const { bytes, files } = await writeBenchCheckpoint(base);
    const { indexCheckpoint } = await built<typeof import("../src/model/index-checkpoint.ts")>("model/index-checkpoint.js");
    const { makeStandIns } = await built<typeof import("../src/model/make-stand-ins.ts")>("model/make-stand-ins.js");
    const checkpoint = await openCheckpoint(base);
    const times = await takeTurns(
      {
        index: () => seconds(() => indexCheckpoint(checkpoint)),
        memory: () => seconds(() => hashMemory(bytes)),
        files: () => seconds(() => hashFiles(files)),
        sha256sum: () =>
          seconds(() => runProgram("sh", ["-c", `printf '%s\\0' "$@" | xargs -0 -n 1 -P ${threads} sha256sum`, "sh", ...files])),
      },
      Number(values.rounds),
    );
    const own = times["index"] as number;
    const row = (what: string, time: number, of = bytes): StorageRow => ({ what, seconds: time, bytes: of, ratio: time / own });
    const peakBytes = peakMemory();

    const memo = await openHashMemo(join(directory, "hashes.log"));
    const { manifest, locations } = await indexCheckpoint(checkpoint, { memo });
    const again = await seconds(() => indexCheckpoint(checkpoint, { memo }));
    await memo.close();
    const expertBytes = totalBytes(manifest.pieces.filter((piece) => piece.role === "expert"));
    const standIns = await seconds(() => makeStandIns({ manifest, locate: (hash) => locations.get(hash), store: async () => undefined }));
    const rows: StorageRow[] = [
      { what: `connito, ${threads} threads: read and hash`, seconds: own, bytes },
      row(`limit: ${threads} threads read and hash, nothing else`, times["files"] as number),
      row(`limit: ${threads} threads hash memory`, times["memory"] as number),
      row(`sha256sum, ${threads} at a time`, times["sha256sum"] as number),
      { what: "connito, a second time with the memo", seconds: again, bytes },
      { what: "connito, stand-ins (bytes read)", seconds: standIns, bytes: expertBytes },
    ];
    await report(
      "index",
      rows,
      { pieces: manifest.pieces.length, "peak memory of indexing, MiB": Math.round(peakBytes / 2 ** 20) },
      values.json,
    );
  });
}
