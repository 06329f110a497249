import * as v from "valibot";
import { BaseCommand, type Invocation } from "../cli/base-command.ts";
import { openParticipant, participantFlags } from "../cli/participant.ts";
import { participantsAt } from "../steps/chain-records.ts";
import { lookForTask } from "../steps/membership.ts";
import { cycleStatus } from "../steps/status.ts";
import { formatTao, shortAddress } from "../ui/format.ts";
import { fields, table } from "../ui/table.ts";

interface StatusResult {
  readonly hotkey: string;
  readonly uid?: number;
  readonly role: string;
  /** Absent while the owner has published none, or nobody delivers the document. */
  readonly task?: string;
  readonly taskHash?: string;
  readonly block: number;
  readonly cycle?: number;
  readonly phase?: string;
  readonly missing: readonly string[];
  readonly validators: readonly { readonly hotkey: string; readonly stake: bigint; readonly locator?: string; readonly cycle?: number }[];
  readonly miners: number;
}

export default class Status extends BaseCommand<typeof Status, StatusResult> {
  static override readonly summary = "Show the subnet's task, who takes part, and where this hotkey stands.";
  static override readonly examples = [
    "<%= config.bin %> <%= command.id %> --netuid 1",
    "<%= config.bin %> <%= command.id %> --netuid 1 --json",
  ];
  static override readonly flags = { ...participantFlags };

  static override resultSchema() {
    const validator = v.object({ hotkey: v.string(), stake: v.string(), locator: v.optional(v.string()), cycle: v.optional(v.number()) });
    return v.object({
      hotkey: v.string(),
      uid: v.optional(v.number()),
      role: v.string(),
      task: v.optional(v.string()),
      taskHash: v.optional(v.string()),
      block: v.number(),
      cycle: v.optional(v.number()),
      phase: v.optional(v.string()),
      missing: v.array(v.string()),
      validators: v.array(validator),
      miners: v.number(),
    });
  }

  protected async perform(invocation: Invocation<typeof Status>): Promise<StatusResult> {
    const context = await openParticipant(invocation, { lock: false });
    const found = await lookForTask(context);
    const task = found.membership?.task;
    const { finalized } = await context.clock.now();
    const participants = await participantsAt(context.chain, context.netuid, task, finalized.hash);
    const { taskHash, role, block, cycle, phase, missing } = await cycleStatus(context, found);
    const uid = participants.uids.get(context.signer.address);
    return {
      hotkey: context.signer.address,
      ...(uid === undefined ? {} : { uid }),
      role,
      ...(task && { task: task.name }),
      ...(taskHash === undefined ? {} : { taskHash }),
      block,
      ...(cycle === undefined ? {} : { cycle }),
      ...(phase === undefined ? {} : { phase }),
      missing,
      validators: participants.validators.map(({ hotkey, stake, record }) => ({
        hotkey,
        stake,
        ...(record && { locator: record.locator, cycle: record.cycle }),
      })),
      miners: participants.miners.length,
    };
  }

  protected render(result: StatusResult): string {
    const { hotkey, uid, role, task, taskHash, block, cycle, phase, missing, validators, miners } = result;
    const rows = validators.map((validator) => [
      shortAddress(validator.hotkey),
      formatTao(validator.stake),
      validator.locator,
      validator.cycle,
    ]);
    return [
      fields([
        ["hotkey", hotkey],
        ["uid", uid],
        ["role", role],
        ["task", taskHash === undefined ? "none published" : `${task ?? "nobody delivers it now"} (${taskHash})`],
        ["chain", `block ${block}${cycle === undefined ? "" : `, cycle ${cycle}, ${phase}`}`],
        ["to do", missing.join(", ") || "nothing now"],
        ["miners", miners],
      ]),
      "",
      table(["validator", { heading: "stake", align: "right" }, "serves at", { heading: "cycle", align: "right" }], rows),
    ].join("\n");
  }
}
