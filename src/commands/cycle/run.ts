import { Flags } from "@oclif/core";
import * as v from "valibot";
import { BaseCommand, type Invocation } from "../../cli/base-command.ts";
import { lockHotkey } from "../../cli/hotkey-lock.ts";
import { openParticipant, participantFlags, trainerArgs, trainerFlags, trainerOf } from "../../cli/participant.ts";
import { preparations, type Role, roleNames, roles } from "../../cycle/roles.ts";
import { type RunResult, runCycles, type StepEvent } from "../../cycle/runner.ts";
import { defaultListen, servePublication } from "../../cycle/serve.ts";
import { joinTask } from "../../steps/membership.ts";
import { requireLocator } from "../../steps/publish.ts";
import { retry } from "../../steps/retry.ts";

interface CycleRunResult extends RunResult {
  readonly role: Role;
  readonly hotkey: string;
}

/** The record in which a role's locator has the least room. */
const carriedBy = { miner: "reveal", validator: "version" } as const;

export default class CycleRun extends BaseCommand<typeof CycleRun, CycleRunResult> {
  static override readonly summary = "Follow the chain and do a role's steps in their phases, cycle after cycle.";
  static override readonly description =
    "The daemon of owners, validators and miners: the same steps as the single commands, each once, in its window. Killed at any moment, it goes on where it stopped when it is started again. With an http:// address in --publish it also serves what others fetch. Progress is JSON lines on stderr where stderr is no terminal.";
  static override readonly examples = [
    "<%= config.bin %> <%= command.id %> --role miner --netuid 1 --publish http://198.51.100.7:8101",
    "<%= config.bin %> <%= command.id %> --role validator --netuid 1 --publish http://198.51.100.7:8100 --listen 0.0.0.0:8100",
    "<%= config.bin %> <%= command.id %> --role owner --netuid 1 --cycles 3 --json",
  ];
  static override readonly progressElsewhere = "json";
  static override readonly args = trainerArgs;
  static override readonly flags = {
    ...participantFlags,
    ...trainerFlags,
    role: Flags.option({ options: roleNames })({ summary: "Which role's steps to do.", required: true }),
    cycles: Flags.integer({ helpValue: "NUMBER", summary: "End after so many cycles; by default it runs until it is stopped.", min: 1 }),
    listen: Flags.string({ helpValue: "HOST:PORT", summary: "Where to serve; by default the port of --publish." }),
  };

  static override resultSchema() {
    const outcome = v.object({ cycle: v.number(), step: v.string(), outcome: v.picklist(["done", "skipped", "failed"]) });
    return v.object({
      role: v.picklist(roleNames),
      hotkey: v.string(),
      firstCycle: v.number(),
      cycles: v.number(),
      outcomes: v.array(outcome),
    });
  }

  protected async perform(invocation: Invocation<typeof CycleRun>): Promise<CycleRunResult> {
    const { flags, args, progress, onFinish, signal } = invocation;
    const { trainer: program, memory } = await trainerOf(flags, args.program);
    const limit = memory === undefined ? {} : { memory };
    const work = program === undefined ? limit : flags.role === "miner" ? { ...limit, trainer: program } : { ...limit, scorer: program };
    // Known to be wrong now rather than when the record is due, after hours of work.
    if (flags.role !== "owner") requireLocator({ ...(flags.publish !== undefined && { locator: flags.publish }) }, carriedBy[flags.role]);
    const context = { ...(await openParticipant(invocation)), ...work };
    const lock = await lockHotkey(context.signer.address, context.chain);
    onFinish(() => lock.release());
    const membership = await retry(() => joinTask(context), {
      signal,
      onRetry: (error) => progress.note(`Waiting: ${error.message}`, { code: error.code }),
    });
    if (flags.publish?.startsWith("http")) {
      const server = await servePublication(context, membership, flags.listen ?? defaultListen(flags.publish));
      onFinish(() => server.close());
      progress.note(`Serving at ${server.url}`, { event: "serving", url: server.url });
    }
    const onEvent = ({ event, ...step }: StepEvent) => progress.note(describe(step), { event, ...step });
    const result = await runCycles(context, membership, {
      steps: roles[flags.role],
      prepare: preparations[flags.role],
      ...(flags.cycles === undefined ? {} : { cycles: flags.cycles }),
      onEvent,
    });
    return { role: flags.role, hotkey: context.signer.address, ...result };
  }

  protected render({ role, firstCycle, cycles, outcomes }: CycleRunResult): string {
    const count = (wanted: string) => outcomes.filter(({ outcome }) => outcome === wanted).length;
    return `${role}: cycles ${firstCycle} to ${firstCycle + cycles - 1}; ${count("done")} steps done, ${count("skipped")} skipped, ${count("failed")} failed.`;
  }
}

function describe({ cycle, step, outcome, error }: Omit<StepEvent, "event">): string {
  return `Cycle ${cycle}, ${step}: ${outcome}${error === undefined ? "" : ` (${error.code}: ${error.message})`}`;
}
