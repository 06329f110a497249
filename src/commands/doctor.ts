import { Flags } from "@oclif/core";
import * as v from "valibot";
import { openHotkey } from "../chain/wallet.ts";
import { BaseCommand, type Invocation } from "../cli/base-command.ts";
import { contextOver, lookInto, participantFlags } from "../cli/participant.ts";
import { type DoctorResult, diagnose } from "../steps/doctor/doctor.ts";
import { download, lookForTask } from "../steps/membership.ts";
import { table } from "../ui/table.ts";

export default class Doctor extends BaseCommand<typeof Doctor, DoctorResult> {
  static override readonly summary = "Look at everything that a night of work needs, and say what to do about what is missing.";
  static override readonly description =
    "Node, memory, disk, compute engine, GPU, hotkey, every endpoint of --network, clock, registration, permit, balance, space for commitments, task, data. Changes nothing. Ends with the exit code of the first failure, 0 where there is none.";
  static override readonly examples = [
    "<%= config.bin %> <%= command.id %> --netuid 1 --role miner",
    "<%= config.bin %> <%= command.id %> --netuid 1 --network wss://one.example:443,wss://two.example:443",
    "<%= config.bin %> <%= command.id %> --netuid 1 --json | jq '.findings[] | select(.state == \"failed\")'",
  ];
  static override readonly flags = {
    ...participantFlags,
    role: Flags.option({ options: ["miner", "validator", "owner"] as const })({ summary: "What this hotkey is meant to be." }),
  };

  static override resultSchema() {
    const finding = v.strictObject({
      check: v.string(),
      state: v.picklist(["ok", "warning", "failed", "unknown"]),
      found: v.string(),
      advice: v.optional(v.string()),
      exit: v.optional(v.string()),
    });
    return v.strictObject({ findings: v.array(finding), exit: v.number() });
  }

  protected async perform(invocation: Invocation<typeof Doctor>): Promise<DoctorResult> {
    const { flags, password, progress, signal, onFinish } = invocation;
    const location = { path: flags["wallet-path"], wallet: flags["wallet-name"], hotkey: flags.hotkey };
    progress.start("Looking");
    const result = await diagnose({
      stateDirectory: flags["state-dir"],
      network: flags.network,
      netuid: flags.netuid,
      role: flags.role,
      signal,
      openHotkey: () => openHotkey({ ...location, password }),
      findTask: async (chain, signer) => {
        const workspace = await lookInto(flags["state-dir"], onFinish);
        onFinish(() => workspace.close());
        const context = contextOver(invocation, { chain, signer, workspace });
        const { taskHash, membership } = await lookForTask(context);
        if (membership === undefined) return { ...(taskHash && { taskHash }) };
        const data = { objects: workspace.objects, fetch: (hash: string) => download(context, hash), signal };
        return { taskHash: membership.taskHash, task: membership.task, data };
      },
      publish: flags.publish,
      onFinding: ({ check }, count) => progress.update(count, check),
    });
    progress.succeed("Looked at everything");
    process.exitCode = result.exit;
    return result;
  }

  protected render({ findings }: DoctorResult): string {
    const marks = { ok: "ok", warning: "warning", failed: "FAILED", unknown: "-" } as const;
    const rows = findings.map(({ check, state, found }) => [marks[state], check, found]);
    const advice = findings.flatMap(({ check, advice: text }) => (text === undefined ? [] : [`${check}: ${text}`]));
    return [table(["", "check", "found"], rows), ...(advice.length === 0 ? [] : ["", ...advice])].join("\n");
  }
}
