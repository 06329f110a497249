/**
 * Sending a transaction and knowing what became of it. The rules:
 *
 * - The outcome is the success or failure event in a *finalised* block; what the pool says on the way is a hint.
 * - A signed transaction is sent again only as the same bytes. Another is signed only when the first can no longer be included: its era is over, or
 *   a finalised block has used its nonce for something else. So nothing happens twice, whatever connection is lost at whatever moment.
 * - Before anything is signed, it is looked for on the chain and in the pool: an earlier run may have sent it.
 * - One signer's transactions take their nonces one after the other.
 * - With a last useful block, none is sent for a later one, and its passing is reported as `deadline-missed`.
 */
import { ConnitoError } from "../errors.ts";
import { ConnectionLost, RpcFailure } from "./chain-errors.ts";
import { type ChainEvent, readEvents } from "./events.ts";
import { bestHead, type HeadNumbers, type HeadTracker, hashOfBlock } from "./heads.ts";
import type { Link } from "./link.ts";
import type { Call } from "./metadata.ts";
import { createQueues } from "./queues.ts";
import { createRecent } from "./recent.ts";
import { type DispatchError, isTaken, rejectedByPool, rejectedByRuntime } from "./refusals.ts";
import type { Runtime, Runtimes } from "./runtime.ts";
import type { Signer } from "./signer.ts";
import { pendingOf, type SignedTransaction, signTransaction } from "./signing.ts";
import type { State, StateAt } from "./state.ts";
import { type Submission, submit } from "./submission.ts";

/** Where something happened on the chain; the block is finalised. */
export interface Inclusion {
  readonly block: number;
  readonly hash: string;
  /** Its place in the block; undefined where the node no longer keeps that block's events. */
  readonly extrinsicIndex: number | undefined;
  /** True when it had happened before this call, which then sent nothing. */
  readonly already: boolean;
}

export interface Transaction {
  /** What it is, for messages: "the commitment". */
  readonly what: string;
  readonly signer: Signer;
  /** The call, or how it is made where only the chain's metadata tells its arguments. */
  readonly call: Call | ((runtime: Runtime) => Call);
  /** Whether its effect stands already; asked before each signing. Without it the transaction is one that may well be made twice. */
  readonly done?: () => Promise<Inclusion | undefined>;
  /** The first block in which it is of use: it is sent again when a reorganisation put it into an earlier one. */
  readonly from?: number | undefined;
  /** The last block in which it is of use. */
  readonly until?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Looks at the events of the transaction once it succeeded, for what only they tell; may throw. */
  readonly inspect?: (state: State, events: readonly ChainEvent[]) => void;
}

export interface Sender {
  /**
   * Resolves when the transaction is finalised with success, or its effect was there already. Throws `extrinsic-rejected` (ExtrinsicRejected),
   * `deadline-missed`, `extrinsic-lost`, `chain-stalled`, `chain-unreachable`, or the signal's reason.
   */
  send(transaction: Transaction): Promise<Inclusion>;
}

/** Blocks for which a transaction without a deadline lives beyond the best block. */
const usualLifetime = 48;
/** Times that a transaction is signed before giving up. */
const attempts = 8;
/** Blocks after which a pool that should hold a transaction is given it once more: some lose one without a word. */
const reminder = 4;

interface Sent {
  readonly signed: SignedTransaction;
  /** Undefined when it is not known whether the pool has it. */
  readonly submission: Submission | undefined;
  /** The first block that may include it. */
  readonly from: number;
}

type Outcome = { readonly kind: "included"; readonly inclusion: Inclusion } | { readonly kind: "gone"; readonly reason: string };

function callOf({ call }: Transaction, runtime: Runtime): Call {
  return typeof call === "function" ? call(runtime) : call;
}

export function deadlineMissed(what: string, until: number, detail: string): ConnitoError {
  return new ConnitoError(`${what} missed its last useful block, ${until}: ${detail}`, {
    code: "deadline-missed",
    exit: "deadlineMissed",
    hint: "Nothing can be done for this cycle; `connito cycle status` shows when the next window opens. Start earlier, or use a closer endpoint.",
  });
}

export function createSender(
  link: Link,
  runtimes: Runtimes,
  genesisHash: string,
  stateAt: StateAt,
  tracker: HeadTracker,
  { notice, stallLimit }: { readonly notice: (message: string) => void; readonly stallLimit: number },
): Sender {
  const queues = createQueues();
  const extrinsicsOf = createRecent<number, Promise<{ hash: string; extrinsics: readonly string[] }>>(64);

  function tellOfAnother({ address }: Signer, nonce: number): void {
    notice(`Another process sends with the hotkey ${address}: it took nonce ${nonce}.`);
  }

  /** The extrinsics of a finalised block. */
  function finalizedBlock(number: number): Promise<{ hash: string; extrinsics: readonly string[] }> {
    return extrinsicsOf.get(number, async () => {
      const hash = await hashOfBlock(link, number);
      if (hash === undefined) throw new ConnectionLost(`the node is behind: it has no block ${number}`);
      const answer = await link.call<{ block: { extrinsics: string[] } } | null>("chain_getBlock", [hash]);
      if (answer === null) throw new ConnectionLost(`the node has not kept block ${number}`);
      return { hash, extrinsics: answer.block.extrinsics };
    });
  }

  async function nextHeads(from: HeadNumbers, { what, signal }: Transaction): Promise<HeadNumbers> {
    const stalled = AbortSignal.timeout(stallLimit);
    try {
      return await tracker.changed(from, signal === undefined ? stalled : AbortSignal.any([signal, stalled]));
    } catch (error) {
      if (!stalled.aborted || signal?.aborted === true) throw error;
      throw new ConnitoError(`no new block for ${stallLimit / 1000} s while ${what} was under way`, {
        code: "chain-stalled",
        exit: "network",
        hint: "Run the same command again when the chain moves: it looks for what was sent before it sends.",
        retryable: true,
      });
    }
  }

  /** Whether no further block can include it: a node calls its signature bad then, since it reckons with the next era's first block. */
  async function isOver({ lastBlock }: SignedTransaction): Promise<boolean> {
    return (await bestHead(link)).number >= lastBlock;
  }

  /** Signs with the next free nonce and sends; a signer's turns come one after the other. */
  function signAndSubmit(transaction: Transaction): Promise<Sent | { readonly refusal: string }> {
    const { signer, signal, until, what } = transaction;
    return queues.run(signer.address, async () => {
      const { best, finalized } = await tracker.now(signal);
      if (until !== undefined && best >= until) throw deadlineMissed(what, until, `the chain is at block ${best}`);
      const [runtime, hash, nonce] = await Promise.all([
        runtimes.latest(),
        hashOfBlock(link, finalized),
        link.call<number>("system_accountNextIndex", [signer.address]),
      ]);
      if (hash === undefined) return { refusal: "the endpoint is behind the chain" };
      const wanted = best - finalized + usualLifetime;
      const lifetime = until === undefined ? wanted : Math.min(wanted, until - finalized + 1);
      const anchor = { number: finalized, hash };
      const signed = await signTransaction(runtime, callOf(transaction, runtime), signer, { genesisHash, nonce, anchor, lifetime });
      signal?.throwIfAborted();
      const result = await submit(link, signed.hex);
      if (result.kind === "refused" && !(await isOver(signed))) throw rejectedByPool(result.failure, what);
      // the pool was asked for the next nonce just now: who has this one took it in between
      if (result.kind === "again" && isTaken(result.failure)) tellOfAnother(signer, nonce);
      if (result.kind === "refused" || result.kind === "outdated" || result.kind === "again") return { refusal: result.failure.message };
      return { signed, submission: result.kind === "sent" ? result.submission : undefined, from: finalized + 1 };
    });
  }

  /** What waits in the node's pool, as bytes. Nodes may keep it to themselves: then it seems empty. */
  async function readPool(): Promise<string[]> {
    try {
      return await link.call<string[]>("author_pendingExtrinsics", []);
    } catch (error) {
      if (error instanceof RpcFailure) return [];
      throw error;
    }
  }

  /** The same transaction, sent by an earlier run. */
  async function sentBefore(transaction: Transaction, pool: readonly string[]): Promise<Sent | undefined> {
    if (pool.length === 0) return undefined;
    const [{ best, finalized }, runtime] = await Promise.all([tracker.now(transaction.signal), runtimes.latest()]);
    const call = Buffer.from(runtime.codecs.encodeCall(callOf(transaction, runtime)));
    const signed = pendingOf(runtime.codecs, transaction.signer.address, pool, best).find((pending) => call.equals(pending.call));
    return signed === undefined ? undefined : { signed, submission: undefined, from: finalized + 1 };
  }

  /** Whether a finalised block has used the nonce. */
  async function nonceUsed({ signer }: Transaction, { nonce }: SignedTransaction, finalized: number): Promise<boolean> {
    const { hash } = await finalizedBlock(finalized);
    const [account] = await (await stateAt(hash)).values<[{ readonly nonce: number }]>(["System", "Account", signer.address]);
    return account.nonce > nonce;
  }

  async function readOutcome(
    { what, from = 0, until, inspect }: Transaction,
    block: number,
    hash: string,
    extrinsicIndex: number,
  ): Promise<Outcome> {
    const state = await stateAt(hash);
    const events = (await readEvents(state)).filter((event) => event.extrinsicIndex === extrinsicIndex);
    const outcome = events.find(({ pallet, name }) => pallet === "System" && (name === "ExtrinsicFailed" || name === "ExtrinsicSuccess"));
    if (outcome === undefined) throw new Error(`block ${block} does not say what became of its extrinsic ${extrinsicIndex}`);
    if (outcome.name === "ExtrinsicFailed")
      throw rejectedByRuntime(state, (outcome.data as { readonly dispatch_error: DispatchError }).dispatch_error, what);
    inspect?.(state, events);
    if (block < from) return { kind: "gone", reason: `a reorganisation put it into block ${block}, before ${from}` };
    if (until !== undefined && block > until) throw deadlineMissed(what, until, `it was included in block ${block}`);
    return { kind: "included", inclusion: { block, hash, extrinsicIndex, already: false } };
  }

  /** Follows finalised blocks until the transaction is in one, or can no longer be in any. */
  async function settle(transaction: Transaction, { signed, submission: first, from }: Sent): Promise<Outcome> {
    const { what, until, signal } = transaction;
    let submission = first;
    let next = from;
    let heard = 0;
    try {
      for (let heads = await tracker.now(signal); ; heads = await nextHeads(heads, transaction)) {
        try {
          for (; next <= heads.finalized; next += 1) {
            const { hash, extrinsics } = await finalizedBlock(next);
            const index = extrinsics.indexOf(signed.hex);
            if (index >= 0) return await readOutcome(transaction, next, hash, index);
          }
          if (until !== undefined && heads.finalized >= until) throw deadlineMissed(what, until, "no block up to it included it");
          if (heads.finalized >= signed.lastBlock) return { kind: "gone", reason: "its era ended before a block included it" };
          if (heard === 0) heard = heads.best;
          if (submission?.held() === true && heads.best < heard + reminder) continue;
          if (heads.best >= signed.lastBlock) continue; // finality tells whether a block took it in time
          heard = heads.best;
          const result = await submit(link, signed.hex);
          if (result.kind === "sent") {
            submission?.stop();
            submission = result.submission;
          } else if (result.kind === "outdated" || result.kind === "again") {
            if (await nonceUsed(transaction, signed, heads.finalized)) {
              tellOfAnother(transaction.signer, signed.nonce);
              return { kind: "gone", reason: "another transaction of the same hotkey took its nonce" };
            }
          } else if (result.kind === "refused" && !(await isOver(signed))) {
            throw rejectedByPool(result.failure, what);
          }
        } catch (error) {
          if (!(error instanceof ConnectionLost || (error instanceof ConnitoError && error.exit === 30 && error.retryable))) throw error;
        } // the connection is mended meanwhile; the next head tells
      }
    } finally {
      submission?.stop();
    }
  }

  return {
    async send(transaction) {
      const { what, signal } = transaction;
      let reason = "";
      for (let attempt = 1; attempt <= attempts; attempt += 1) {
        signal?.throwIfAborted();
        // the pool is read before the chain: what moves from the one to the other meanwhile is seen
        const pool = attempt === 1 && transaction.done !== undefined ? await readPool() : [];
        const done = await transaction.done?.();
        if (done !== undefined) return done;
        const sent = (await sentBefore(transaction, pool)) ?? (await signAndSubmit(transaction));
        if ("refusal" in sent) {
          reason = sent.refusal;
        } else {
          const outcome = await settle(transaction, sent);
          if (outcome.kind === "included") return outcome.inclusion;
          reason = outcome.reason;
        }
        await nextHeads(await tracker.now(signal), transaction);
      }
      throw new ConnitoError(`${what} was signed ${attempts} times and is in no block: ${reason}`, {
        code: "extrinsic-lost",
        exit: "network",
        hint: "Check that no other process sends with this hotkey, and try again or use another endpoint.",
        retryable: true,
      });
    },
  };
}
