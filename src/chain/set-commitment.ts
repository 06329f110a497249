/** Writes a record under a hotkey, once: what stands there already, or waits in the pool, is not written again. */
import { ConnitoError } from "../errors.ts";
import { commitmentCall, isRecord, readCommitment } from "./commitments.ts";
import { commitmentIndex } from "./events.ts";
import { bestHead, type HeadTracker, hashOfFinalized } from "./heads.ts";
import type { Link } from "./link.ts";
import type { Signer } from "./signer.ts";
import type { StateAt } from "./state.ts";
import { deadlineMissed, type Inclusion, type Sender } from "./transactions.ts";

export interface TransactionOptions {
  /** The last block in which it is of use; then `deadline-missed`. */
  readonly until?: number;
  readonly signal?: AbortSignal;
}

export interface ChainParts {
  readonly link: Link;
  readonly stateAt: StateAt;
  readonly tracker: HeadTracker;
  readonly sender: Sender;
}

export function notRegistered(hotkey: string, netuid: number): ConnitoError {
  return new ConnitoError(`the hotkey ${hotkey} is not registered on subnet ${netuid}`, {
    code: "not-registered",
    exit: "rejected",
    hint: `Register it: \`btcli subnet register --netuid ${netuid}\`; on a local chain use its development accounts.`,
  });
}

/** Where something happened in an already finalised block; its index is left out where the node no longer keeps the block's state. */
export async function finalizedAlready(
  { link, stateAt }: ChainParts,
  block: number,
  indexOf: (state: Awaited<ReturnType<StateAt>>) => Promise<number | undefined>,
): Promise<Inclusion> {
  const hash = await hashOfFinalized(link, block);
  const index = stateAt(hash).then(indexOf);
  const extrinsicIndex = await index.catch((error) => {
    if (error instanceof ConnitoError && error.code === "state-pruned") return undefined;
    throw error;
  });
  return { block, hash, extrinsicIndex, already: true };
}

/**
 * Resolves when the record stands in a finalised block, at once where it does. Throws `not-registered`, `record-oversize`, `deadline-missed`, and what
 * Sender.send throws.
 */
export async function setCommitment(
  parts: ChainParts,
  signer: Signer,
  netuid: number,
  record: Uint8Array,
  { until, signal }: TransactionOptions = {},
): Promise<Inclusion> {
  const { link, stateAt, tracker, sender } = parts;
  const call = commitmentCall(netuid, record);
  const what = "the record";

  /** Where the record stands, once that is final. */
  async function done(): Promise<Inclusion | undefined> {
    const best = await stateAt((await bestHead(link)).hash);
    const [[uid], current] = await Promise.all([
      best.values<[number | undefined]>(["SubtensorModule", "Uids", netuid, signer.address]),
      readCommitment(best, netuid, signer.address),
    ]);
    if (uid === undefined) throw notRegistered(signer.address, netuid);
    if (current === undefined || !isRecord(current, record)) return undefined;
    let heads = await tracker.now(signal);
    while (heads.finalized < current.block) heads = await tracker.changed(heads, signal);
    const finalized = await stateAt(await hashOfFinalized(link, heads.finalized));
    const standing = await readCommitment(finalized, netuid, signer.address);
    if (standing === undefined || !isRecord(standing, record)) return undefined; // the block that had it was orphaned
    if (until !== undefined && standing.block > until) throw deadlineMissed(what, until, `it was included in block ${standing.block}`);
    return finalizedAlready(parts, standing.block, (state) => commitmentIndex(state, netuid, signer.address));
  }

  return sender.send({ what, signer, done, until, signal, call });
}
