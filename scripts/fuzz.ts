/**
 * `npm run fuzz`: headers of safetensors files, mutated at random and read, 100,000 of them: each is accepted or refused by the name of
 * a rule, soon, and without memory growing. One in ten goes through a file, whose length field is mutated and whose end may be missing.
 * `--count N`, `--seed N`; what goes wrong is printed with the bytes that did it, and the exit code is 1.
 */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ConnitoError } from "../src/errors.ts";
import { parseHeader, readHeader, SafetensorsError } from "../src/model/safetensors.ts";
import { fragments, type Mutation, mutate, mutationKinds } from "../test/model/mutations.ts";

const slowMilliseconds = 1000;
const growthBytes = 128 * 2 ** 20;
const dataBytes = 4096;

const { values } = parseArgs({ options: { count: { type: "string", default: "100000" }, seed: { type: "string", default: "1" } } });
const count = Number(values.count);
let state = Number(values.seed) >>> 0;

/** A whole number below `limit`: mulberry32. */
function random(limit: number): number {
  state = (state + 0x6d2b79f5) >>> 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
}

const entries = Array.from({ length: 32 }, (_, index) => {
  const begin = (index * dataBytes) / 32;
  return `"model.layers.${index}.mlp.experts.${index % 4}.up_proj.weight":{"dtype":"BF16","shape":[8,8],"data_offsets":[${begin},${begin + 128}]}`;
});
const base = new TextEncoder().encode(`{"__metadata__":{"format":"pt","a":"\\u00e9 \\" \\\\"},${entries.join(",")}}   `);
function mutated(): Uint8Array {
  const mutations = Array.from({ length: 1 + random(5) }, (): Mutation => {
    const kind = mutationKinds[random(mutationKinds.length)] as Mutation["kind"];
    return { kind, at: random(base.length), value: random(256), fragment: random(fragments.length), length: random(200) };
  });
  return mutate(base, mutations);
}

function asFile(path: string, header: Uint8Array): void {
  const length = Buffer.alloc(8);
  const kind = random(8);
  length.writeBigUInt64LE(kind === 0 ? BigInt(random(2 ** 32)) << BigInt(random(32)) : BigInt(header.length));
  writeFileSync(path, Buffer.concat([length, header, new Uint8Array(dataBytes)]));
  if (kind === 1) truncateSync(path, random(8 + header.length + dataBytes));
}

const directory = mkdtempSync(join(tmpdir(), "connito-fuzz-"));
const path = join(directory, "model.safetensors");
const refused = new Map<string, number>();
let accepted = 0;
let slowest = 0;
let before = 0;
let peak = 0;
const faults: string[] = [];
for (let run = 0; run < count && faults.length < 10; run++) {
  // What the first thousands take is the program's own.
  if (run === Math.min(5000, count >> 1)) before = process.memoryUsage.rss();
  const header = mutated();
  const began = performance.now();
  try {
    if (run % 10 === 0) {
      asFile(path, header);
      await readHeader(path);
    } else parseHeader(header, 8 + header.length + dataBytes);
    accepted++;
  } catch (error) {
    const rule = error instanceof SafetensorsError ? error.rule : error instanceof ConnitoError ? error.code : undefined;
    if (rule === undefined) faults.push(`${String(error)}: ${Buffer.from(header).toString("base64")}`);
    else refused.set(rule, (refused.get(rule) ?? 0) + 1);
  }
  const milliseconds = performance.now() - began;
  slowest = Math.max(slowest, milliseconds);
  if (milliseconds > slowMilliseconds) faults.push(`${milliseconds.toFixed(0)} ms: ${Buffer.from(header).toString("base64")}`);
  if (run % 1000 === 0) peak = Math.max(peak, process.memoryUsage.rss());
}
rmSync(directory, { recursive: true, force: true });
if (peak - before > growthBytes) faults.push(`memory grew by ${((peak - before) / 2 ** 20).toFixed(0)} MiB`);
for (const [rule, times] of [...refused].sort(([, a], [, b]) => b - a)) process.stdout.write(`${String(times).padStart(8)}  ${rule}\n`);
process.stdout.write(`${String(accepted).padStart(8)}  accepted\n`);
const growth = ((peak - before) / 2 ** 20).toFixed(0);
process.stdout.write(`${count} headers, the slowest took ${slowest.toFixed(1)} ms, memory grew by ${growth} MiB\n`);
for (const fault of faults) process.stdout.write(`FAULT ${fault}\n`);
if (faults.length > 0) process.exitCode = 1;
