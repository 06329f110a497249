import * as v from "valibot";
import { BaseCommand, type Invocation } from "../../cli/base-command.ts";
import { openParticipant, participantFlags } from "../../cli/participant.ts";
import { lookForTask } from "../../steps/membership.ts";
import { type CycleStatus, cycleStatus } from "../../steps/status.ts";
import { formatTao, shortAddress, shortHash } from "../../ui/format.ts";
import { table } from "../../ui/table.ts";

export default class CycleStatusCommand extends BaseCommand<typeof CycleStatusCommand, CycleStatus> {
  static override readonly summary = "Show the cycle, its phase, how many blocks are left, and which of this hotkey's steps are done.";
  static override readonly description = "Works beside a running `cycle run`: it only reads the state directory.";
  static override readonly examples = [
    "<%= config.bin %> <%= command.id %> --netuid 1",
    "<%= config.bin %> <%= command.id %> --netuid 1 --json",
  ];
  static override readonly flags = { ...participantFlags };

  static override resultSchema() {
    const step = v.object({ step: v.string(), done: v.boolean(), first: v.number(), last: v.number(), missed: v.boolean() });
    return v.object({
      block: v.number(),
      finalized: v.number(),
      taskHash: v.optional(v.string()),
      task: v.optional(v.string()),
      cycle: v.optional(v.number()),
      phase: v.optional(v.string()),
      blocksLeft: v.optional(v.number()),
      role: v.picklist(["owner", "validator", "miner", "unregistered"]),
      group: v.optional(v.number()),
      base: v.optional(v.string()),
      vote: v.optional(
        v.object({
          decided: v.picklist(["root", "previous", "none"]),
          activeStake: v.string(),
          reportingStake: v.string(),
          differing: v.array(v.string()),
        }),
      ),
      steps: v.array(step),
      missing: v.array(v.string()),
    });
  }

  protected async perform(invocation: Invocation<typeof CycleStatusCommand>): Promise<CycleStatus> {
    const context = await openParticipant(invocation, { lock: false });
    return cycleStatus(context, await lookForTask(context));
  }

  protected render(status: CycleStatus): string {
    const { block, finalized, taskHash, task, cycle, phase, blocksLeft, role, group, base, vote, steps, missing } = status;
    if (cycle === undefined) {
      const why =
        taskHash === undefined
          ? "no task is published"
          : task === undefined
            ? "nobody delivers the task now"
            : "the task has not started yet";
      return `Block ${block} (final ${finalized}): ${why}. You are ${role}.`;
    }
    const rows = steps.map(({ step, done, first, last, missed }) => [
      step,
      done ? "done" : missed ? "missed" : "to do",
      `${first} to ${last}`,
    ]);
    return [
      `Block ${block} (final ${finalized}): cycle ${cycle}, ${phase}, ${blocksLeft} blocks left.`,
      `You are ${role}${group === undefined ? "" : ` of group ${group}`}${base === undefined ? "" : `; the cycle trains version ${shortHash(base)}`}.`,
      ...(vote === undefined ? [] : [describeVote(vote)]),
      ...(rows.length > 0 ? [table(["step", "state", "blocks"], rows)] : []),
      ...(missing.length > 0 ? [`Next: ${missing[0]}.`] : []),
    ].join("\n");
  }
}

function describeVote({ decided, activeStake, reportingStake, differing }: NonNullable<CycleStatus["vote"]>): string {
  if (decided === "none") return "No version has a majority of the validators' stake: nothing can be trained until they agree again.";
  const stake = `${formatTao(reportingStake)} of ${formatTao(activeStake)} stake proved a version for this cycle`;
  const others = differing.length > 0 ? `; another root was named by ${differing.map(shortAddress).join(", ")}` : "";
  return decided === "root"
    ? `More than half of it agrees on the version: ${stake}${others}.`
    : `The old version stands, for want of a majority or of enough reports: ${stake}${others}.`;
}
