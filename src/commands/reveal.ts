import * as v from "valibot";
import { BaseCommand, type Invocation } from "../cli/base-command.ts";
import { cycleFlags, openCycle, participantFlags } from "../cli/participant.ts";
import type { CommitResult } from "../steps/commit/commit.ts";
import { reveal } from "../steps/commit/reveal.ts";
import { shortHash } from "../ui/format.ts";

export default class Reveal extends BaseCommand<typeof Reveal, CommitResult> {
  static override readonly summary = "Open the cycle's commitment: say what was committed to and where it can be fetched.";
  static override readonly description =
    "Sent only once the commit window is final. Validators fetch the submission from --publish: a directory, or the server of `cycle run`.";
  static override readonly examples = [
    "<%= config.bin %> <%= command.id %> --netuid 1 --wait",
    "<%= config.bin %> <%= command.id %> --netuid 1 --json",
  ];
  static override readonly flags = { ...participantFlags, ...cycleFlags };

  static override resultSchema() {
    return v.object({ cycle: v.number(), group: v.number(), root: v.string(), block: v.number(), alreadyDone: v.boolean() });
  }

  protected async perform(invocation: Invocation<typeof Reveal>): Promise<CommitResult> {
    const { context, membership, input } = await openCycle(invocation);
    return reveal(context, membership, input);
  }

  protected render({ cycle, root, block, alreadyDone }: CommitResult): string {
    return `Cycle ${cycle}: revealed ${shortHash(root)} in block ${block}${alreadyDone ? " (done before)" : ""}.`;
  }
}
