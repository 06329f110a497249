/** Who may score and merge: neurons that the chain and the task count as validators, and which of them score which group. */

import { ConnitoError } from "../../errors.ts";
import { drawScorers } from "../../protocol/scorers.ts";
import type { Validator } from "../chain-records.ts";
import type { Context } from "../context.ts";
import type { CycleView } from "../cycle-view.ts";
import type { Membership } from "../membership.ts";
import { evaluationSeed } from "./held-out.ts";

/** @throws not-a-validator */
export function requireValidator(view: CycleView, hotkey: string): Validator {
  const validator = view.participants.validators.find((candidate) => candidate.hotkey === hotkey);
  if (validator !== undefined) return validator;
  throw new ConnitoError(
    `${hotkey} is not a validator of cycle ${view.cycle}: at block ${view.block} it had no permit, or less stake than the task asks for.`,
    {
      code: "not-a-validator",
      exit: "notAssigned",
      hint: "A validator needs a permit on the chain and the task's validators.minimumStake; `connito status` shows both.",
    },
  );
}

/** The validators that score each group of the cycle, known once the reveal window is final. */
export async function scorersOf(context: Context, membership: Membership, view: CycleView): Promise<Validator[][]> {
  const { task } = membership;
  const { validators } = view.participants;
  const byHotkey = new Map(validators.map((validator) => [validator.hotkey, validator]));
  const drawn = drawScorers({
    seed: await evaluationSeed(context, membership, view.cycle),
    validators,
    groups: task.experts.groups,
    count: task.validators.scorers,
  });
  return drawn.map((hotkeys) => hotkeys.map((hotkey) => byHotkey.get(hotkey) as Validator));
}

/** The groups that a validator was drawn for. */
export function groupsOf(scorers: readonly (readonly Validator[])[], hotkey: string): number[] {
  return scorers.flatMap((drawn, group) => (drawn.some((validator) => validator.hotkey === hotkey) ? [group] : []));
}
