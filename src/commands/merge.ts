import * as v from "valibot";
import { BaseCommand, type Invocation } from "../cli/base-command.ts";
import { cycleFlags, openCycle, participantFlags, scorerArgs, scorerFlags, scorerOf } from "../cli/participant.ts";
import { type MergeResult, merge } from "../steps/evaluate/merge.ts";
import { type SetWeightsResult, setWeights } from "../steps/evaluate/set-weights.ts";
import { shortAddress, shortHash } from "../ui/format.ts";

interface MergeCommandResult extends MergeResult {
  readonly weights: SetWeightsResult["weights"];
}

export default class Merge extends BaseCommand<typeof Merge, MergeCommandResult> {
  static override readonly summary = "Merge the accepted submissions into the next version, put its root on the chain, and set weights.";
  static override readonly description =
    "Scores are agreed with the other validators by stake-weighted median. Nothing is merged that does not lower the held-out loss of the model.";
  static override readonly examples = [
    "<%= config.bin %> <%= command.id %> --netuid 1 --wait",
    "<%= config.bin %> <%= command.id %> --netuid 1 --cycle 12 --json",
    "<%= config.bin %> <%= command.id %> --netuid 1 --wait --backend command -- python trainers/torch/score.py",
  ];
  static override readonly args = scorerArgs;
  static override readonly flags = { ...participantFlags, ...cycleFlags, ...scorerFlags };

  static override resultSchema() {
    const verdict = v.object({ miner: v.string(), group: v.number(), status: v.string(), score: v.number(), root: v.nullable(v.string()) });
    return v.object({
      cycle: v.number(),
      base: v.string(),
      root: v.string(),
      merged: v.array(v.object({ group: v.number(), contributors: v.array(v.string()) })),
      scale: v.number(),
      verdicts: v.array(verdict),
      reporters: v.array(v.string()),
      evaluationLoss: v.object({ before: v.array(v.number()), after: v.array(v.number()) }),
      block: v.number(),
      alreadyDone: v.boolean(),
      weights: v.array(v.object({ uid: v.number(), weight: v.number() })),
    });
  }

  protected async perform(invocation: Invocation<typeof Merge>): Promise<MergeCommandResult> {
    const scorer = await scorerOf(invocation.flags.backend, invocation.args.program);
    const { context, membership, input } = await openCycle(invocation);
    const merged = await merge({ ...context, ...scorer }, membership, input);
    const { weights, reveal, skipped } = await setWeights(context, membership, input);
    if (skipped !== undefined) invocation.warn(`No weights were set: ${skipped}.`);
    if (reveal !== undefined)
      invocation.warn(
        `The weights are committed; reveal them from block ${reveal.from} to ${reveal.until} by running this, or \`cycle run\`, again.`,
      );
    return { ...merged, weights };
  }

  protected render({ cycle, base, root, merged, scale, block }: MergeCommandResult): string {
    if (root === base) return `Cycle ${cycle}: nothing lowered the loss; version ${shortHash(base)} stands (block ${block}).`;
    return [
      `Cycle ${cycle}: version ${shortHash(root)} (block ${block}), step scale ${scale}.`,
      ...merged.map(({ group, contributors }) => `Group ${group}: ${contributors.map(shortAddress).join(", ")}`),
    ].join("\n");
  }
}
