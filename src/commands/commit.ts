import * as v from "valibot";
import { BaseCommand, type Invocation } from "../cli/base-command.ts";
import { cycleFlags, openCycle, participantFlags } from "../cli/participant.ts";
import type { CommitResult } from "../steps/commit/commit.ts";
import { commit } from "../steps/commit/commit.ts";
import { shortHash } from "../ui/format.ts";

export default class Commit extends BaseCommand<typeof Commit, CommitResult> {
  static override readonly summary = "Put the hash of the cycle's submission on the chain.";
  static override readonly description =
    "The submission itself stays here until `reveal`. Safe to repeat: what is on the chain already is not sent again.";
  static override readonly examples = [
    "<%= config.bin %> <%= command.id %> --netuid 1 --wait",
    "<%= config.bin %> <%= command.id %> --netuid 1 --json",
  ];
  static override readonly flags = { ...participantFlags, ...cycleFlags };

  static override resultSchema() {
    return v.object({ cycle: v.number(), group: v.number(), root: v.string(), block: v.number(), alreadyDone: v.boolean() });
  }

  protected async perform(invocation: Invocation<typeof Commit>): Promise<CommitResult> {
    const { context, membership, input } = await openCycle(invocation);
    return commit(context, membership, input);
  }

  protected render({ cycle, root, block, alreadyDone }: CommitResult): string {
    return `Cycle ${cycle}: committed to ${shortHash(root)} in block ${block}${alreadyDone ? " (done before)" : ""}.`;
  }
}
