/**
 * What `train --plan` says against what training takes: several shapes, all at once and layer by layer, each in a process of its own whose peak of resident
 * memory is compared; and the losses of both ways. With --limit each shape is trained both ways once more in a process that may not map more than what
 * layer by layer was planned to take and a third (prlimit, Linux). Options: --json, --shape NAME, --optimizer adamw|muon, --limit.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { needByLayers, needOfWhole } from "../src/engine/plan.ts";
import type { OptimizerOptions } from "../src/engine/trainer.ts";
import { table } from "../src/ui/table.ts";
import { optimizers, plannedOf, type Shape, shapes } from "./plan/shapes.ts";

interface Measured {
  readonly before: number;
  readonly peak: number;
  /** Bytes mapped to write to, before anything was opened. */
  readonly dataBefore: number;
  readonly losses: readonly number[];
  readonly seconds: number;
}

const program = fileURLToPath(new URL("./plan/train.ts", import.meta.url));

function measure(name: string, way: string, optimizer: string): Measured {
  const { stdout, status } = spawnSync(process.execPath, ["--import", "tsx", program, name, way, "0", optimizer], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (status !== 0) throw new Error(`training ${name} ${way} ended with ${status}`);
  return JSON.parse(stdout) as Measured;
}

/** Whether training ends well in a process that may map no more than `limit` bytes to write to, and what it says where it does not. */
function underLimit(limit: number, name: string, way: string, optimizer: string): { finished: boolean; said?: string } {
  const parameters = [`--data=${limit}`, process.execPath, "--import", "tsx", program, name, way, "0", optimizer];
  const { status, signal, stderr, error } = spawnSync("prlimit", parameters, { encoding: "utf8" });
  if (error !== undefined) throw new Error(`--limit needs prlimit: ${error.message}`);
  if (status === 0) return { finished: true };
  const said = stderr.split("\n").find((line) => /error|alloc|memory/i.test(line)) ?? `ended with ${signal ?? status}`;
  return { finished: false, said: said.trim() };
}

/** Above what layer by layer was planned to take: a plan is right within 15%, and mapped memory is not all touched. */
const limitFactor = 4 / 3;

export async function run(parameters: readonly string[] = process.argv.slice(3)): Promise<void> {
  const { values } = parseArgs({
    args: [...parameters],
    options: {
      json: { type: "boolean", default: false },
      shape: { type: "string" },
      optimizer: { type: "string", default: "adamw" },
      limit: { type: "boolean", default: false },
    },
  });
  const optimizer = optimizers[values.optimizer] as OptimizerOptions;
  const rows = Object.entries(shapes)
    .filter(([name]) => values.shape === undefined || name === values.shape)
    .flatMap(([name, shape]: [string, Shape]) => {
      const planned = plannedOf(shape, optimizer);
      const ways = ["whole", "layers"].map((way) => {
        const need = way === "whole" ? needOfWhole(planned) : needByLayers(planned, 0);
        const { before, peak, dataBefore, losses, seconds } = measure(name, way, values.optimizer);
        const plan = before + need.total;
        return {
          shape: name,
          way,
          plannedBytes: plan,
          peakBytes: peak,
          ratio: plan / peak,
          runtimeBytes: before,
          dataBefore,
          need,
          seconds,
          losses,
        };
      });
      const [whole, layers] = ways as [(typeof ways)[0], (typeof ways)[0]];
      const lossDifference = Math.max(...whole.losses.map((loss, step) => Math.abs(loss - (layers.losses[step] as number))));
      const limit = Math.round(layers.dataBefore + limitFactor * layers.need.total);
      return ways.map((row) => ({
        ...row,
        lossDifference,
        ...(values.limit && { limit, ...underLimit(limit, name, row.way, values.optimizer) }),
      }));
    });
  if (values.json) {
    process.stdout.write(`${JSON.stringify({ benchmark: "plan", rows }, undefined, 2)}\n`);
    return;
  }
  const mebibytes = (bytes: number) => (bytes / 2 ** 20).toFixed(0);
  const right = (heading: string) => ({ heading, align: "right" as const });
  const headings = [
    "runtime",
    "weights",
    "gradients",
    "optimizer",
    "activations",
    "checkpoint",
    "planned MiB",
    "peak MiB",
    "ratio",
    "losses differ by",
    "s",
    ...(values.limit ? ["limit MiB"] : []),
  ].map(right);
  const cells = rows.map(({ need, ...row }) => [
    ...[row.shape, row.way],
    ...[
      row.runtimeBytes,
      need.weights,
      need.gradients,
      need.optimizer,
      need.activations,
      need.checkpoint,
      row.plannedBytes,
      row.peakBytes,
    ].map(mebibytes),
    ...[row.ratio.toFixed(2), row.lossDifference.toExponential(0), row.seconds.toFixed(0)],
    ...("limit" in row ? [mebibytes(row.limit as number), row.finished === true ? "finished" : row.said] : []),
  ]);
  process.stdout.write(`${table(["shape", "way", ...headings, ...(values.limit ? ["under the limit"] : [])], cells)}\n`);
}
