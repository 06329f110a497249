/**
 * Writing a slice as a file (one pass that reads, verifies, hashes and writes, on all cores, synced to the disk) against `cp` of the same
 * bytes and `sync`, against `cp` followed by `sha256sum`, which does what ours does, and against the Python safetensors package taking the
 * same tensors out of the same shards (`--python INTERPRETER` or CONNITO_PYTHON; it neither hashes nor, by itself, syncs: it is given a
 * sync). `--json`, `--rounds N`.
 */
import { spawn } from "node:child_process";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openCheckpoint } from "../src/model/checkpoint.ts";
import { totalBytes } from "../src/model/manifest.ts";
import { expertLayout, planSlice, type SlicePlan } from "../src/model/slice.ts";
import { createExpertManager } from "../src/protocol/experts/expert-manager.ts";
import {
  built,
  inBenchDirectory,
  peakMemory,
  report,
  runProgram,
  type StorageRow,
  seconds,
  takeTurns,
  writeBenchCheckpoint,
} from "./storage/support.ts";

interface PythonPeer {
  slice(plan: SlicePlan, fileOf: (name: string) => string, into: string): Promise<number>;
  close(): void;
}

/** One interpreter for all rounds: what it takes to start and to import is not counted. */
function startPython(interpreter: string): PythonPeer {
  const child = spawn(interpreter, [fileURLToPath(new URL("./storage/slice.py", import.meta.url))], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async slice(plan, fileOf, into) {
      const shards: Record<string, string[]> = {};
      for (const { name } of plan.pieces) shards[fileOf(name)] = [...(shards[fileOf(name)] ?? []), name];
      child.stdin.write(`${JSON.stringify({ shards, into })}\n`);
      const { value, done } = await lines.next();
      if (done === true) throw new Error("the interpreter ended");
      return JSON.parse(value).seconds + (await seconds(() => runProgram("sync", [into])));
    },
    close: () => child.stdin.end(),
  };
}

export async function run(parameters: readonly string[] = process.argv.slice(3)): Promise<void> {
  const { values } = parseArgs({
    args: [...parameters],
    options: { json: { type: "boolean", default: false }, rounds: { type: "string", default: "5" }, python: { type: "string" } },
  });
  const interpreter = values.python ?? process.env["CONNITO_PYTHON"];
  await inBenchDirectory(async (directory) => {
    const base = join(directory, "base");
    await mkdir(base);
    await writeBenchCheckpoint(base);
    const { indexCheckpoint } = await built<typeof import("../src/model/index-checkpoint.ts")>("model/index-checkpoint.js");
    const { writeSliceFile } = await built<typeof import("../src/model/slice.ts")>("model/slice.js");
    const checkpoint = await openCheckpoint(base);
    const { manifest, locations } = await indexCheckpoint(checkpoint);
    const manager = createExpertManager(expertLayout(checkpoint.architecture), 2);
    const planned = await seconds(async () => planSlice({ manifest, standIns: "none", manager, group: 0 }));
    const plan = planSlice({ manifest, standIns: "none", manager, group: 0 });
    const bytes = totalBytes(plan.pieces);
    const original = join(directory, "original.safetensors");
    await writeSliceFile(plan, original, { locate: (hash) => locations.get(hash) });
    const peakBytes = peakMemory();

    const into = join(directory, "copy.safetensors");
    const fresh = async (work: () => Promise<number>): Promise<number> => {
      await rm(into, { force: true });
      return work();
    };
    const shell = (script: string) => () => fresh(() => seconds(() => runProgram("sh", ["-c", script, "sh", original, into])));
    const python = interpreter === undefined ? undefined : startPython(interpreter);
    const fileOf = (name: string) => checkpoint.tensors.get(name)?.file ?? "";
    const times = await takeTurns(
      {
        own: () => fresh(() => seconds(() => writeSliceFile(plan, into, { locate: (hash) => locations.get(hash) }))),
        cp: shell('cp "$1" "$2" && sync "$2"'),
        checked: shell('cp "$1" "$2" && sync "$2" && sha256sum "$2"'),
        ...(python && { python: () => fresh(() => python.slice(plan, fileOf, into)) }),
      },
      Number(values.rounds),
    );
    python?.close();
    const own = times["own"] as number;
    const row = (what: string, time: number): StorageRow => ({ what, seconds: time, bytes, ratio: time / own });
    const rows: StorageRow[] = [
      { what: "connito: read, verify, write, sync", seconds: own, bytes },
      row("cp and sync", times["cp"] as number),
      row("cp, sync and sha256sum", times["checked"] as number),
      ...(times["python"] === undefined ? [] : [row("Python safetensors and sync", times["python"])]),
    ];
    const notes = {
      "bytes of the slice": bytes,
      pieces: plan.pieces.length,
      "as a view, ms (nothing is copied)": (1000 * planned).toFixed(1),
      "peak memory of writing, MiB": Math.round(peakBytes / 2 ** 20),
      ...(python === undefined ? { note: "without --python there is no comparison with the safetensors package" } : {}),
    };
    await report("slice", rows, notes, values.json);
  });
}
