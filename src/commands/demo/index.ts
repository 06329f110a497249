import { Flags } from "@oclif/core";
import * as v from "valibot";
import { BaseCommand, type Invocation } from "../../cli/base-command.ts";
import { runDemo } from "../../demo/demo.ts";
import { drawReport } from "../../demo/draw.ts";
import { type DemoReport, shortfallOf } from "../../demo/report.ts";
import { cycleBlocks, defaultCycles, defaultFamily, pretrainSeconds } from "../../demo/settings.ts";
import { creatableFamilies } from "../../model/families/index.ts";

/** What came of the demo, and, where that is not what it is to show, why. */
type DemoResult = DemoReport & { readonly shortfall?: { readonly code: string; readonly message: string; readonly hint: string } };

export default class Demo extends BaseCommand<typeof Demo, DemoResult> {
  static override readonly summary = "Run the whole system on this machine, offline, and watch a model get better.";
  static override readonly description =
    "An embedded chain, an owner, two validators and five miners, each in its own process, train a small model on two real domains. Two of the miners cheat. Takes about five minutes on two cores. Where no version was adopted, or validators computed different ones, it ends with another exit code than 0.";
  static override readonly examples = [
    "<%= config.bin %> <%= command.id %>",
    "<%= config.bin %> <%= command.id %> --cycles 6 --directory ./demo --json",
    "<%= config.bin %> <%= command.id %> --family deepseek_v2",
  ];
  static override readonly flags = {
    cycles: Flags.integer({ helpValue: "NUMBER", summary: `Cycles of ${cycleBlocks} blocks.`, default: defaultCycles, min: 1 }),
    family: Flags.string({ summary: "Whose names and rules the model has.", options: [...creatableFamilies], default: defaultFamily }),
    directory: Flags.string({
      helpValue: "DIRECTORY",
      summary: "Keep states, logs and the model here; by default they are removed at the end.",
    }),
    "pretrain-seconds": Flags.integer({ helpValue: "NUMBER", summary: "Pre-training of the base.", default: pretrainSeconds, min: 1 }),
    chaos: Flags.integer({ helpValue: "SEED", summary: "Kill every role's process at random moments, and start it again.", min: 0 }),
  };

  static override resultSchema() {
    const losses = v.record(v.string(), v.number());
    const training = v.object({
      miner: v.string(),
      steps: v.number(),
      seconds: v.number(),
      windowSeconds: v.number(),
      utilisation: v.number(),
    });
    const verdict = v.object({ miner: v.string(), group: v.number(), status: v.string(), score: v.number() });
    return v.object({
      task: v.string(),
      slices: v.array(v.object({ backbone: v.number(), experts: v.number(), momentum: v.number(), standIns: v.number() })),
      baseRoot: v.string(),
      baseLoss: losses,
      cycles: v.array(
        v.object({
          cycle: v.number(),
          canonicalRoot: v.string(),
          validatorRoots: v.record(v.string(), v.string()),
          heldOutLoss: losses,
          verdicts: v.array(verdict),
          training: v.array(training),
          accepted: v.array(v.string()),
        }),
      ),
      weights: v.record(v.string(), v.number()),
      participants: v.array(v.object({ name: v.string(), hotkey: v.string(), uid: v.number() })),
      seconds: v.number(),
      shortfall: v.optional(v.object({ code: v.string(), message: v.string(), hint: v.string() })),
    });
  }

  protected async perform({ flags, progress, signal }: Invocation<typeof Demo>): Promise<DemoResult> {
    const report = await runDemo({
      cycles: flags.cycles,
      family: flags.family,
      ...(flags.directory === undefined ? {} : { directory: flags.directory }),
      pretrainSeconds: flags["pretrain-seconds"],
      ...(flags.chaos === undefined ? {} : { chaosSeed: flags.chaos }),
      progress,
      signal,
    });
    const shortfall = shortfallOf(report);
    if (shortfall === undefined) return report;
    const { code, message, hint, exit } = shortfall;
    process.exitCode = exit;
    return { ...report, shortfall: { code, message, hint } };
  }

  protected render(report: DemoResult, { warn }: Invocation<typeof Demo>): string {
    if (report.shortfall !== undefined) warn(`${report.shortfall.message} ${report.shortfall.hint}`);
    return drawReport(report);
  }
}
