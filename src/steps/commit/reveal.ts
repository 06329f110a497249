/** Opens the commitment: artifact root, salt and where to fetch it, sent only once the commit window is closed for good. */

import { ConnitoError } from "../../errors.ts";
import { windowOf } from "../../protocol/clock.ts";
import { toHex } from "../../protocol/hash.ts";
import { encodeRecord } from "../../protocol/records.ts";
import type { Context } from "../context.ts";
import type { Membership } from "../membership.ts";
import { publishFile, requireLocator } from "../publish.ts";
import { sendRecord } from "../send-record.ts";
import { submissionPath } from "../train/submissions.ts";
import { afterFinalized, awaitOpening } from "../windows.ts";
import { type CommitResult, requireSubmission, saltName } from "./commit.ts";

/** @throws nothing-to-reveal without a commit of this cycle; phase-not-open; deadline-missed. */
export async function reveal(context: Context, membership: Membership, input: { cycle: number; wait: boolean }): Promise<CommitResult> {
  const { task } = membership;
  const submission = await requireSubmission(context, input.cycle);
  const committed = context.workspace.journal.find(`commit/${input.cycle}`);
  const salt = await context.workspace.findSecret(saltName(input.cycle));
  if (committed.effect === undefined || salt === undefined) {
    throw new ConnitoError(`Cycle ${input.cycle} has no finalised commit of this state directory to reveal.`, {
      code: "nothing-to-reveal",
      exit: "invalidInput",
      hint: "Run `connito commit` inside the commit window first.",
    });
  }
  const { first, last } = windowOf(task, input.cycle, "reveal");

  const prepare = async () => {
    const opening = afterFinalized("Reveal", input.cycle, windowOf(task, input.cycle, "commit").last, last);
    await awaitOpening(context.clock, opening, { wait: input.wait, signal: context.signal });
    await publishFile(context, `/submissions/${submission.root}`, submissionPath(context.workspace, submission.root));
    const record = encodeRecord({
      kind: "reveal",
      cycle: input.cycle,
      group: submission.group,
      artifactRoot: submission.root,
      salt: toHex(salt),
      locator: requireLocator(context, "reveal"),
    });
    return { record, notes: { root: submission.root } };
  };

  const sent = await sendRecord(context, { key: `reveal/${input.cycle}`, prepare, from: first, until: last });
  return { cycle: input.cycle, group: submission.group, root: submission.root, ...sent };
}
