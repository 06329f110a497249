/**
 * Writing a slice as a file: one pass that reads, verifies, hashes and writes on all cores, and syncs. Its peers do less: `cp` of the same
 * bytes; the Python safetensors package that takes the same tensors out of the same shards (`--python INTERPRETER` or CONNITO_PYTHON), as
 * it comes and made to verify every tensor's hash as ours does. Two settings: on the disk, where every side is given a sync; and in memory
 * (/dev/shm, where a sync is nothing), which is what a program has that leaves its bytes to the page cache. Beside them what bounds
 * them: the disk that takes the same bytes past the page cache, and the cores that do nothing but hash. `--json`, `--rounds N`.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
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

const memoryDirectory = "/dev/shm";

interface PythonPeer {
  slice(verified: boolean, into: string): Promise<number>;
  close(): void;
}

/** One interpreter for all rounds: what it takes to start and to import is not counted. */
function startPython(interpreter: string, plan: SlicePlan, fileOf: (name: string) => string): PythonPeer {
  const child = spawn(interpreter, [fileURLToPath(new URL("./storage/slice.py", import.meta.url))], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const shards: Record<string, string[]> = {};
  for (const { name } of plan.pieces) shards[fileOf(name)] = [...(shards[fileOf(name)] ?? []), name];
  const known = Object.fromEntries(plan.pieces.map(({ name, hash }) => [name, hash]));
  return {
    async slice(verified, into) {
      child.stdin.write(`${JSON.stringify({ shards, hashes: verified ? known : {}, into })}\n`);
      const { value, done } = await lines.next();
      if (done === true) throw new Error("the interpreter ended");
      return JSON.parse(value).seconds;
    },
    close: () => child.stdin.end(),
  };
}

type Side = () => Promise<number>;

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
    const original = join(directory, "original.safetensors");
    const locate = (hash: string) => locations.get(hash);
    await writeSliceFile(plan, original, { locate });
    const peakBytes = peakMemory();
    const python =
      interpreter === undefined ? undefined : startPython(interpreter, plan, (name) => checkpoint.tensors.get(name)?.file ?? "");

    /** All sides in one place; with `sync`, until the disk has the bytes. */
    const sidesIn = (place: string, sync: boolean): Record<string, Side> => {
      const into = join(place, "copy.safetensors");
      const shell = (script: string) => () => seconds(() => runProgram("sh", ["-c", script, "sh", original, into]));
      const thenSync = async (side: Promise<number>) => (await side) + (sync ? await seconds(() => runProgram("sync", [into])) : 0);
      const sides: Record<string, Side> = {
        connito: () => seconds(() => writeSliceFile(plan, into, { locate })),
        "connito, stopped half-way: the rest": async () => {
          const controller = new AbortController();
          const onProgress = (done: number, all: number) => void (2 * done >= all && controller.abort());
          await writeSliceFile(plan, into, { locate, onProgress, signal: controller.signal }).catch(() => undefined);
          return seconds(() => writeSliceFile(plan, into, { locate }));
        },
        cp: () => thenSync(shell('cp "$1" "$2"')()),
        "cp and sha256sum": () => thenSync(shell('cp "$1" "$2" && sha256sum "$2"')()),
        ...(python && { "Python safetensors": () => thenSync(python.slice(false, into)) }),
        ...(python && { "Python safetensors, verifying": () => thenSync(python.slice(true, into)) }),
        ...(sync && { "limit: the disk alone": shell('dd if="$1" of="$2" bs=8M oflag=direct conv=fsync status=none') }),
      };
      const fresh = (side: Side) => async () => {
        await rm(into, { force: true });
        const time = await side();
        await rm(into, { force: true });
        return time;
      };
      return Object.fromEntries(Object.entries(sides).map(([name, side]) => [name, fresh(side)]));
    };
    const inMemory = existsSync(memoryDirectory) ? await mkdtemp(join(memoryDirectory, "connito-bench-")) : undefined;
    const settings: Record<string, Record<string, Side>> = { "disk, synced": sidesIn(directory, true) };
    const bytes = totalBytes(plan.pieces);
    if (inMemory !== undefined)
      settings["memory"] = { ...sidesIn(inMemory, false), "limit: the cores hash, nothing else": () => seconds(() => hashMemory(bytes)) };
    const rows: StorageRow[] = [];
    try {
      for (const [where, sides] of Object.entries(settings)) {
        const { connito: own, ...others } = await takeTurns(sides, Number(values.rounds));
        rows.push({ what: `${where}: connito`, seconds: own as number, bytes });
        for (const [name, time] of Object.entries(others))
          rows.push({ what: `${where}: ${name}`, seconds: time, bytes, ratio: time / (own as number) });
      }
    } finally {
      python?.close();
      if (inMemory !== undefined) await rm(inMemory, { recursive: true, force: true });
    }
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
