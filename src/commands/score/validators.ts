import * as v from "valibot";
import { BaseCommand, type Invocation } from "../../cli/base-command.ts";
import { cycleFlags, openParticipant, participantFlags } from "../../cli/participant.ts";
import { observeValidators } from "../../steps/evaluate/observe.ts";
import { newestScoredCycle } from "../../steps/evaluate/past-cycle.ts";
import { joinTask } from "../../steps/membership.ts";
import { formatTao, shortAddress } from "../../ui/format.ts";
import { table } from "../../ui/table.ts";

type Observed = Awaited<ReturnType<typeof observeValidators>>;

export default class ScoreValidators extends BaseCommand<typeof ScoreValidators, Observed> {
  static override readonly summary = "Show how each validator's scores of a past cycle stand to what was agreed.";
  static override readonly description =
    "A lazy or lying validator differs from the agreed scores or from its group's result, says what does not follow from the losses that it shows, or commits to a report that it does not show. Beside a running `cycle run`, give another --state-dir.";
  static override readonly examples = [
    "<%= config.bin %> <%= command.id %> --netuid 1",
    "<%= config.bin %> <%= command.id %> --netuid 1 --cycle 12 --json",
  ];
  static override readonly flags = { ...participantFlags, cycle: cycleFlags.cycle };

  static override resultSchema() {
    const validator = v.object({
      validator: v.string(),
      stake: v.string(),
      groups: v.array(v.number()),
      standing: v.string(),
      scored: v.number(),
      differing: v.array(v.string()),
      unfounded: v.array(v.string()),
      differingGroups: v.array(v.number()),
    });
    return v.object({ cycle: v.number(), validators: v.array(validator) });
  }

  protected async perform(invocation: Invocation<typeof ScoreValidators>): Promise<Observed> {
    const context = await openParticipant(invocation);
    const membership = await joinTask(context);
    return observeValidators(context, membership, { cycle: invocation.flags.cycle ?? (await newestScoredCycle(context, membership)) });
  }

  protected render({ cycle, validators }: Observed): string {
    const right = (heading: string) => ({ heading, align: "right" as const });
    const rows = validators.map((row) => [
      shortAddress(row.validator),
      formatTao(row.stake),
      row.groups.join(", "),
      row.standing,
      row.scored,
      row.differing.map(shortAddress).join(", "),
      row.unfounded.map(shortAddress).join(", "),
      row.differingGroups.join(", "),
    ]);
    return `Cycle ${cycle}\n${table(["validator", right("stake"), "groups", "report", right("scored"), "differs on", "shows no losses for", "other result for group"], rows)}`;
  }
}
