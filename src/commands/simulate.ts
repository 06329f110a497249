import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Flags } from "@oclif/core";
import * as v from "valibot";
import { BaseCommand, type Invocation } from "../cli/base-command.ts";
import { parseShare } from "../cli/quantities.ts";
import { type BaseKind, pretrainSteps } from "../simulate/base.ts";
import { castOf, minerStrategies, validatorStrategies } from "../simulate/cast.ts";
import { type SimulationOutcome, type ValidatorFault, validatorFaults } from "../simulate/outcome.ts";
import { askingOwnTraining, batchSequences, simulate } from "../simulate/simulate.ts";
import { plot } from "../ui/plot.ts";
import { table } from "../ui/table.ts";

const bases = Object.keys(pretrainSteps) as BaseKind[];

/** Columns of the bar of who earns everything. */
const barWidth = 20;

/** What happened cycle by cycle, with what happened again and again said once. */
function inRuns(words: readonly string[]): string {
  const runs: { word: string; count: number }[] = [];
  for (const word of words) {
    const last = runs.at(-1);
    if (last?.word === word) last.count++;
    else runs.push({ word, count: 1 });
  }
  return runs.map(({ word, count }) => (count === 1 ? word : `${count} × ${word}`)).join(", ");
}

function inWords(faults: readonly ValidatorFault[] | undefined): string {
  if (faults === undefined) return "absent";
  return faults.length === 0 ? "in order" : faults.join(" and ");
}

export default class Simulate extends BaseCommand<typeof Simulate, SimulationOutcome> {
  static override readonly summary = "Run a whole subnet in this process, honest and otherwise, and see who earns what.";
  static override readonly description = [
    "Owner, validators and miners play on the steps and rules that are shipped, with a small model and a chain that takes no time. The same cast and seed give the same run.",
    "A participant is STRATEGY[:COUNT][@NUMBER][/FIRST[-LAST]]: the number is training steps a cycle for miners and TAO for validators, FIRST and LAST the cycles that it takes part in.",
    `Miners: ${minerStrategies.map(({ name, summary }) => `${name} (${summary})`).join("; ")}.`,
    `Validators: ${validatorStrategies.map(({ name, summary }) => `${name} (${summary})`).join("; ")}.`,
  ].join("\n\n");
  static override readonly examples = [
    "<%= config.bin %> <%= command.id %>",
    "<%= config.bin %> <%= command.id %> --miner honest:3 --miner noisy-copy --validator honest:2 --validator lazy@400 --cycles 4",
    "<%= config.bin %> <%= command.id %> --miner honest:8 --miner ring:8 --base grown --least-training 1280",
    "<%= config.bin %> <%= command.id %> --miner honest:4 --miner honest/2-3 --late 0.2 --lost 0.05 --seed rainy --json",
  ];
  static override readonly flags = {
    miner: Flags.string({
      helpValue: "PARTICIPANT",
      summary: "Miners; may be given several times.",
      multiple: true,
      default: ["honest:4"],
    }),
    validator: Flags.string({
      helpValue: "PARTICIPANT",
      summary: "Validators; may be given several times.",
      multiple: true,
      default: ["honest:3"],
    }),
    cycles: Flags.integer({ helpValue: "NUMBER", summary: "Cycles to play.", default: 3, min: 1, max: 1000 }),
    seed: Flags.string({ helpValue: "TEXT", summary: "Decides every draw.", default: "1" }),
    base: Flags.option({ options: bases })({
      summary: "How long the base was trained: on a grown one each miner learns more that is its own.",
      default: "young",
    }),
    "least-training": Flags.integer({
      helpValue: "SEQUENCES",
      summary: `Ask submissions for training of their own on so many sequences (evaluation.leastTraining); a miner sees ${batchSequences} a step.`,
      min: 16,
      max: 1_000_000,
    }),
    late: Flags.string({ helpValue: "SHARE", summary: "Share of transactions that wait one to three blocks longer.", default: "0" }),
    lost: Flags.string({ helpValue: "SHARE", summary: "Share of transactions that never come into a block.", default: "0" }),
    threads: Flags.integer({ helpValue: "NUMBER", summary: "Threads of the compute engine.", default: 1, min: 1, max: 1024 }),
    directory: Flags.string({
      helpValue: "DIRECTORY",
      summary: "Keep every participant's state here; by default it is removed at the end.",
    }),
  };

  static override resultSchema() {
    return v.object({
      players: v.array(
        v.object({
          name: v.string(),
          strategy: v.string(),
          role: v.picklist(["miner", "validator"]),
          honest: v.boolean(),
          share: v.number(),
          stake: v.number(),
          statuses: v.array(v.nullable(v.string())),
          scores: v.array(v.number()),
          faults: v.array(v.nullable(v.array(v.picklist(validatorFaults)))),
          troubles: v.array(v.object({ cycle: v.number(), step: v.string(), code: v.string(), message: v.string() })),
        }),
      ),
      losses: v.array(v.number()),
      agreed: v.array(v.boolean()),
      moved: v.array(v.boolean()),
    });
  }

  protected async perform({ flags, progress, signal }: Invocation<typeof Simulate>): Promise<SimulationOutcome> {
    const cast = castOf(flags.miner, flags.validator);
    const [late, lost] = [parseShare(flags.late, "--late"), parseShare(flags.lost, "--lost")];
    const directory = flags.directory ?? (await mkdtemp(join(tmpdir(), "connito-simulation-")));
    try {
      const { cycles, seed, threads, base } = flags;
      const sequences = flags["least-training"];
      return await simulate({
        cast,
        base,
        ...(sequences && { overrides: askingOwnTraining(sequences) }),
        cycles,
        seed,
        threads,
        late,
        lost,
        directory,
        progress,
        signal,
      });
    } finally {
      if (flags.directory === undefined) await rm(directory, { recursive: true, force: true });
    }
  }

  protected render({ players, losses, agreed, moved }: SimulationOutcome): string {
    const miners = players.filter(({ role }) => role === "miner").sort((a, b) => b.share - a.share);
    const validators = players.filter(({ role }) => role === "validator").sort((a, b) => b.stake - a.stake);
    const stake = validators.reduce((sum, one) => sum + one.stake, 0);
    const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
    const right = (heading: string) => ({ heading, align: "right" as const });
    const called = (one: { readonly honest: boolean; readonly strategy: string }) => (one.honest ? "honest" : one.strategy);
    const honest = miners.reduce((sum, one) => sum + (one.honest ? one.share : 0), 0);
    const [before, after] = [losses[0] as number, losses.at(-1) as number];
    const cycles = agreed.map((same, cycle) => `${same ? "one root" : "ROOTS DIFFER"} and ${moved[cycle] ? "a merge" : "nothing merged"}`);
    const disagreed = agreed.filter((same) => !same).length;
    const troubles = players.filter((one) => one.honest).flatMap((one) => one.troubles.map((trouble) => ({ name: one.name, ...trouble })));
    return [
      table(
        ["miner", "strategy", right("earns"), "", "verdicts, cycle by cycle"],
        miners.map((one) => [
          one.name,
          called(one),
          percent(one.share),
          "█".repeat(Math.round(barWidth * one.share)).padEnd(barWidth, "░"),
          inRuns(one.statuses.map((status) => status ?? "not assigned")),
        ]),
      ),
      table(
        ["validator", "strategy", right("stake"), "reports and votes, cycle by cycle"],
        validators.map((one) => [one.name, called(one), percent(one.stake / stake), inRuns(one.faults.map(inWords))]),
      ),
      plot([{ name: "held-out loss of the canonical model, nats per token", values: losses }]),
      [
        `Honest miners earned ${percent(honest)} of the emission.`,
        `The model's loss went from ${before.toFixed(4)} to ${after.toFixed(4)} nats per token.`,
        `Honest validators ${disagreed === 0 ? "agreed in every cycle" : `DISAGREED in ${disagreed} of ${agreed.length} cycles`}: ${inRuns(cycles)}.`,
      ].join("\n"),
      ...(troubles.length > 0
        ? [troubles.map(({ name, cycle, step, message }) => `${name} could not ${step} in cycle ${cycle}: ${message}`).join("\n")]
        : []),
    ].join("\n\n");
  }
}
