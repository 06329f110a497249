/**
 * The Commitments pallet: what stands under a hotkey at a block, and the form in which a record is written. The pallet keeps one value a hotkey and
 * subnet, and overwrites it: who wants an earlier one asks at an earlier block.
 */
import { ConnitoError } from "../errors.ts";
import type { Hotkey } from "../protocol/hotkey.ts";
import { readEpochs } from "./epochs.ts";
import type { Call } from "./metadata.ts";
import { bytesOf, hexOf, type State } from "./state.ts";

export interface ChainCommitment {
  readonly hotkey: Hotkey;
  /** The block that set it. */
  readonly block: number;
  /** The bytes of its Raw fields, in order; fields of other kinds are left out. */
  readonly fields: readonly Uint8Array[];
}

/** The largest Raw variant of the pallet's Data. */
export const largestRaw = 128;

/** One of the pallet's Data: `Raw0` to `Raw128` with their bytes as `0x` text, and kinds that this tool does not write. */
interface DataField {
  readonly type: string;
  readonly value: unknown;
}

interface Registration {
  readonly block: number;
  readonly info: readonly DataField[];
}

function rawBytes({ type, value }: DataField): Uint8Array | undefined {
  if (!/^Raw\d+$/.test(type)) return undefined;
  if (typeof value === "number") return Uint8Array.of(value); // an array of one is its one
  return type === "Raw0" ? new Uint8Array() : bytesOf(value as string);
}

function commitmentFrom(hotkey: Hotkey, { block, info }: Registration): ChainCommitment {
  return { hotkey, block, fields: info.map(rawBytes).filter((bytes) => bytes !== undefined) };
}

/** Every hotkey's commitment on a subnet, by hotkey. */
export async function readCommitments(state: State, netuid: number): Promise<ChainCommitment[]> {
  const entries = await state.entries<Registration>("Commitments", "CommitmentOf", netuid);
  return entries
    .map(({ keys: [, hotkey], value }) => commitmentFrom(hotkey as Hotkey, value))
    .sort((one, other) => (one.hotkey < other.hotkey ? -1 : 1));
}

/** One hotkey's commitment, undefined where it has none. */
export async function readCommitment(state: State, netuid: number, hotkey: Hotkey): Promise<ChainCommitment | undefined> {
  const [registration] = await state.values<[Registration | undefined]>(["Commitments", "CommitmentOf", netuid, hotkey]);
  return registration === undefined ? undefined : commitmentFrom(hotkey, registration);
}

/** What a write counts at least towards the space limit, in bytes (Subtensor's pallet-commitments). */
const smallestSpace = 100;

/** The bytes that writing a record of so many counts. */
export function spaceOf(bytes: number): number {
  return Math.max(smallestSpace, bytes);
}

export interface Space {
  /** Bytes counted in the epoch of the next block, which is where a transaction sent now can come in. */
  readonly used: number;
  readonly limit: number;
  /** The first block in which all of the space is free again. */
  readonly nextEpoch: number;
}

/** How much a hotkey may still write. */
export async function readSpace(state: State, netuid: number, hotkey: Hotkey): Promise<Space> {
  const [[usage, limit], epochs] = await Promise.all([
    state.values<[{ last_epoch: bigint; used_space: bigint } | undefined, number]>(
      ["Commitments", "UsedSpaceOf", netuid, hotkey],
      ["Commitments", "MaxSpace"],
    ),
    readEpochs(state, netuid),
  ]);
  const epoch = epochs.at(state.number + 1);
  const used = usage !== undefined && Number(usage.last_epoch) === epoch ? Number(usage.used_space) : 0;
  return { used, limit, nextEpoch: epochs.firstBlockOf(epoch + 1) };
}

/** Whether a commitment is exactly this record. */
export function isRecord(commitment: ChainCommitment | undefined, record: Uint8Array): boolean {
  const [field, ...others] = commitment?.fields ?? [];
  return field !== undefined && others.length === 0 && Buffer.compare(field, record) === 0;
}

/**
 * The call that writes one record, in the Raw variant of exactly its length. Throws `record-oversize` for what the runtime would not refuse but trap
 * on.
 */
export function commitmentCall(netuid: number, record: Uint8Array): Call {
  if (record.length > largestRaw) {
    throw new ConnitoError(`a record of ${record.length} bytes does not fit the chain's ${largestRaw}`, {
      code: "record-oversize",
      exit: "invalidInput",
      hint: "Use a shorter locator: an address instead of a long host name or path.",
    });
  }
  const field = { type: `Raw${record.length}`, value: record.length === 1 ? record[0] : hexOf(record) };
  return { pallet: "Commitments", name: "set_commitment", args: { netuid, info: [field] } };
}
