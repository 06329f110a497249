/**
 * What the chain says at one finalised block, in the protocol's words: who owns the subnet, who validates, who mines, and each
 * hotkey's latest record. Foreign bytes in the Commitments pallet (other tools', other versions') are passed over.
 */

import type { Chain } from "../chain/client.ts";
import type { Candidate } from "../protocol/experts/assignment.ts";
import type { BallotRecord, ChainRecord, ReportRecord, TaskRecord, VersionRecord } from "../protocol/records.ts";
import { decodeRecord } from "../protocol/records.ts";
import type { Task } from "../protocol/task.ts";

/** A record together with the hotkey that set it and the block that included it. */
export interface PlacedRecord<T extends ChainRecord = ChainRecord> {
  readonly hotkey: string;
  readonly block: number;
  readonly record: T;
}

export interface Validator {
  readonly hotkey: string;
  readonly uid: number;
  readonly stake: bigint;
  /** Its latest record: all that validators write say where they serve, and which version they hold. */
  readonly record?: ValidatorRecord;
}

export type ValidatorRecord = VersionRecord | ReportRecord | BallotRecord;

export interface Participants {
  readonly owner: string | undefined;
  readonly ownerRecord?: TaskRecord;
  readonly validators: readonly Validator[];
  readonly miners: readonly Candidate[];
  readonly uids: ReadonlyMap<string, number>;
}

/** Every record of this protocol that stands at the block. */
export async function recordsAt(chain: Chain, netuid: number, at: string): Promise<PlacedRecord[]> {
  const records: PlacedRecord[] = [];
  for (const { hotkey, block, fields } of await chain.commitments(netuid, at)) {
    for (const field of fields) {
      const record = decodeRecord(field);
      if (record !== undefined) records.push({ hotkey, block, record });
    }
  }
  return records;
}

function ofKind<K extends ChainRecord["kind"]>(records: PlacedRecord[], kind: K): PlacedRecord<Extract<ChainRecord, { kind: K }>>[] {
  return records.filter((placed): placed is PlacedRecord<Extract<ChainRecord, { kind: K }>> => placed.record.kind === kind);
}

/** The records of one kind that name a cycle, stand at the block and were set inside the window. */
export async function recordsInWindow<K extends "commit" | "reveal" | "report" | "ballot">(
  chain: Chain,
  netuid: number,
  at: string,
  kind: K,
  cycle: number,
  window: { first: number; last: number },
): Promise<PlacedRecord<Extract<ChainRecord, { kind: K }>>[]> {
  const records = await recordsAt(chain, netuid, at);
  return records.filter(
    ({ record, block }) => record.kind === kind && record.cycle === cycle && block >= window.first && block <= window.last,
  ) as PlacedRecord<Extract<ChainRecord, { kind: K }>>[];
}

/** Splits the subnet's neurons into owner, validators and miners (docs/protocol.md, section 2). */
export async function participantsAt(
  chain: Chain,
  netuid: number,
  task: Pick<Task, "validators"> | undefined,
  at: string,
): Promise<Participants> {
  const [owner, neurons, records] = await Promise.all([
    chain.subnetOwnerHotkey(netuid, at),
    chain.neurons(netuid, at),
    recordsAt(chain, netuid, at),
  ]);
  const ofValidators = new Map(
    [...ofKind(records, "version"), ...ofKind(records, "report"), ...ofKind(records, "ballot")].map((placed) => [
      placed.hotkey,
      placed.record,
    ]),
  );
  const submissions = new Map(
    [...ofKind(records, "commit"), ...ofKind(records, "reveal"), ...ofKind(records, "ready")].map((placed) => [
      placed.hotkey,
      placed.record,
    ]),
  );
  const minimumStake = BigInt(task?.validators.minimumStake ?? 0);

  const validators: Validator[] = [];
  const miners: Candidate[] = [];
  for (const { hotkey, uid, stake, validatorPermit, registeredAt } of neurons) {
    if (hotkey === owner) continue;
    if (validatorPermit && stake >= minimumStake) {
      const record = ofValidators.get(hotkey);
      validators.push({ hotkey, uid, stake, ...(record && { record }) });
    } else {
      const last = submissions.get(hotkey);
      miners.push({ hotkey, uid, registeredAt, ...(last && { lastRecord: { cycle: last.cycle, group: last.group } }) });
    }
  }
  const ownerRecord = ofKind(records, "task").find((placed) => placed.hotkey === owner)?.record;
  return {
    owner,
    ...(ownerRecord && { ownerRecord }),
    validators,
    miners,
    uids: new Map(neurons.map((neuron) => [neuron.hotkey, neuron.uid])),
  };
}
