/** A miner without a group says that it is back: one small record, and the next cycle's assignment counts it again. */

import { encodeRecord, noGroup } from "../../protocol/records.ts";
import type { Context } from "../context.ts";
import { viewCycle } from "../cycle-view.ts";
import type { Membership } from "../membership.ts";
import { sendRecord } from "../send-record.ts";

export interface ReadyResult {
  readonly cycle: number;
  /** False when the miner was available anyway and nothing had to be said. */
  readonly sent: boolean;
}

/** Sends the record when the cycle's assignment passed this miner over for having been away; otherwise does nothing. */
export async function ready(context: Context, membership: Membership, { cycle }: { cycle: number }): Promise<ReadyResult> {
  const { assignment, participants } = await viewCycle(context, membership, cycle);
  const hotkey = context.signer.address;
  if (!assignment.unavailable.includes(hotkey)) return { cycle, sent: false };
  const group = participants.miners.find((miner) => miner.hotkey === hotkey)?.lastRecord?.group ?? noGroup;
  const record = encodeRecord({ kind: "ready", cycle, group });
  await sendRecord(context, { key: `ready/${cycle}`, prepare: async () => ({ record, notes: {} }) });
  return { cycle, sent: true };
}
