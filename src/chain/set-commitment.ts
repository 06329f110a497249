/**
 * Writes a record under a hotkey, once: what stands there already, or waits in the pool, is not written again. The pallet counts the bytes that a
 * hotkey writes in an epoch; a record for which there is no room is not sent, but waits for the next epoch where its window reaches that far.
 */
import { ConnitoError } from "../errors.ts";
import { commitmentCall, isRecord, readCommitment, readSpace, spaceOf } from "./commitments.ts";
import { commitmentIndex } from "./events.ts";
import { bestHead, type HeadTracker, hashOfFinalized } from "./heads.ts";
import type { Link } from "./link.ts";
import { ExtrinsicRejected } from "./refusals.ts";
import type { Signer } from "./signer.ts";
import type { State, StateAt } from "./state.ts";
import { deadlineMissed, type Inclusion, type Sender } from "./transactions.ts";

export interface TransactionOptions {
  /** The first block in which it is of use: what a reorganisation put into an earlier one is sent again. */
  readonly from?: number;
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
    hint: `Register it: \`btcli subnets register --netuid ${netuid}\`; on a local chain use its development accounts.`,
  });
}

function spaceExhausted(used: number, limit: number, again: number): ConnitoError {
  return new ConnitoError(
    `the hotkey has written ${used} of the ${limit} bytes that an epoch allows; the record fits from block ${again} on`,
    {
      code: "space-limit-exceeded",
      exit: "rejected",
      hint: `Try again at block ${again}. Another tool that writes commitments with this hotkey takes from the same space.`,
      retryable: true,
    },
  );
}

/** Where something happened in an already finalised block; its index is left out where the node no longer keeps the block's state. */
export async function finalizedAlready(
  { link, stateAt }: ChainParts,
  block: number,
  indexOf: (state: State) => Promise<number | undefined>,
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
 * Resolves when the record stands in a finalised block from `from` to `until`, at once where it does. Throws `not-registered`, `record-oversize`,
 * `space-limit-exceeded` (retryable; names the block), `deadline-missed`, and what Sender.send throws.
 */
export async function setCommitment(
  parts: ChainParts,
  signer: Signer,
  netuid: number,
  record: Uint8Array,
  { from = 0, until, signal }: TransactionOptions = {},
): Promise<Inclusion> {
  const { link, stateAt, tracker, sender } = parts;
  const call = commitmentCall(netuid, record);
  const what = "the record";

  /** Where the record stands, once that is final. */
  async function standing(best: State): Promise<Inclusion | undefined> {
    const current = await readCommitment(best, netuid, signer.address);
    if (current === undefined || !isRecord(current, record) || current.block < from) return undefined;
    let heads = await tracker.now(signal);
    while (heads.finalized < current.block) heads = await tracker.changed(heads, signal);
    const finalized = await stateAt(await hashOfFinalized(link, heads.finalized));
    const kept = await readCommitment(finalized, netuid, signer.address);
    if (kept === undefined || !isRecord(kept, record) || kept.block < from) return undefined; // the block that had it was orphaned
    if (until !== undefined && kept.block > until) throw deadlineMissed(what, until, `it was included in block ${kept.block}`);
    return finalizedAlready(parts, kept.block, (state) => commitmentIndex(state, netuid, signer.address));
  }

  /** Waits for the epoch in which there is room, where that is early enough. */
  async function awaitSpace(best: State): Promise<void> {
    const { used, limit, nextEpoch } = await readSpace(best, netuid, signer.address);
    if (used + spaceOf(record.length) <= limit) return;
    if (until === undefined || nextEpoch > until) throw spaceExhausted(used, limit, nextEpoch);
    let heads = await tracker.now(signal);
    while (heads.best + 1 < nextEpoch) heads = await tracker.changed(heads, signal);
  }

  /** What is looked up before each signing. */
  async function done(): Promise<Inclusion | undefined> {
    const best = await stateAt((await bestHead(link)).hash);
    const [uid] = await best.values<[number | undefined]>(["SubtensorModule", "Uids", netuid, signer.address]);
    if (uid === undefined) throw notRegistered(signer.address, netuid);
    const inclusion = await standing(best);
    if (inclusion === undefined) await awaitSpace(best);
    return inclusion;
  }

  for (let attempt = 1; ; attempt += 1) {
    try {
      return await sender.send({ what, signer, done, from, until, signal, call });
    } catch (error) {
      // another writer took the space meanwhile: look again how much there is, once
      const full = error instanceof ExtrinsicRejected && error.reason === "Commitments.SpaceLimitExceeded";
      if (!full || attempt > 1) throw error;
    }
  }
}
