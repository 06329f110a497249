/**
 * How fast a merge goes. First its arithmetic (average, norms, outer step with momentum, trimmed mean) on operands that lie in the kernels' arena, where the
 * shipped steps decode them to: bytes read and written a second, against a copy of memory measured in the same run (read and written bytes
 * counted alike, one thread each). Then a whole merge from submissions on the disk to new pieces, on the shipped steps, of two models, one four times
 * the other: memory must not grow. Options: --json, --contributors N, --megabytes N (of one fp32 tensor), --tensors N (of the larger model; 0 leaves the
 * second part out).
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { averageDeltas, middleMean, outerStep, squaredDistance } from "../src/kernels/merge.ts";
import { openArena } from "../src/kernels/module.ts";
import { averageDeltas as plainAverage, outerStep as plainStep } from "../src/protocol/outer-step.ts";
import { table } from "../src/ui/table.ts";
import { makeOperands } from "./merge/operands.ts";

interface Row {
  readonly what: string;
  readonly gigabytesPerSecond: number;
  readonly ofCopy: number;
}

interface Whole {
  readonly tensors: number;
  readonly seconds: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly openedBytes: number;
  readonly peakBytes: number;
}

const rule = { learningRate: 0.7, mu: 0.9, scale: 0.5 };
const rounds = 25;

/** Bytes a second of each piece of work in its fastest round. Rounds take turns, so that what disturbs the machine disturbs all. */
function fastest(works: readonly { readonly bytes: number; readonly work: () => void }[]): number[] {
  const best = works.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round < rounds; round++) {
    for (const [index, { work }] of works.entries()) {
      const started = performance.now();
      work();
      best[index] = Math.min(best[index] as number, (performance.now() - started) / 1000);
    }
  }
  return works.map(({ bytes }, index) => bytes / (best[index] as number));
}

function arithmetic(contributors: number, elements: number): Row[] {
  const arena = openArena((contributors + 3) * elements, contributors + 3);
  const deltas = Array.from({ length: contributors }, (_, one) => {
    const delta = arena.take(elements);
    for (let i = 0; i < elements; i++) delta[i] = ((i * (one + 7)) % 101) / 1e5;
    return delta;
  });
  const base = arena.take(elements).fill(0.02);
  const momentum = arena.take(elements).fill(1e-4);
  const spare = arena.take(elements);
  const gradient = deltas[0] as typeof base;
  // As a merge does it: what is computed takes the place of what is not needed any more.
  const average = () => averageDeltas(deltas, gradient);
  const step = () => outerStep({ base, gradient, momentum, ...rule }, { weights: base, momentum });
  const copied = new Float32Array(elements);
  const bytes = 4 * elements;
  const works = [
    { what: "copy of memory", bytes: 2 * bytes, work: () => copied.set(base) },
    { what: "squares for the norms", bytes: contributors * bytes, work: () => deltas.map((delta) => squaredDistance(delta)) },
    { what: `average of ${contributors}`, bytes: (contributors + 1) * bytes, work: average },
    { what: "outer step", bytes: 5 * bytes, work: step },
    {
      what: "average and outer step",
      bytes: (contributors + 6) * bytes,
      work: () => {
        average();
        step();
      },
    },
    {
      what: `trimmed mean of ${contributors}`,
      bytes: (contributors + 1) * bytes,
      work: () => middleMean(deltas, Math.floor(contributors / 4), spare),
    },
    {
      what: "average and outer step in plain JavaScript",
      bytes: (contributors + 6) * bytes,
      work: () => plainStep({ base, gradient: plainAverage(deltas), momentum, ...rule }),
    },
  ];
  const rates = fastest(works);
  return works.map(({ what }, index) => {
    const rate = rates[index] as number;
    return { what, gigabytesPerSecond: rate / 1e9, ofCopy: rate / (rates[0] as number) };
  });
}

async function wholeMerge(contributors: number, tensors: number, elements: number): Promise<Whole> {
  const directory = await mkdtemp(join(tmpdir(), "connito-bench-"));
  try {
    await makeOperands(directory, { contributors, tensors, elements });
    const child = fileURLToPath(new URL("./merge/whole.ts", import.meta.url));
    const parameters = [directory, contributors, tensors, elements].map(String);
    const { stdout } = await promisify(execFile)(process.execPath, ["--import", "tsx", child, ...parameters]);
    return JSON.parse(stdout) as Whole;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

export async function run(parameters: readonly string[] = process.argv.slice(3)): Promise<void> {
  const { values } = parseArgs({
    args: [...parameters],
    options: {
      json: { type: "boolean", default: false },
      contributors: { type: "string", default: "4" },
      megabytes: { type: "string", default: "16" },
      tensors: { type: "string", default: "32" },
    },
  });
  const [contributors, tensors] = [Number(values.contributors), Number(values.tensors)];
  const elements = (Number(values.megabytes) * 2 ** 20) / 4;
  const rows = arithmetic(contributors, elements);
  const whole: Whole[] = [];
  if (tensors > 0) for (const count of [Math.ceil(tensors / 4), tensors]) whole.push(await wholeMerge(contributors, count, elements));
  if (values.json) {
    process.stdout.write(`${JSON.stringify({ benchmark: "merge", contributors, tensorBytes: 4 * elements, rows, whole }, undefined, 2)}\n`);
    return;
  }
  const right = (heading: string) => ({ heading, align: "right" as const });
  const cells = rows.map(({ what, gigabytesPerSecond, ofCopy }) => [what, gigabytesPerSecond.toFixed(2), `${(100 * ofCopy).toFixed(0)}%`]);
  process.stdout.write(`${table(["what", right("GB/s"), right("of the copy")], cells)}\n`);
  if (whole.length === 0) return;
  const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  const files = whole.map(({ tensors: count, seconds, readBytes, writtenBytes, openedBytes, peakBytes }) => [
    ...[`${count} tensors`, mebibytes(readBytes), mebibytes(writtenBytes)],
    ...[`${seconds.toFixed(1)} s`, mebibytes(peakBytes), mebibytes(openedBytes)],
  ]);
  const headings = ["from the disk", right("read"), right("written"), right("time"), right("peak memory"), right("before")];
  process.stdout.write(`\n${table(headings, files)}\n`);
}
