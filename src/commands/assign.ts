import * as v from "valibot";
import { BaseCommand, type Invocation } from "../cli/base-command.ts";
import { cycleFlags, openCycle, participantFlags } from "../cli/participant.ts";
import { type AssignResult, assign } from "../steps/distribute/assign.ts";
import { shortAddress, shortHash } from "../ui/format.ts";

export default class Assign extends BaseCommand<typeof Assign, AssignResult> {
  static override readonly summary = "Show which miner trains which expert group in a cycle.";
  static override readonly description =
    "Computed from the chain's state at the block before the cycle, so that everyone gets the same. The expert mapping is kept in the state directory.";
  static override readonly examples = [
    "<%= config.bin %> <%= command.id %> --netuid 1",
    "<%= config.bin %> <%= command.id %> --netuid 1 --cycle 12 --json",
  ];
  static override readonly flags = { ...participantFlags, ...cycleFlags };

  static override resultSchema() {
    return v.object({
      cycle: v.number(),
      base: v.string(),
      block: v.number(),
      groups: v.array(v.array(v.string())),
      unavailable: v.array(v.string()),
      group: v.optional(v.number()),
      mapping: v.looseObject({}),
    });
  }

  protected async perform(invocation: Invocation<typeof Assign>): Promise<AssignResult> {
    const { context, membership, input } = await openCycle(invocation);
    return assign(context, membership, input);
  }

  protected render({ cycle, base, groups, unavailable, group }: AssignResult): string {
    return [
      `Cycle ${cycle} trains version ${shortHash(base)}.`,
      ...groups.map(
        (miners, index) => `Group ${index}${index === group ? " (yours)" : ""}: ${miners.map(shortAddress).join(", ") || "nobody"}`,
      ),
      ...(unavailable.length > 0 ? [`Away: ${unavailable.map(shortAddress).join(", ")}`] : []),
    ].join("\n");
  }
}
