/** Who may score and merge: neurons that the chain and the task count as validators. */

import { ConnitoError } from "../../errors.ts";
import type { Validator } from "../chain-records.ts";
import type { CycleView } from "../cycle-view.ts";

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
