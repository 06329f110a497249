import { Flags } from "@oclif/core";
import * as v from "valibot";
import { BaseCommand, type Invocation } from "../cli/base-command.ts";
import { cycleFlags, openCycle, participantFlags, trainerArgs, trainerFlags, trainerOf } from "../cli/participant.ts";
import { type TrainResult, train } from "../steps/train/train.ts";
import { formatBytes, formatNats, shortHash } from "../ui/format.ts";

export default class Train extends BaseCommand<typeof Train, TrainResult> {
  static override readonly summary = "Train the selected experts of this hotkey's slice until the train window ends.";
  static override readonly description =
    "Leaves a submission in the state directory for `commit`. Interrupted or killed, it goes on from its last checkpoint when it is run again in the same window.";
  static override readonly examples = [
    "<%= config.bin %> <%= command.id %> --netuid 1 --wait",
    "<%= config.bin %> <%= command.id %> --netuid 1 --max-steps 50 --progress json",
    "<%= config.bin %> <%= command.id %> --netuid 1 --wait --backend command -- torchrun --nproc-per-node 8 trainers/torch/train.py",
  ];
  static override readonly progressElsewhere = "json";
  static override readonly args = trainerArgs;
  static override readonly flags = {
    ...participantFlags,
    ...cycleFlags,
    ...trainerFlags,
    "max-steps": Flags.integer({ helpValue: "NUMBER", summary: "Stop after so many steps, even if the window is longer.", min: 1 }),
  };

  static override resultSchema() {
    return v.object({
      cycle: v.number(),
      group: v.number(),
      root: v.string(),
      base: v.string(),
      bytes: v.number(),
      steps: v.number(),
      tokens: v.number(),
      loss: v.optional(v.number()),
      alreadyDone: v.boolean(),
      trainingSeconds: v.number(),
      windowSeconds: v.number(),
    });
  }

  protected async perform(invocation: Invocation<typeof Train>): Promise<TrainResult> {
    const { flags, args } = invocation;
    const trainer = trainerOf(flags.backend, args.program);
    const { context, membership, input } = await openCycle(invocation);
    const maximumSteps = flags["max-steps"];
    return train({ ...context, ...trainer }, membership, { ...input, ...(maximumSteps === undefined ? {} : { maximumSteps }) });
  }

  protected render({ cycle, group, steps, loss, root, bytes, alreadyDone }: TrainResult): string {
    const trained = `${steps} steps on group ${group}${loss === undefined ? "" : `, loss ${formatNats(loss)}`}`;
    return `Cycle ${cycle}: ${trained}. Submission ${shortHash(root)}, ${formatBytes(bytes)}${alreadyDone ? " (made before)" : ""}.`;
  }
}
