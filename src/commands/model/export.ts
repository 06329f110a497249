import { Flags } from "@oclif/core";
import * as v from "valibot";
import { BaseCommand, type Invocation } from "../../cli/base-command.ts";
import { openParticipant, participantFlags } from "../../cli/participant.ts";
import { parseBytes } from "../../cli/quantities.ts";
import { writtenFlags, writtenTensors } from "../../cli/written-checkpoint.ts";
import { ConnitoError } from "../../errors.ts";
import { type Hash, isHash } from "../../protocol/hash.ts";
import { viewCycle } from "../../steps/cycle-view.ts";
import { type ExportResult, exportStep } from "../../steps/export.ts";
import { lookForTask } from "../../steps/membership.ts";
import { currentCycle } from "../../steps/windows.ts";
import { fields } from "../../ui/table.ts";
import { openWorkspace } from "../../workspace/workspace.ts";

export default class ModelExport extends BaseCommand<typeof ModelExport, ExportResult> {
  static override readonly summary = "Write a version of the model as a checkpoint directory that transformers and others load.";
  static override readonly description =
    "The version must be in the state directory, as with a validator, an owner, or after `slice --whole`; config.json and tokenizer.json are the base's own. The directory appears when all of it is written; stopped half-way, the same command goes on with the file that it was at. A root needs neither chain nor wallet.";
  static override readonly examples = [
    "<%= config.bin %> model export --output ./model --netuid 1",
    "<%= config.bin %> model export --version base --output ./base --netuid 1 --max-shard-size 2GB",
    "<%= config.bin %> model export --version 3f0c... --output ./model --json",
  ];

  static override readonly flags = {
    ...participantFlags,
    version: Flags.string({
      helpValue: "ROOT|current|base",
      summary: "The version's root, the version that the current cycle trains, or the task's base.",
      default: "current",
    }),
    ...writtenFlags,
  };

  static override resultSchema() {
    return v.strictObject({ root: v.string(), directory: v.string(), files: v.number(), bytes: v.number() });
  }

  protected override async perform(invocation: Invocation<typeof ModelExport>): Promise<ExportResult> {
    const { flags, progress, signal, onFinish } = invocation;
    const { version, output: directory } = flags;
    const maximumShardBytes = parseBytes(flags["max-shard-size"]);
    if (isHash(version)) {
      const workspace = await openWorkspace(flags["state-dir"], { lock: false });
      onFinish(() => workspace.close());
      return exportStep({ workspace, progress, signal }, { root: version, directory, maximumShardBytes });
    }
    if (version !== "current" && version !== "base") throw unknownVersion(version);
    // Beside a running `cycle run`, which has the lock.
    const context = await openParticipant(invocation, { lock: false });
    const root = await rootOf(version, context);
    return exportStep(context, { root, directory, maximumShardBytes });
  }

  protected override render(result: ExportResult): string {
    return fields([["version", result.root], ["directory", result.directory], writtenTensors(result)]);
  }
}

async function rootOf(version: "current" | "base", context: Awaited<ReturnType<typeof openParticipant>>): Promise<Hash> {
  const { membership } = await lookForTask(context);
  if (membership === undefined) {
    throw new ConnitoError(`Subnet ${context.netuid} has no task, or nobody delivers its document.`, {
      code: "no-task",
      exit: "notInitialised",
      retryable: true,
      hint: "Check --netuid and --network, or give the version's root.",
    });
  }
  if (version === "base") return membership.task.model.root;
  return (await viewCycle(context, membership, currentCycle(membership.task, await context.clock.now()))).base;
}

function unknownVersion(version: string): ConnitoError {
  return new ConnitoError(`${JSON.stringify(version.slice(0, 80))} is no version.`, {
    code: "usage",
    exit: "usage",
    hint: "Give current, base, or a root of 64 hexadecimal digits.",
  });
}
