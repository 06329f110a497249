import { Args, Flags } from "@oclif/core";
import * as v from "valibot";
import { BaseCommand, type Invocation } from "../../cli/base-command.ts";
import { openParticipant, participantFlags } from "../../cli/participant.ts";
import { type RunResult, runCycles } from "../../cycle/runner.ts";
import { defaultListen, servePublication } from "../../cycle/serve.ts";
import { attackerSteps, attacks } from "../../demo/attackers.ts";
import { joinTask } from "../../steps/membership.ts";
import { retry } from "../../steps/retry.ts";

export default class DemoAttack extends BaseCommand<typeof DemoAttack, RunResult> {
  static override readonly summary = "One of the demo's attackers: a miner that copies, or submits noise.";
  static override readonly hidden = true;
  static override readonly progressElsewhere = "json";
  static override readonly examples = ["<%= config.bin %> <%= command.id %> noise --netuid 1 --publish http://127.0.0.1:8109"];
  static override readonly args = {
    attack: Args.string({ options: [...attacks], required: true, description: "What it does instead of training." }),
  };
  static override readonly flags = {
    ...participantFlags,
    victim: Flags.string({ helpValue: "DIRECTORY", summary: "A victim's state directory, which the copier reads.", multiple: true }),
  };

  static override resultSchema() {
    return v.looseObject({ firstCycle: v.number(), cycles: v.number() });
  }

  protected async perform(invocation: Invocation<typeof DemoAttack>): Promise<RunResult> {
    const { args, flags, progress, onFinish, signal } = invocation;
    const context = await openParticipant(invocation);
    const membership = await retry(() => joinTask(context), { signal });
    if (flags.publish !== undefined) {
      const server = await servePublication(context, membership, defaultListen(flags.publish));
      onFinish(() => server.close());
    }
    const steps = attackerSteps(args.attack as (typeof attacks)[number], flags.victim ?? []);
    return runCycles(context, membership, {
      steps,
      onEvent: ({ event, ...step }) => progress.note(`${step.step}: ${step.outcome}`, { event, ...step }),
    });
  }

  protected render(): undefined {}
}
