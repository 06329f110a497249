/**
 * How fast a merge goes: average of the contributors, outer step with momentum, and the trimmed mean, in bytes read and written a second, against a copy of
 * memory measured in the same run (read and written bytes counted alike). One tensor after another, as a merge does it, so memory stays at a few
 * tensors whatever the model's size. Options: --json, --contributors N, --megabytes N (of one tensor), --tensors N.
 */
import { parseArgs } from "node:util";
import { averageDeltas, middleMean, outerStep } from "../src/kernels/merge.ts";
import { averageDeltas as plainAverage, outerStep as plainStep } from "../src/protocol/outer-step.ts";
import { table } from "../src/ui/table.ts";

interface Row {
  readonly what: string;
  readonly gigabytesPerSecond: number;
  readonly ofCopy: number;
}

const rule = { learningRate: 0.7, mu: 0.9, scale: 0.5 };

/** Seconds of the fastest of several rounds, each over all tensors. */
function fastest(rounds: number, tensors: number, work: (tensor: number) => void): number {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < rounds; round++) {
    const started = performance.now();
    for (let tensor = 0; tensor < tensors; tensor++) work(tensor);
    best = Math.min(best, (performance.now() - started) / 1000);
  }
  return best;
}

export async function run(parameters: readonly string[] = process.argv.slice(3)): Promise<void> {
  const { values } = parseArgs({
    args: [...parameters],
    options: {
      json: { type: "boolean", default: false },
      contributors: { type: "string", default: "4" },
      megabytes: { type: "string", default: "16" },
      tensors: { type: "string", default: "8" },
    },
  });
  const [contributors, tensors] = [Number(values.contributors), Number(values.tensors)];
  const elements = (Number(values.megabytes) * 2 ** 20) / 4;
  const deltas = Array.from({ length: contributors }, (_, one) =>
    Float32Array.from({ length: elements }, (_value, index) => ((index * (one + 7)) % 101) / 1e5),
  );
  const base = Float32Array.from({ length: elements }, (_, index) => (index % 13) / 100);
  const momentum = base.map((value) => value / 50);
  const bytes = 4 * elements * tensors;
  const rounds = 5;

  const target = new Float32Array(elements);
  const copy = (2 * bytes) / fastest(rounds, tensors, (tensor) => target.set(deltas[tensor % contributors] as Float32Array));
  const rows: Row[] = [];
  const note = (what: string, moved: number, work: () => void) => {
    const rate = (moved * bytes) / fastest(rounds, tensors, work);
    rows.push({ what, gigabytesPerSecond: rate / 1e9, ofCopy: rate / copy });
  };
  rows.push({ what: "copy of memory", gigabytesPerSecond: copy / 1e9, ofCopy: 1 });
  // What a merge keeps from tensor to tensor.
  const gradient = new Float32Array(elements);
  const stepped = { weights: new Float32Array(elements), momentum: new Float32Array(elements) };
  note(`average of ${contributors}`, contributors + 1, () => averageDeltas(deltas, gradient));
  note("outer step", 5, () => outerStep({ base, gradient: deltas[0] as Float32Array, momentum, ...rule }, stepped));
  note(`trimmed mean of ${contributors}`, contributors + 1, () => middleMean(deltas, Math.floor(contributors / 4), gradient));
  note("whole merge: average and outer step", contributors + 6, () =>
    outerStep({ base, gradient: averageDeltas(deltas), momentum, ...rule }),
  );
  note("the same in plain JavaScript", contributors + 6, () => plainStep({ base, gradient: plainAverage(deltas), momentum, ...rule }));
  const peakBytes = process.resourceUsage().maxRSS * 1024;
  if (values.json) {
    process.stdout.write(
      `${JSON.stringify({ benchmark: "merge", contributors, tensorBytes: 4 * elements, tensors, rows, peakBytes }, undefined, 2)}\n`,
    );
    return;
  }
  const right = (heading: string) => ({ heading, align: "right" as const });
  const cells = rows.map(({ what, gigabytesPerSecond, ofCopy }) => [what, gigabytesPerSecond.toFixed(2), `${(100 * ofCopy).toFixed(0)}%`]);
  process.stdout.write(
    `${table(["what", right("GB/s"), right("of the copy")], cells)}\npeak memory ${(peakBytes / 2 ** 20).toFixed(0)} MiB\n`,
  );
}
