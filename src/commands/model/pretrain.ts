import { availableParallelism } from "node:os";
import { Args, Flags } from "@oclif/core";
import * as v from "valibot";
import { BaseCommand, type Invocation } from "../../cli/base-command.ts";
import { ConnitoError } from "../../errors.ts";
import { openCheckpoint } from "../../model/checkpoint.ts";
import { type PretrainResult, pretrain } from "../../steps/train/pretrain.ts";
import { formatCount, formatDuration, formatNats } from "../../ui/format.ts";

export default class ModelPretrain extends BaseCommand<typeof ModelPretrain, PretrainResult> {
  static override readonly summary = "Train all weights of a small checkpoint on texts for a while.";
  static override readonly description =
    "For demos and experiments: real bases come from elsewhere. Interrupted, it leaves the checkpoint as it was.";
  static override readonly examples = [
    "<%= config.bin %> <%= command.id %> ./base --text speeches.txt --text novel.txt --seconds 60",
    "<%= config.bin %> <%= command.id %> ./base --text novel.txt --steps 500 --out ./trained --json",
  ];
  static override readonly args = {
    directory: Args.directory({ required: true, description: "The checkpoint, as `model init` makes one." }),
  };
  static override readonly flags = {
    text: Flags.string({
      helpValue: "FILE",
      summary: "A UTF-8 text to train on. May be given several times.",
      required: true,
      multiple: true,
    }),
    seconds: Flags.integer({ helpValue: "NUMBER", summary: "End after so many seconds.", min: 1 }),
    steps: Flags.integer({ helpValue: "NUMBER", summary: "End after so many steps.", min: 1 }),
    "sequence-length": Flags.integer({ helpValue: "NUMBER", summary: "Tokens in a sequence.", default: 128, min: 2 }),
    batch: Flags.integer({ helpValue: "NUMBER", summary: "Sequences in a step.", default: 8, min: 1 }),
    "learning-rate": Flags.string({ helpValue: "NUMBER", summary: "Peak learning rate of AdamW.", default: "0.003" }),
    seed: Flags.integer({ helpValue: "NUMBER", summary: "Decides the order of the sequences.", default: 0, min: 0 }),
    threads: Flags.integer({ helpValue: "NUMBER", summary: "Threads; by default one for each core.", min: 1 }),
    out: Flags.string({ helpValue: "DIRECTORY", summary: "Write the trained checkpoint here instead of in place." }),
  };

  static override resultSchema() {
    return v.object({
      directory: v.string(),
      steps: v.number(),
      tokens: v.number(),
      seconds: v.number(),
      firstLoss: v.number(),
      lastLoss: v.number(),
    });
  }

  protected async perform({ args, flags, progress, signal }: Invocation<typeof ModelPretrain>): Promise<PretrainResult> {
    const learningRate = Number(flags["learning-rate"]);
    if (!(learningRate > 0 && learningRate < 1)) throw usage("--learning-rate is a number between 0 and 1.");
    if (flags.seconds === undefined && flags.steps === undefined) throw usage("Give --seconds, --steps, or both.");
    const checkpoint = await openCheckpoint(args.directory);
    return pretrain(
      { threads: flags.threads ?? availableParallelism(), progress, signal },
      {
        checkpoint,
        files: flags.text,
        directory: flags.out ?? args.directory,
        ...(flags.seconds === undefined ? {} : { seconds: flags.seconds }),
        ...(flags.steps === undefined ? {} : { steps: flags.steps }),
        sequenceLength: flags["sequence-length"],
        batchSequences: flags.batch,
        learningRate,
        seed: flags.seed,
      },
    );
  }

  protected render({ directory, steps, tokens, seconds, firstLoss, lastLoss }: PretrainResult): string {
    return `${directory}: ${formatCount(steps)} steps, ${formatCount(tokens)} tokens in ${formatDuration(1000 * seconds)}; loss ${formatNats(firstLoss)} -> ${formatNats(lastLoss)}.`;
  }
}

function usage(message: string): ConnitoError {
  return new ConnitoError(message, { code: "usage", exit: "usage", hint: "`connito model pretrain --help` shows the flags." });
}
