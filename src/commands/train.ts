import { Flags } from "@oclif/core";
import * as v from "valibot";
import { BaseCommand, type Invocation } from "../cli/base-command.ts";
import { cycleFlags, openCycle, participantFlags, trainerArgs, trainerFlags, trainerOf } from "../cli/participant.ts";
import { drawPlan } from "../cli/training-plan.ts";
import { ConnitoError } from "../errors.ts";
import { findLossCurve, type LossCurve } from "../steps/train/loss-curve.ts";
import { planCycle, type TrainingPlan } from "../steps/train/plan.ts";
import { type TrainResult, train } from "../steps/train/train.ts";
import { formatBytes, formatNats, shortHash } from "../ui/format.ts";
import { plot } from "../ui/plot.ts";
import { openWorkspace } from "../workspace/workspace.ts";

export default class Train extends BaseCommand<typeof Train, TrainResult | LossCurve | TrainingPlan> {
  static override readonly summary = "Train the selected experts of this hotkey's slice until the train window ends.";
  static override readonly description =
    "Leaves a submission in the state directory for `commit`. Interrupted or killed, it goes on from its last checkpoint when it is run again in the same window.";
  static override readonly examples = [
    "<%= config.bin %> <%= command.id %> --netuid 1 --wait",
    "<%= config.bin %> <%= command.id %> --netuid 1 --plan --memory 12GiB",
    "<%= config.bin %> <%= command.id %> --plot",
    "<%= config.bin %> <%= command.id %> --netuid 1 --max-steps 50 --progress json",
    "<%= config.bin %> <%= command.id %> --netuid 1 --wait --backend command -- torchrun --nproc-per-node 8 trainers/torch/train.py",
  ];
  static override readonly progressElsewhere = "json";
  static override readonly args = trainerArgs;
  static override readonly flags = {
    ...participantFlags,
    ...cycleFlags,
    ...trainerFlags,
    plan: Flags.boolean({
      summary:
        "Only say what training in --cycle will need of this machine, and how it would be done; nothing but what describes the slice is fetched.",
      exclusive: ["plot"],
    }),
    plot: Flags.boolean({
      summary: "Only draw the loss curve of --cycle, or of the newest one trained here; also beside a run that is under way.",
    }),
    "max-steps": Flags.integer({ helpValue: "NUMBER", summary: "Stop after so many steps, even if the window is longer.", min: 1 }),
  };

  static override resultSchema() {
    const curve = v.strictObject({ cycle: v.number(), losses: v.array(v.number()) });
    const trained = v.object({
      cycle: v.number(),
      group: v.number(),
      root: v.string(),
      base: v.string(),
      bytes: v.number(),
      steps: v.number(),
      tokens: v.number(),
      loss: v.optional(v.number()),
      alreadyDone: v.boolean(),
      timing: v.optional(v.object({ training: v.number(), window: v.number(), finishing: v.number(), submitting: v.number() })),
    });
    const need = v.object({
      weights: v.number(),
      gradients: v.number(),
      optimizer: v.number(),
      activations: v.number(),
      checkpoint: v.number(),
      total: v.number(),
    });
    const plan = v.strictObject({
      cycle: v.number(),
      group: v.number(),
      trained: v.strictObject({ tensors: v.number(), parameters: v.number() }),
      disk: v.object({ backbone: v.number(), experts: v.number(), momentum: v.number(), standIns: v.number() }),
      memory: v.strictObject({
        available: v.number(),
        runtime: v.number(),
        whole: need,
        layers: v.object({ ...need.entries, scratch: v.number(), room: v.number() }),
      }),
      way: v.picklist(["whole", "layers"]),
      packed: v.boolean(),
      fits: v.boolean(),
    });
    return v.union([trained, curve, plan]);
  }

  protected async perform(invocation: Invocation<typeof Train>): Promise<TrainResult | LossCurve | TrainingPlan> {
    const { flags, args } = invocation;
    if (flags.plot) return lossCurve(flags["state-dir"], flags.cycle);
    const trainer = await trainerOf(flags, args.program);
    const { context, membership, input } = await openCycle(invocation);
    if (flags.plan) return planCycle({ ...context, ...trainer }, membership, input);
    const maximumSteps = flags["max-steps"];
    return train({ ...context, ...trainer }, membership, { ...input, ...(maximumSteps === undefined ? {} : { maximumSteps }) });
  }

  protected render(result: TrainResult | LossCurve | TrainingPlan): string {
    if ("way" in result) return drawPlan(result);
    if ("losses" in result) return plot([{ name: `Cycle ${result.cycle}, ${result.losses.length} steps`, values: thinned(result.losses) }]);
    const { cycle, group, steps, loss, root, bytes, alreadyDone } = result;
    const trained = `${steps} steps on group ${group}${loss === undefined ? "" : `, loss ${formatNats(loss)}`}`;
    return `Cycle ${cycle}: ${trained}. Submission ${shortHash(root)}, ${formatBytes(bytes)}${alreadyDone ? " (made before)" : ""}.`;
  }
}

/** @throws nothing-trained */
async function lossCurve(directory: string, cycle: number | undefined): Promise<LossCurve> {
  const workspace = await openWorkspace(directory, { lock: false });
  try {
    const curve = await findLossCurve(workspace, cycle);
    if (curve !== undefined && curve.losses.length > 0) return curve;
  } finally {
    await workspace.close();
  }
  throw new ConnitoError(`${directory} has no loss curve${cycle === undefined ? "" : ` of cycle ${cycle}`}.`, {
    code: "nothing-trained",
    exit: "notInitialised",
    hint: "Run `connito train` first; a curve begins with the first checkpoint, some seconds into the run.",
  });
}

const plotColumns = 72;

/** As many means of neighbouring steps as the plot has columns. */
function thinned(losses: readonly number[]): number[] {
  if (losses.length <= plotColumns) return [...losses];
  return Array.from({ length: plotColumns }, (_, column) => {
    const part = losses.slice(Math.floor((column * losses.length) / plotColumns), Math.floor(((column + 1) * losses.length) / plotColumns));
    return part.reduce((sum, loss) => sum + loss, 0) / part.length;
  });
}
