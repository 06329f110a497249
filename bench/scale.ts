/**
 * Models of hundreds of billions of parameters in flat memory. Makes the files of Qwen3-235B-A22B and DeepSeek-V3 (FP8) with their real
 * names and sizes, as holes; then an owner (opens, verifies a sample, makes a view), a server (serves the view) and a miner (fetches the manifest, plans
 * the slice of one of 64 groups, fetches, verifies and writes a sample of it), each a process of its own. Every hash is a real one; what
 * is really hashed, sent and written is the sample whose bytes the table states, the rest is planned. Compared with a limit of 200 MB of memory for
 * each; `--heap-limits` has Node collect garbage before its heap is larger than 140 MB (NODE_OPTIONS does the same for the command). `--json`, `--model NAME`,
 * `--sample MIB` (512).
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { encodeManifest, manifestRoot } from "../src/model/manifest.ts";
import { table } from "../src/ui/table.ts";
import { makeModel, type Shape, shapes } from "./scale/shapes.ts";
import { inBenchDirectory, machine } from "./storage/support.ts";

const limitBytes = 200e6;
/** What `--heap-limits` gives each process. Without them Node lets garbage lie for as long as the machine has memory. */
const heapLimits = ["--max-old-space-size=140", "--max-semi-space-size=4"];

interface Step {
  readonly model: string;
  readonly role: string;
  readonly what: string;
  readonly seconds: number;
  readonly bytes?: number;
  readonly peakBytes?: number;
}

function startParticipant(limited: boolean, job: Record<string, unknown>): { lines: AsyncIterator<string>; end(): Promise<void> } {
  const script = fileURLToPath(new URL("./scale/participant.mjs", import.meta.url));
  const child = spawn(process.execPath, [...(limited ? heapLimits : []), script, JSON.stringify(job)], {
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

async function measure(
  model: string,
  shape: Shape,
  { sampleBytes, limited }: { readonly sampleBytes: number; readonly limited: boolean },
  directory: string,
): Promise<Step[]> {
  const steps: Step[] = [];
  const began = performance.now();
  const { manifest, bytes, shards } = makeModel(directory, shape);
  const root = manifestRoot(manifest);
  const manifestFile = join(directory, "manifest.json");
  writeFileSync(manifestFile, encodeManifest(manifest));
  const what = `make ${shards} files of holes, ${manifest.pieces.length} pieces`;
  steps.push({ model, role: "(bench)", what, seconds: (performance.now() - began) / 1000, bytes });

  const common = { directory, manifestFile, root, groups: shape.groups, sampleBytes };
  const follow = async (lines: AsyncIterator<string>): Promise<string | undefined> => {
    for (let next = await lines.next(); !next.done; next = await lines.next()) {
      const line = JSON.parse(next.value);
      if (line.url !== undefined) return line.url;
      steps.push({ model, ...line });
    }
    return undefined;
  };
  const state = join(directory, "owner");
  const owner = startParticipant(limited, { ...common, role: "owner", state });
  await follow(owner.lines);
  await owner.end();
  const server = startParticipant(limited, { ...common, role: "server", state });
  const url = await follow(server.lines);
  const miner = startParticipant(limited, { ...common, role: "miner", state: join(directory, "miner"), url });
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
      "heap-limits": { type: "boolean", default: false },
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
      steps.push(...(await measure(model, shape, { sampleBytes: Number(values.sample) * 2 ** 20, limited: values["heap-limits"] }, place)));
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
