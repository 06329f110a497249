/**
 * Muon against AdamW: a miner alone, as in `codec/subnet.ts`, with either optimizer at several learning rates. How long a step of each takes is measured first, the two
 * taking turns; a third way, Muon at AdamW's time, takes as many steps as fit. Options: --json, --directory PATH, --cycles 1,5, --steps N (a
 * cycle's), --rates A,B,..., --codecs NAME,... (fp32 sends everything), --ways adamw,muon,muon-in-time, --domain NAME, --iterations N (Newton-Schulz), --ratio R
 * (a step of Muon in steps of AdamW, instead of measuring), --threads N.
 */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type OptimizerOptions, openTrainer } from "../src/engine/trainer.ts";
import { codecs } from "../src/model/codecs/index.ts";
import { muonDefaults } from "../src/protocol/task-defaults.ts";
import { createProgress } from "../src/ui/progress.ts";
import { table } from "../src/ui/table.ts";
import { inner, losses, placeUse } from "./codec/subnet.ts";
import { batchSequences, openBase } from "./transfer/base.ts";
import type { Domain, TrainedBase } from "./transfer/experiment.ts";

const rounds = 8;

/** Seconds of a step of each, the least of several that took turns. */
async function secondsOfSteps(
  base: TrainedBase,
  domain: Domain,
  optimizers: readonly OptimizerOptions[],
  threads: number,
): Promise<number[]> {
  const { architecture, weights, sequenceLength, specs } = base;
  const trainable = specs.flatMap(({ name, expert }) => (expert !== undefined && expert < architecture.experts / 2 ? [name] : []));
  const trainers = await Promise.all(
    optimizers.map((optimizer) => openTrainer({ architecture, weights, trainable, optimizer, sequenceLength, batchSequences, threads })),
  );
  const best = trainers.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round < rounds; round++) {
    for (const [index, trainer] of trainers.entries()) {
      const started = performance.now();
      await trainer.step([domain.train.slice(round * batchSequences, (round + 1) * batchSequences)]);
      best[index] = Math.min(best[index] as number, (performance.now() - started) / 1000);
    }
  }
  for (const trainer of trainers) trainer.dispose();
  return best;
}

export async function run(): Promise<void> {
  const { values: flags } = parseArgs({
    args: process.argv.slice(3),
    options: {
      json: { type: "boolean" },
      directory: { type: "string", default: join(tmpdir(), "connito-transfer") },
      cycles: { type: "string", default: "1,5" },
      steps: { type: "string", default: "25" },
      rates: { type: "string", default: "2.5e-4,5e-4,1e-3,2e-3" },
      codecs: { type: "string", default: "fp32,signs-10" },
      ways: { type: "string", default: "adamw,muon,muon-in-time" },
      domain: { type: "string", default: "speeches" },
      iterations: { type: "string", default: String(muonDefaults.iterations) },
      ratio: { type: "string" },
      threads: { type: "string", default: "2" },
    },
  });
  const [cycles, rates] = [flags.cycles.split(",").map(Number), flags.rates.split(",").map(Number)];
  const [steps, threads] = [Number(flags.steps), Number(flags.threads)];
  const base = await openBase(flags.directory, 3500, threads, createProgress({ kind: "plain" }));
  const domain = base.domains.find(({ name }) => name === flags.domain) as Domain;
  const muon: OptimizerOptions = { ...inner, muon: { ...muonDefaults, iterations: Number(flags.iterations) } };
  const seconds = flags.ratio === undefined ? await secondsOfSteps(base, domain, [inner, muon], threads) : undefined;
  const ratio = seconds === undefined ? Number(flags.ratio) : (seconds[1] as number) / (seconds[0] as number);
  if (!flags.json)
    console.error(`a step of Muon takes ${ratio.toFixed(2)} of AdamW's: ${seconds?.map((one) => one.toFixed(3)).join(" and ")} s`);
  const ways: Readonly<Record<string, { readonly optimizer: OptimizerOptions; readonly steps: number }>> = {
    adamw: { optimizer: inner, steps },
    muon: { optimizer: muon, steps },
    "muon-in-time": { optimizer: muon, steps: Math.max(1, Math.round(steps / ratio)) },
  };
  const rows = [];
  for (const name of flags.codecs.split(",")) {
    const codec = codecs.find((one) => one.name === name);
    for (const [way, { optimizer, steps }] of Object.entries(ways).filter(([way]) => flags.ways.split(",").includes(way))) {
      for (const learningRate of rates) {
        const subnet = {
          base,
          domain,
          miners: 1,
          steps,
          places: placeUse,
          threads,
          optimizer: { ...optimizer, learningRate },
          alone: true,
        };
        const found: number[] = [];
        for await (const loss of losses(subnet, { name, ...(codec === undefined ? {} : { codec }) })) {
          found.push(loss);
          if (found.length > Math.max(...cycles)) break;
        }
        const gains = cycles.map((cycle) => (found[0] as number) - (found[cycle] as number));
        rows.push({ codec: name, way, steps, learningRate, loss: cycles.map((cycle) => found[cycle] as number), gains });
        if (!flags.json)
          console.error(`${name}, ${way}, ${steps} steps, ${learningRate}: ${found.map((value) => value.toFixed(4)).join(" ")}`);
      }
    }
  }
  if (flags.json) {
    console.log(JSON.stringify({ cycles, seconds, ratio, rows }));
    return;
  }
  console.log(
    table(
      ["codec", "optimizer", "steps a cycle", "learning rate", ...cycles.map((cycle) => `nats gained, ${cycle}`)],
      rows.map((row) => [row.codec, row.way, String(row.steps), String(row.learningRate), ...row.gains.map((gain) => gain.toFixed(4))]),
    ),
  );
}
