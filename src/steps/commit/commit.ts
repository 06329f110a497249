/** Puts the hash of the miner's submission on the chain. The salt is on disk, synced, before anything is sent. */

import { randomBytes } from "node:crypto";
import { ConnitoError } from "../../errors.ts";
import { windowOf } from "../../protocol/clock.ts";
import { commitmentHash } from "../../protocol/commitment.ts";
import { toHex } from "../../protocol/hash.ts";
import { checkLocator, encodeRecord } from "../../protocol/records.ts";
import type { Context } from "../context.ts";
import { assignedGroup, viewCycle } from "../cycle-view.ts";
import type { Membership } from "../membership.ts";
import { type SentRecord, sendRecord } from "../send-record.ts";
import { type StoredSubmission, submissionOf } from "../train/submissions.ts";
import { awaitOpening, sendingWindow } from "../windows.ts";

export interface CommitResult extends SentRecord {
  readonly cycle: number;
  readonly group: number;
  /** The submission's artifact root. */
  readonly root: string;
}

/** @throws nothing-to-commit before `train` has made a submission; phase-not-open; deadline-missed; wrong-base. */
export async function commit(context: Context, membership: Membership, input: { cycle: number; wait: boolean }): Promise<CommitResult> {
  const { task, taskHash } = membership;
  const submission = await requireSubmission(context, input.cycle);
  // What cannot be revealed is not committed to either.
  if (context.locator !== undefined) checkLocator(context.locator, "reveal");

  const prepare = async () => {
    await awaitOpening(context.clock, sendingWindow(task, "Commit", input.cycle, "commit"), { wait: input.wait, signal: context.signal });
    const view = await viewCycle(context, membership, input.cycle);
    const group = assignedGroup(view, context.signer.address);
    if (submission.base !== view.base || submission.group !== group) {
      throw new ConnitoError(
        `The submission was trained on version ${submission.base} for group ${submission.group}; the chain says ${view.base} and group ${group}.`,
        {
          code: "wrong-base",
          exit: "verification",
          hint: "It would be refused, so it is not sent. Run `connito slice` and `connito train` for the current cycle.",
        },
      );
    }
    const salt = await context.workspace.secret(saltName(input.cycle), () => randomBytes(32));
    const commitment = commitmentHash({
      netuid: context.netuid,
      taskHash,
      cycle: input.cycle,
      group,
      hotkey: context.signer.address,
      baseRoot: view.base,
      artifactRoot: submission.root,
      salt: toHex(salt),
    });
    return {
      record: encodeRecord({ kind: "commit", cycle: input.cycle, group, commitment }),
      notes: { root: submission.root },
    };
  };

  const { first, last } = windowOf(task, input.cycle, "commit");
  const sent = await sendRecord(context, { key: `commit/${input.cycle}`, prepare, from: first, until: last });
  return { cycle: input.cycle, group: submission.group, root: submission.root, ...sent };
}

/** Name of the secret that salts the cycle's commitment. */
export function saltName(cycle: number): string {
  return `salt-${cycle}`;
}

/** The cycle's submission. @throws nothing-to-commit */
export async function requireSubmission(context: Pick<Context, "workspace">, cycle: number): Promise<StoredSubmission> {
  const submission = await submissionOf(context.workspace, cycle);
  if (submission !== undefined) return submission;
  throw new ConnitoError(`There is no submission of cycle ${cycle} in the state directory.`, {
    code: "nothing-to-commit",
    exit: "invalidInput",
    hint: "Run `connito train` for this cycle first, with the same --state-dir.",
  });
}
