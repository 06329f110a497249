/**
 * The Commitments pallet: what stands under a hotkey at a block, and the form in which a record is written. The pallet keeps one value a hotkey and
 * subnet, and overwrites it: who wants an earlier one asks at an earlier block.
 */
import type { Codec } from "@polkadot/types/types";
import { ConnitoError } from "../errors.ts";
import { type Hotkey, hotkeyOf } from "../protocol/hotkey.ts";
import type { State } from "./state.ts";

export interface ChainCommitment {
  readonly hotkey: Hotkey;
  /** The block that set it. */
  readonly block: number;
  /** The bytes of its Raw fields, in order; fields of other kinds are left out. */
  readonly fields: readonly Uint8Array[];
}

/** The largest Raw variant of the pallet's Data. */
export const largestRaw = 128;

interface DataField {
  readonly type: string;
  readonly value: Codec;
}

interface Registration extends Codec {
  readonly block: { toNumber(): number };
  readonly info: { readonly fields: Iterable<DataField> };
}

function rawBytes(field: DataField): Uint8Array | undefined {
  if (!/^Raw\d+$/.test(field.type)) return undefined;
  const length = Number(field.type.slice(3));
  // a fixed array encodes as its bytes; the empty one has no value at all
  return length === 0 ? new Uint8Array() : field.value.toU8a(true).slice(-length);
}

function commitmentFrom(hotkey: Hotkey, registration: Registration): ChainCommitment {
  const fields = [...registration.info.fields].map(rawBytes).filter((bytes) => bytes !== undefined);
  return { hotkey, block: registration.block.toNumber(), fields };
}

/** Every hotkey's commitment on a subnet, by hotkey. */
export async function readCommitments(state: State, netuid: number): Promise<ChainCommitment[]> {
  const entries = await state.entries("commitments", "commitmentOf", netuid);
  return entries
    .map(({ keys: [, account], value }) => commitmentFrom(hotkeyOf((account as Codec).toU8a()), value as Registration))
    .sort((one, other) => (one.hotkey < other.hotkey ? -1 : 1));
}

/** One hotkey's commitment, undefined where it has none. */
export async function readCommitment(state: State, netuid: number, hotkey: Hotkey): Promise<ChainCommitment | undefined> {
  const [registration] = await state.values(["commitments", "commitmentOf", netuid, hotkey]);
  return registration === undefined ? undefined : commitmentFrom(hotkey, registration as Registration);
}

/** Whether a commitment is exactly this record. */
export function isRecord(commitment: ChainCommitment | undefined, record: Uint8Array): boolean {
  const [field, ...others] = commitment?.fields ?? [];
  return field !== undefined && others.length === 0 && Buffer.compare(field, record) === 0;
}

/**
 * The argument of setCommitment for one record: the Raw variant of exactly its length. Throws `record-oversize` for what the runtime would not
 * refuse but trap on.
 */
export function commitmentInfo(record: Uint8Array): { fields: Record<string, string>[] } {
  if (record.length > largestRaw) {
    throw new ConnitoError(`a record of ${record.length} bytes does not fit the chain's ${largestRaw}`, {
      code: "record-oversize",
      exit: "invalidInput",
      hint: "Use a shorter locator: an address instead of a long host name or path.",
    });
  }
  return { fields: [{ [`Raw${record.length}`]: `0x${Buffer.from(record).toString("hex")}` }] };
}
