/**
 * A validator says on the chain which model version it serves, and where. `merge` does this at the end of each cycle; this step does it for a
 * validator that has just joined, or comes back.
 */

import { encodeRecord } from "../../protocol/records.ts";
import type { Context } from "../context.ts";
import type { CycleView } from "../cycle-view.ts";
import { viewCycle } from "../cycle-view.ts";
import { requireValidator } from "../evaluate/validators.ts";
import type { Membership } from "../membership.ts";
import { requireLocator } from "../publish.ts";
import { type SentRecord, sendRecord } from "../send-record.ts";

export interface AnnounceResult extends SentRecord {
  readonly cycle: number;
  readonly root: string;
}

/** Publishes the version record of the cycle, unless this validator's record of that cycle or a later one stands already. */
export async function announce(context: Context, membership: Membership, input: { cycle: number }): Promise<AnnounceResult> {
  const view = await viewCycle(context, membership, input.cycle);
  const validator = requireValidator(view, context.signer.address);
  const { record } = validator;
  if (record?.kind === "version" && record.cycle >= input.cycle && record.locator === requireLocator(context, "version")) {
    return { cycle: input.cycle, root: record.root, block: view.block, alreadyDone: true };
  }
  const sent = await sendVersion(context, { cycle: input.cycle, previousRoot: view.base, root: view.base });
  return { cycle: input.cycle, root: view.base, ...sent };
}

/** Puts a version record on the chain: the model that `cycle` trains is `root`. */
export function sendVersion(
  context: Context,
  version: { cycle: number; previousRoot: CycleView["base"]; root: CycleView["base"]; until?: number },
): Promise<SentRecord> {
  const { cycle, previousRoot, root, until } = version;
  const locator = requireLocator(context, "version");
  const record = encodeRecord({ kind: "version", cycle, previousRoot, root, locator });
  // One entry for each record and place: a validator that comes back elsewhere says so.
  const key = `version/${cycle}/${root}/${locator}`;
  return sendRecord(context, { key, prepare: async () => ({ record, notes: { root } }), ...(until === undefined ? {} : { until }) });
}
