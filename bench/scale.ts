/**
 * Models of hundreds of billions of parameters in flat memory. Makes the files of Qwen3-235B-A22B and DeepSeek-V3 (FP8) with their real
 * names and sizes, as holes; then an owner (opens, indexes with the notes of a run that was stopped and a sample left to hash, makes a view), a server
 * (serves the view) and a miner (fetches the manifest and, but of packed weights, that of the stand-ins, plans the slice
 * of one of 64 groups, fetches, verifies and writes a sample of it), each a process of its own. Every hash is a real one; what
 * is really hashed, sent and written is the sample whose bytes the table states, the rest is planned. Compared with a limit of 200 MB of memory for
 * each; `--small-heap` gives Node the flag --optimize-for-size, as `node --optimize-for-size bin/run.js` does for the command. `--json`, `--model NAME`,
 * `--sample MIB` (512).
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openCheckpoint, type StoredTensor } from "../src/model/checkpoint.ts";
import { isPacked, readArchitecture } from "../src/model/families/index.ts";
import { openHashMemo } from "../src/model/hash-memo.ts";
import { indexCheckpoint } from "../src/model/index-checkpoint.ts";
import { createManifest, encodeManifest, type Manifest, manifestRoot, totalBytes } from "../src/model/manifest.ts";
import { bytesOfPiece, type Piece } from "../src/model/pieces.ts";
import type { Hash } from "../src/protocol/hash.ts";
import { table } from "../src/ui/table.ts";
import { makeModel, type Shape, shapes } from "./scale/shapes.ts";
import { inBenchDirectory, machine } from "./storage/support.ts";

const limitBytes = 200e6;
/** What `--small-heap` gives each process. Without it Node lets garbage lie for as long as the machine has memory. */
const smallHeap = ["--optimize-for-size"];

interface Step {
  readonly model: string;
  readonly role: string;
  readonly what: string;
  readonly seconds: number;
  readonly bytes?: number;
  readonly peakBytes?: number;
}

function startParticipant(small: boolean, job: Record<string, unknown>): { lines: AsyncIterator<string>; end(): Promise<void> } {
  const script = fileURLToPath(new URL("./scale/participant.mjs", import.meta.url));
  const child = spawn(process.execPath, [...(small ? smallHeap : []), script, JSON.stringify(job)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const gone = once(child, "exit");
  return {
    lines: createInterface({ input: child.stdout })[Symbol.asyncIterator](),
    async end() {
      child.stdin.end();
      const [code] = await gone;
      if (code !== 0) throw new Error(`${String(job["role"])} ended with ${String(code)}`);
    },
  };
}

/** What an owner publishes beside the base by default: of each expert piece a copy of two bits a value. Of packed weights there are none. */
function standInsOf({ config, tokenizer, pieces }: Manifest): Manifest {
  const copies = pieces.flatMap((piece): Piece[] => {
    const bytes = bytesOfPiece("Q2_64", piece.shape) as number;
    const hash = createHash("sha256").update(piece.hash).digest("hex");
    return piece.role === "expert" ? [{ ...piece, role: "stand-in", dtype: "Q2_64", bytes, hash }] : [];
  });
  return createManifest(config, tokenizer, copies);
}

/** The notes that an owner has who was stopped while indexing: all hashes but those of a sample, whose bytes are returned. */
async function noteHashes(directory: string, manifest: Manifest, file: string, sampleBytes: number): Promise<number> {
  const checkpoint = await openCheckpoint(directory);
  // Odd, since weights and their scales take turns.
  const stride = Math.ceil(totalBytes(manifest.pieces) / sampleBytes) | 1;
  const hashOf = new Map<string, Hash>();
  const inodes = new Map<string, number>();
  let left = 0;
  for (const [index, { name, hash, bytes }] of manifest.pieces.entries()) {
    const { file: shard, offset } = checkpoint.tensors.get(name) as StoredTensor;
    const inode = inodes.get(shard) ?? statSync(shard).ino;
    inodes.set(shard, inode);
    if (index % stride === 0) left += bytes;
    else hashOf.set(`${inode} ${offset}`, hash);
  }
  const memo = await openHashMemo(file);
  const noted: Promise<void>[] = [];
  const find = (key: string) => {
    // As src/model/index-checkpoint.ts makes them.
    const hash = hashOf.get(/^piece \d+:(\d+):\S+ (\d+) /.exec(key)?.slice(1).join(" ") ?? "");
    if (hash !== undefined) noted.push(memo.keep(key, hash));
    return hash;
  };
  await indexCheckpoint(checkpoint, { memo: { find, keep: async () => {}, close: async () => {} } });
  await Promise.all(noted);
  await memo.close();
  return left;
}

async function measure(
  model: string,
  shape: Shape,
  { sampleBytes, small }: { readonly sampleBytes: number; readonly small: boolean },
  directory: string,
): Promise<Step[]> {
  const steps: Step[] = [];
  const began = performance.now();
  const { manifest, bytes, shards } = makeModel(directory, shape);
  const root = manifestRoot(manifest);
  const standIns = isPacked(readArchitecture(shape.config)) ? undefined : standInsOf(manifest);
  const manifests = join(directory, "manifests");
  mkdirSync(manifests);
  for (const one of [manifest, ...(standIns ? [standIns] : [])])
    writeFileSync(join(manifests, `${manifestRoot(one)}.json`), encodeManifest(one));
  const hashes = join(directory, "hashes.log");
  const hashedBytes = await noteHashes(directory, manifest, hashes, sampleBytes);
  const what = `make ${shards} files of holes, ${manifest.pieces.length} pieces`;
  steps.push({ model, role: "(bench)", what, seconds: (performance.now() - began) / 1000, bytes });

  const roots = { root, standIns: standIns && manifestRoot(standIns) };
  const common = { directory, manifests, ...roots, groups: shape.groups, sampleBytes, hashes, hashedBytes };
  const follow = async (lines: AsyncIterator<string>): Promise<string | undefined> => {
    for (let next = await lines.next(); !next.done; next = await lines.next()) {
      const line = JSON.parse(next.value);
      if (line.url !== undefined) return line.url;
      steps.push({ model, ...line });
    }
    return undefined;
  };
  const state = join(directory, "owner");
  const owner = startParticipant(small, { ...common, role: "owner", state });
  await follow(owner.lines);
  await owner.end();
  const server = startParticipant(small, { ...common, role: "server", state });
  const url = await follow(server.lines);
  const miner = startParticipant(small, { ...common, role: "miner", state: join(directory, "miner"), url });
  await follow(miner.lines);
  await miner.end();
  const ended = server.end();
  await follow(server.lines);
  await ended;
  return steps;
}

export async function run(parameters: readonly string[] = process.argv.slice(3)): Promise<void> {
  const { values } = parseArgs({
    args: [...parameters],
    options: {
      json: { type: "boolean", default: false },
      model: { type: "string" },
      sample: { type: "string", default: "512" },
      "small-heap": { type: "boolean", default: false },
    },
  });
  if (!existsSync(new URL("../dist/model/slice.js", import.meta.url)))
    throw new Error("run `npm run build` first: what is measured is the built code");
  const chosen = Object.entries(shapes).filter(([name]) => values.model === undefined || name === values.model);
  if (chosen.length === 0) throw new Error(`--model is one of: ${Object.keys(shapes).join("; ")}`);
  const steps: Step[] = [];
  for (const [model, shape] of chosen) {
    await inBenchDirectory(async (directory) => {
      const place = join(directory, model);
      mkdirSync(place);
      steps.push(...(await measure(model, shape, { sampleBytes: Number(values.sample) * 2 ** 20, small: values["small-heap"] }, place)));
    });
  }
  const peaks = chosen.flatMap(([model]) =>
    ["owner", "server", "miner"].map((role) => {
      const own = steps.filter((step) => step.model === model && step.role === role);
      const peakBytes = Math.max(...own.map((step) => step.peakBytes ?? 0));
      return { model, role, peakBytes, ofLimit: peakBytes / limitBytes };
    }),
  );
  if (values.json) {
    process.stdout.write(`${JSON.stringify({ benchmark: "scale", machine, steps, peaks }, undefined, 2)}\n`);
    return;
  }
  const right = (heading: string) => ({ heading, align: "right" as const });
  const cells = steps.map((step) => [
    step.model,
    step.role,
    step.what,
    step.seconds.toFixed(2),
    step.bytes === undefined ? undefined : (step.bytes / 1e9).toFixed(3),
    step.peakBytes === undefined ? undefined : (step.peakBytes / 1e6).toFixed(0),
  ]);
  process.stdout.write(`${machine}\n${table(["model", "process", "step", right("seconds"), right("GB"), right("peak MB")], cells)}\n`);
  for (const { model, role, peakBytes, ofLimit } of peaks)
    process.stdout.write(`${model}, ${role}: ${(peakBytes / 1e6).toFixed(0)} MB at most, ${ofLimit.toFixed(2)} of the limit of 200 MB\n`);
}
