/**
 * What participants write on the chain (docs/protocol.md, section 7): one `Raw` field of the Commitments pallet, at most 128 bytes.
 * Anyone may write anything there, so decoding never throws: bytes that `encodeRecord` would not have made are foreign, `undefined`.
 */
import { ConnitoError } from "../errors.ts";
import { type Hash, hashBytes, hashToBytes, toHex, u16, u32, utf8 } from "./hash.ts";
import { isLocator, parseLocator } from "./locator.ts";

/** A miner binds itself to an artifact without showing it. */
export interface CommitRecord {
  readonly kind: "commit";
  readonly cycle: number;
  readonly group: number;
  readonly commitment: Hash;
}

/** A miner shows what it committed to, and where it can be fetched. */
export interface RevealRecord {
  readonly kind: "reveal";
  readonly cycle: number;
  readonly group: number;
  readonly artifactRoot: Hash;
  /** 32 random bytes in hexadecimal. */
  readonly salt: Hash;
  readonly locator: string;
}

/** A validator says: the model that `cycle` trains is `root`, it was `previousRoot`. */
export interface VersionRecord {
  readonly kind: "version";
  readonly cycle: number;
  readonly previousRoot: Hash;
  readonly root: Hash;
  readonly locator: string;
}

/** The owner anchors the task. */
export interface TaskRecord {
  readonly kind: "task";
  readonly taskHash: Hash;
  readonly locator: string;
}

/** A miner that missed its cycles says that it is back, and is assigned a group again from the next cycle on. */
export interface ReadyRecord {
  readonly kind: "ready";
  readonly cycle: number;
  /** The group it had last, or `noGroup`. */
  readonly group: number;
}

/** In a ready record: the miner had no group before. */
export const noGroup = 0xffff;

/** A validator binds itself to its report of a cycle, which others may fetch once the score window is closed. */
export interface ReportRecord {
  readonly kind: "report";
  readonly cycle: number;
  /** Version root that the cycle trains, as this validator has it. */
  readonly base: Hash;
  /** What the validator signs of its report. */
  readonly report: Hash;
  readonly locator: string;
}

/** A validator binds itself to the version that it computed, before it names it in a version record. */
export interface BallotRecord {
  readonly kind: "ballot";
  /** The cycle that trains the version. */
  readonly cycle: number;
  /** Version root that the version was computed from. */
  readonly base: Hash;
  readonly ballot: Hash;
  readonly locator: string;
}

export type ChainRecord = CommitRecord | RevealRecord | VersionRecord | TaskRecord | ReadyRecord | ReportRecord | BallotRecord;

export const recordVersion = 1;
/** The largest `Raw` field of the Commitments pallet. */
export const maximumRecordBytes = 128;
const kinds = { commit: 1, reveal: 2, version: 3, task: 4, ready: 5, report: 6, ballot: 7 } as const;

function fixedPart(record: ChainRecord): Uint8Array[] {
  switch (record.kind) {
    case "commit":
      return [u32(record.cycle), u16(record.group), hashToBytes(record.commitment)];
    case "reveal":
      return [u32(record.cycle), u16(record.group), hashToBytes(record.artifactRoot), hashToBytes(record.salt)];
    case "version":
      return [u32(record.cycle), hashToBytes(record.previousRoot), hashToBytes(record.root)];
    case "task":
      return [hashToBytes(record.taskHash)];
    case "ready":
      return [u32(record.cycle), u16(record.group)];
    case "report":
      return [u32(record.cycle), hashToBytes(record.base), hashToBytes(record.report)];
    case "ballot":
      return [u32(record.cycle), hashToBytes(record.base), hashToBytes(record.ballot)];
  }
}

/**
 * The bytes of a record. Throws `locator-invalid` for a locator that is not one, and `record-too-long` where it does not fit, naming
 * how many bytes it may have.
 */
export function encodeRecord(record: ChainRecord): Uint8Array {
  const fixed = [Uint8Array.of(recordVersion, kinds[record.kind]), ...fixedPart(record)];
  const room = maximumRecordBytes - fixed.reduce((sum, part) => sum + part.length, 0);
  const locator = "locator" in record ? utf8(parseLocator(record.locator).text) : new Uint8Array();
  if (locator.length > room) throw recordTooLong(record.kind, locator.length, room);
  return new Uint8Array(Buffer.concat([...fixed, locator]));
}

function recordTooLong(kind: ChainRecord["kind"], bytes: number, room: number): ConnitoError {
  return new ConnitoError(`The locator has ${bytes} bytes; a ${kind} record has room for ${room}`, {
    code: "record-too-long",
    exit: "invalidInput",
    hint: `Use a locator of at most ${room} bytes: a shorter host name, an IP address, or a shorter path.`,
  });
}

/** Records that say where to fetch from. */
export type LocatorKind = Extract<ChainRecord, { readonly locator: string }>["kind"];

/** The longest locator, in UTF-8 bytes, that a record of this kind can carry. */
export function locatorRoom(kind: LocatorKind): number {
  const cycleAndTwo = 2 + 4 + 2 * hashBytes;
  const fixed = { reveal: cycleAndTwo + 2, version: cycleAndTwo, task: 2 + hashBytes, report: cycleAndTwo, ballot: cycleAndTwo };
  return maximumRecordBytes - fixed[kind];
}

/** Throws what `encodeRecord` would throw at a record of this kind with this locator, long before there is one. */
export function checkLocator(locator: string, kind: LocatorKind): void {
  const { length } = utf8(parseLocator(locator).text);
  if (length > locatorRoom(kind)) throw recordTooLong(kind, length, locatorRoom(kind));
}

/** The bytes of a record with this locator. */
export function recordBytes(kind: LocatorKind, locator: string): number {
  return maximumRecordBytes - locatorRoom(kind) + utf8(locator).length;
}

/** The record that these bytes are, or `undefined` when they are foreign: another version, kind, length, or not a locator. */
export function decodeRecord(bytes: Uint8Array): ChainRecord | undefined {
  if (bytes.length < 2 || bytes.length > maximumRecordBytes || bytes[0] !== recordVersion) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const hashAt = (offset: number): Hash => toHex(bytes.subarray(offset, offset + hashBytes));
  const kind = bytes[1];
  if (kind === kinds.commit) {
    if (bytes.length !== 8 + hashBytes) return undefined;
    return { kind: "commit", cycle: view.getUint32(2, true), group: view.getUint16(6, true), commitment: hashAt(8) };
  }
  if (kind === kinds.reveal) {
    const locator = locatorFrom(bytes, 8 + 2 * hashBytes);
    if (locator === undefined) return undefined;
    const [cycle, group] = [view.getUint32(2, true), view.getUint16(6, true)];
    return { kind: "reveal", cycle, group, artifactRoot: hashAt(8), salt: hashAt(8 + hashBytes), locator };
  }
  if (kind === kinds.version || kind === kinds.report || kind === kinds.ballot) {
    const locator = locatorFrom(bytes, 6 + 2 * hashBytes);
    if (locator === undefined) return undefined;
    const [cycle, first, second] = [view.getUint32(2, true), hashAt(6), hashAt(6 + hashBytes)];
    if (kind === kinds.version) return { kind: "version", cycle, previousRoot: first, root: second, locator };
    if (kind === kinds.report) return { kind: "report", cycle, base: first, report: second, locator };
    return { kind: "ballot", cycle, base: first, ballot: second, locator };
  }
  if (kind === kinds.task) {
    const locator = locatorFrom(bytes, 2 + hashBytes);
    return locator === undefined ? undefined : { kind: "task", taskHash: hashAt(2), locator };
  }
  if (kind === kinds.ready && bytes.length === 8) return { kind: "ready", cycle: view.getUint32(2, true), group: view.getUint16(6, true) };
  return undefined;
}

function locatorFrom(bytes: Uint8Array, offset: number): string | undefined {
  if (bytes.length < offset) return undefined;
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes.subarray(offset));
    return isLocator(text) ? text : undefined;
  } catch {
    return undefined;
  }
}
