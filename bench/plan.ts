/**
 * What `train --plan` says against what training takes: three shapes, all at once and layer by layer, each in a process of its own whose peak of resident
 * memory is compared. Options: --json, --shape NAME, --optimizer adamw|muon.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { needByLayers, needOfWhole } from "../src/engine/plan.ts";
import type { OptimizerOptions } from "../src/engine/trainer.ts";
import { table } from "../src/ui/table.ts";
import { optimizers, type Shape, shapes, threads, trainableOf } from "./plan/shapes.ts";

interface Measured {
  readonly before: number;
  readonly peak: number;
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

export async function run(parameters: readonly string[] = process.argv.slice(3)): Promise<void> {
  const { values } = parseArgs({
    args: [...parameters],
    options: { json: { type: "boolean", default: false }, shape: { type: "string" }, optimizer: { type: "string", default: "adamw" } },
  });
  const rows = Object.entries(shapes)
    .filter(([name]) => values.shape === undefined || name === values.shape)
    .flatMap(([name, shape]: [string, Shape]) => {
      const planned = { ...shape, trainable: trainableOf(shape), optimizer: optimizers[values.optimizer] as OptimizerOptions, threads };
      return ["whole", "layers"].map((way) => {
        const need = way === "whole" ? needOfWhole(planned) : needByLayers(planned, 0);
        const { before, peak, losses, seconds } = measure(name, way, values.optimizer);
        const plan = before + need.total;
        return { shape: name, way, plannedBytes: plan, peakBytes: peak, ratio: plan / peak, runtimeBytes: before, need, seconds, losses };
      });
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
    "s",
  ].map(right);
  const cells = rows.map(({ shape, way, need, plannedBytes, peakBytes, ratio, runtimeBytes, seconds }) => [
    ...[shape, way],
    ...[runtimeBytes, need.weights, need.gradients, need.optimizer, need.activations, need.checkpoint, plannedBytes, peakBytes].map(
      mebibytes,
    ),
    ...[ratio.toFixed(2), seconds.toFixed(0)],
  ]);
  process.stdout.write(`${table(["shape", "way", ...headings], cells)}\n`);
}
