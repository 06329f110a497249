/** What the benchmarks of storage share: a real checkpoint in shards, rounds that alternate between the sides, peers as processes. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { familyNamed, listTensors, readArchitecture, type TensorSpec } from "../../src/model/families/index.ts";
import { writeSafetensors } from "../../src/model/safetensors.ts";
import { jsonFile } from "../../src/model/write-checkpoint.ts";

const shards = 4;

/** A module as it was built: measured is what users run, whose threads need not learn to read TypeScript first. */
export function built<Module>(path: string): Promise<Module> {
  return import(new URL(`../../dist/${path}`, import.meta.url).href);
}

/** A Qwen3-MoE checkpoint of about 1.1 GB in BF16, of random finite values, in four shards: 16 layers of 32 experts. */
export async function writeBenchCheckpoint(directory: string): Promise<{ bytes: number; files: string[] }> {
  const config = familyNamed("qwen3_moe").newConfig?.({
    vocabularySize: 32_000,
    hiddenSize: 1024,
    layers: 16,
    heads: 16,
    keyValueHeads: 4,
    intermediateSize: 320,
    experts: 32,
    expertsPerToken: 4,
    normalizeTopK: true,
  });
  await writeFile(join(directory, "config.json"), jsonFile(config));
  await writeFile(join(directory, "tokenizer.json"), "{}");
  const specs = listTensors(readArchitecture(config));
  const weightMap: Record<string, string> = {};
  let bytes = 0;
  const files: string[] = [];
  for (let shard = 0; shard < shards; shard++) {
    const name = `model-${String(shard + 1).padStart(5, "0")}-of-${String(shards).padStart(5, "0")}.safetensors`;
    const own = specs.slice(Math.floor((shard * specs.length) / shards), Math.floor(((shard + 1) * specs.length) / shards));
    for (const spec of own) weightMap[spec.name] = name;
    const tensors = own.map((spec) => ({ name: spec.name, dtype: "BF16" as const, shape: spec.shape, data: () => randomValues(spec) }));
    bytes += (await writeSafetensors(join(directory, name), tensors, { format: "pt" })).bytes;
    files.push(join(directory, name));
  }
  await writeFile(join(directory, "model.safetensors.index.json"), jsonFile({ metadata: {}, weight_map: weightMap }));
  return { bytes, files };
}

/** BF16 values below 2 in magnitude, of a megabyte of random bits again and again with something of the tensor's own in each. */
function* randomValues({ shape }: TensorSpec): Generator<Uint8Array> {
  let left = 2 * shape.reduce((product, length) => product * length, 1);
  while (left > 0) {
    const chunk = new Uint8Array(Math.min(left, pool.length));
    chunk.set(pool.subarray(0, chunk.length));
    chunk.set(finite(randomBytes(Math.min(64, chunk.length))));
    left -= chunk.length;
    yield chunk;
  }
}

function finite(bits: Uint8Array): Uint8Array {
  for (let at = 1; at < bits.length; at += 2) bits[at] = (bits[at] as number) & 0xbf;
  return bits;
}

const pool = finite(randomBytes(1 << 20));

export async function inBenchDirectory<T>(work: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), "connito-bench-"));
  try {
    return await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Seconds that the work takes. */
export async function seconds(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

/** Runs a program to its end. Throws where it fails. */
export function runProgram(program: string, parameters: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, parameters, { stdio: ["ignore", "ignore", "inherit"] });
    child.once("error", reject);
    child.once("exit", (code) => (code === 0 ? resolve() : reject(new Error(`${program} ended with ${code}`))));
  });
}

/** As many threads as we use, each hashing its share of so many bytes of memory: the limit of what the cores can do. */
export function hashMemory(bytes: number): Promise<void> {
  return hashInThreads(() => ({ bytes: bytes / cores }));
}

/** As many threads, each reading and hashing its share of the files, and nothing else. */
export function hashFiles(files: readonly string[]): Promise<void> {
  return hashInThreads((slot) => ({ files: files.filter((_, index) => index % cores === slot) }));
}

const cores = availableParallelism();

async function hashInThreads(share: (slot: number) => { bytes: number } | { files: string[] }): Promise<void> {
  const script = new URL("./hash-memory.mjs", import.meta.url);
  const workers = Array.from({ length: cores }, (_, slot) => new Worker(script, { workerData: share(slot) }));
  await Promise.all(workers.map((worker) => once(worker, "exit")));
}

/** The median of each side's seconds. The sides take turns, so that a busy machine is busy for all of them; the first round warms up. */
export async function takeTurns(sides: Readonly<Record<string, () => Promise<number>>>, rounds: number): Promise<Record<string, number>> {
  const times: Record<string, number[]> = {};
  for (let round = 0; round <= rounds; round++) {
    for (const [name, side] of Object.entries(sides)) {
      const time = await side();
      if (round > 0) times[name] = [...(times[name] ?? []), time];
    }
  }
  return Object.fromEntries(Object.entries(times).map(([name, all]) => [name, all.sort((a, b) => a - b)[all.length >> 1] as number]));
}

export const machine = `${availableParallelism()} cores, ${cpus()[0]?.model ?? "unknown processor"}`;

/** The most memory that this process ever held, in bytes. */
export function peakMemory(): number {
  return process.resourceUsage().maxRSS * 1024;
}

export interface StorageRow {
  readonly what: string;
  readonly seconds: number;
  readonly bytes: number;
  /** Speed of our side divided by this one's. */
  readonly ratio?: number;
}

/** The rows as a table, or with --json as a document. */
export async function report(benchmark: string, rows: readonly StorageRow[], notes: Record<string, unknown>, json: boolean): Promise<void> {
  if (json) {
    process.stdout.write(`${JSON.stringify({ benchmark, machine, rows, ...notes }, undefined, 2)}\n`);
    return;
  }
  const { table } = await import("../../src/ui/table.ts");
  const right = (heading: string) => ({ heading, align: "right" as const });
  const cells = rows.map(({ what, seconds: time, bytes, ratio }) => [
    what,
    time.toFixed(2),
    (bytes / 1e9 / time).toFixed(2),
    ratio === undefined ? "" : ratio.toFixed(2),
  ]);
  process.stdout.write(`${machine}\n${table(["what", right("seconds"), right("GB/s"), right("ours against it")], cells)}\n`);
  for (const [name, value] of Object.entries(notes)) process.stdout.write(`${name}: ${value}\n`);
}
