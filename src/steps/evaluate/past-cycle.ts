/** The cycle that a question about the past means when none is named. */

import { ConnitoError } from "../../errors.ts";
import { cycleAt, windowOf } from "../../protocol/clock.ts";
import type { Context } from "../context.ts";
import type { Membership } from "../membership.ts";

/** The newest cycle whose score window is final. @throws phase-not-open before there is one */
export async function newestScoredCycle({ clock }: Context, { task }: Membership): Promise<number> {
  const { finalized } = await clock.now();
  const current = cycleAt(task, finalized.number);
  const newest = current === undefined ? -1 : finalized.number >= windowOf(task, current, "score").last ? current : current - 1;
  if (newest >= 0) return newest;
  throw new ConnitoError(`No cycle has been scored yet; cycle 0 is at block ${windowOf(task, 0, "score").last}.`, {
    code: "phase-not-open",
    exit: "phaseNotOpen",
    retryable: true,
    hint: "Ask again after that block.",
  });
}
