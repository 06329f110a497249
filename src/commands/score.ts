import * as v from "valibot";
import { BaseCommand, type Invocation } from "../cli/base-command.ts";
import { cycleFlags, openCycle, participantFlags, scorerArgs, scorerFlags, scorerOf } from "../cli/participant.ts";
import { ConnitoError } from "../errors.ts";
import { type ScoreResult, score } from "../steps/evaluate/score.ts";
import { formatMicroNats, shortAddress, shortHash } from "../ui/format.ts";
import { table } from "../ui/table.ts";

export default class Score extends BaseCommand<typeof Score, ScoreResult> {
  static override readonly summary = "Score the cycle's submissions by Proof-of-Loss, and publish the signed report.";
  static override readonly description =
    "Each submission is measured on held-out sequences that were drawn after the reveals. docs/protocol.md explains each verdict.";
  static override readonly examples = [
    "<%= config.bin %> <%= command.id %> --netuid 1 --wait",
    "<%= config.bin %> <%= command.id %> --netuid 1 --cycle 12 --json",
    "<%= config.bin %> <%= command.id %> --netuid 1 --wait --backend command -- python trainers/torch/score.py",
  ];
  static override readonly args = scorerArgs;
  static override readonly flags = { ...participantFlags, ...cycleFlags, ...scorerFlags };

  static override resultSchema() {
    const entry = v.object({ miner: v.string(), group: v.number(), status: v.string(), score: v.number(), root: v.nullable(v.string()) });
    return v.object({
      cycle: v.number(),
      base: v.string(),
      alreadyDone: v.boolean(),
      groups: v.array(v.number()),
      revealed: v.number(),
      entries: v.array(entry),
      signature: v.string(),
      block: v.number(),
    });
  }

  protected async perform(invocation: Invocation<typeof Score>): Promise<ScoreResult> {
    const scorer = await scorerOf(invocation.flags.backend, invocation.args.program);
    const { context, membership, input } = await openCycle(invocation);
    const result = await score({ ...context, ...scorer }, membership, input);
    if (result.revealed > 0 || result.groups.length === 0) return result;
    throw new ConnitoError(`No miner revealed a submission in cycle ${input.cycle}; the report says so of each.`, {
      code: "nothing-revealed",
      exit: "notAssigned",
      hint: "There is nothing to merge; the model stands as it is until the next cycle.",
    });
  }

  protected render({ cycle, groups, entries }: ScoreResult): string {
    if (groups.length === 0) return `Cycle ${cycle}: this validator was not drawn to score any group.`;
    const rows = entries.map(({ miner, group, status, score: earned, root }) => [
      shortAddress(miner),
      group,
      status,
      earned === 0 ? undefined : formatMicroNats(earned),
      root === null ? undefined : shortHash(root),
    ]);
    return `Cycle ${cycle}\n${table(["miner", { heading: "group", align: "right" }, "status", { heading: "nats/token", align: "right" }, "submission"], rows)}`;
  }
}
