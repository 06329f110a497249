/**
 * Puts one of this participant's records on the chain exactly once. The record is in the journal, synced, before it is sent; after a
 * crash the same bytes are sent again, and the chain client first looks whether they stand there already.
 */

import { fromHex, toHex } from "../protocol/hash.ts";
import type { Context } from "./context.ts";

export interface RecordToSend {
  /** The journal's key, one for each thing that must happen once: "commit/12". */
  readonly key: string;
  /** Called only when nothing has been prepared yet: waits for the right moment and returns the record and what else must not be lost. */
  readonly prepare: () => Promise<{ record: Uint8Array; notes: Readonly<Record<string, string>> }>;
  /** First and last block in which the record counts. */
  readonly from?: number;
  readonly until?: number;
}

export interface SentRecord {
  readonly block: number;
  readonly alreadyDone: boolean;
}

/** @throws deadline-missed once `until` has passed and the record does not stand on the chain; the chain's own errors. */
export async function sendRecord(context: Context, { key, prepare, from, until }: RecordToSend): Promise<SentRecord> {
  const { journal } = context.workspace;
  const noted = journal.find(key);
  const done = noted.effect?.data as { block: number } | undefined;
  if (done !== undefined) return { block: done.block, alreadyDone: true };
  const intended = noted.intent?.data as { record: string } | undefined;
  let record: Uint8Array;
  if (intended !== undefined) {
    record = fromHex(intended.record);
  } else {
    const prepared = await prepare();
    record = prepared.record;
    await journal.intent(key, { ...prepared.notes, record: toHex(record) });
  }
  const { block } = await context.chain.setCommitment(context.signer, context.netuid, record, {
    ...(from === undefined ? {} : { from }),
    ...(until === undefined ? {} : { until }),
    signal: context.signal,
  });
  await journal.effect(key, { block });
  return { block, alreadyDone: false };
}
