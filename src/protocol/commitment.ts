/**
 * The commitment (docs/protocol.md, section 7) binds a miner to one artifact for one subnet, task, cycle, group, hotkey and base. The
 * salt hides an artifact that could be guessed; everything else makes the bytes worthless anywhere but where they were made for.
 */
import { type Hash, hashFields, hashToBytes, u16, u32 } from "./hash.ts";
import { type Hotkey, publicKeyOf } from "./hotkey.ts";

export interface CommitmentPreimage {
  readonly netuid: number;
  readonly taskHash: Hash;
  readonly cycle: number;
  readonly group: number;
  readonly hotkey: Hotkey;
  /** Version root of the model that the deltas were taken against. */
  readonly baseRoot: Hash;
  readonly artifactRoot: Hash;
  /** 32 random bytes in hexadecimal, kept secret until the reveal. */
  readonly salt: Hash;
}

/**
 * What a validator's ballot record holds: it binds the hotkey to the version it computed without showing it. No salt is needed, since who
 * could guess the root has computed it.
 */
export function ballotHash(ballot: {
  readonly netuid: number;
  readonly taskHash: Hash;
  /** The cycle that trains the version. */
  readonly cycle: number;
  readonly hotkey: Hotkey;
  readonly previousRoot: Hash;
  readonly root: Hash;
}): Hash {
  return hashFields(
    "connito/ballot/1",
    u16(ballot.netuid),
    hashToBytes(ballot.taskHash),
    u32(ballot.cycle),
    publicKeyOf(ballot.hotkey),
    hashToBytes(ballot.previousRoot),
    hashToBytes(ballot.root),
  );
}

export function commitmentHash(preimage: CommitmentPreimage): Hash {
  return hashFields(
    "connito/commit/1",
    u16(preimage.netuid),
    hashToBytes(preimage.taskHash),
    u32(preimage.cycle),
    u16(preimage.group),
    publicKeyOf(preimage.hotkey),
    hashToBytes(preimage.baseRoot),
    hashToBytes(preimage.artifactRoot),
    hashToBytes(preimage.salt),
  );
}
