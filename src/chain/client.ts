/**
 * The one door to the chain: a Subtensor node over WebSocket, the embedded one or any other, seen through what participants need. Whatever is read is
 * read at a block that the caller names; whatever is written is reported once it is final.
 */
import type { Hotkey } from "../protocol/hotkey.ts";
import { orAborted } from "../waiting.ts";
import { chainUnreachable } from "./chain-errors.ts";
import { commitWeights, revealWeights, type SealedWeights, type WeightsCommit } from "./commit-weights.ts";
import { type ChainCommitment, readCommitments, readSpace, type Space } from "./commitments.ts";
import { commitmentIndex } from "./events.ts";
import {
  type BlockReference,
  bestHead,
  createHeadTracker,
  finalizedHead,
  followFinalized,
  followHeads,
  type Heads,
  hashOfFinalized,
} from "./heads.ts";
import { createLink, type Link, type LinkOptions } from "./link.ts";
import { loadCodecLibrary } from "./metadata.ts";
import { createRecent } from "./recent.ts";
import { createRuntimes, type Runtimes } from "./runtime.ts";
import { setCommitment, type TransactionOptions } from "./set-commitment.ts";
import { setWeights } from "./set-weights.ts";
import type { Signer } from "./signer.ts";
import { createStates, type StateAt } from "./state.ts";
import { type Hyperparameters, type Neuron, readSubnet, readWeights, type Subnet, type Weight } from "./subnet.ts";
import { createSender, type Inclusion, type Transaction } from "./transactions.ts";

export type { ChainCommitment } from "./commitments.ts";
export type { BlockReference, Heads } from "./heads.ts";
export type { TransactionOptions } from "./set-commitment.ts";
export type { Signer } from "./signer.ts";
export type { Hyperparameters, Neuron, Subnet, Weight } from "./subnet.ts";
export type { Inclusion } from "./transactions.ts";

export interface ConnectOptions extends LinkOptions {
  /** Milliseconds in which an endpoint must have answered. Default 15,000. */
  readonly timeout?: number;
  readonly signal?: AbortSignal;
  /** Told what an operator should know though nothing failed: that another process sends with the same hotkey. */
  readonly notice?: (message: string) => void;
  /** Milliseconds without a new block after which a transaction that is under way is no longer waited for. Default 300,000. */
  readonly stallLimit?: number;
}

/** Reads take the hash of the block (`at`) whose state is meant; the last blocks read are cached. */
export interface Chain {
  readonly genesisHash: string;
  /** The endpoint in use, undefined while the connection is lost. */
  endpoint(): string | undefined;
  finalizedHead(): Promise<BlockReference>;
  bestHead(): Promise<BlockReference>;
  /** Finalised heads, newest only, over lost connections, until the signal fires. */
  followFinalized(signal: AbortSignal): AsyncIterable<BlockReference>;
  /** Best and finalised heads, newest only, over lost connections, until the signal fires. */
  followHeads(signal: AbortSignal): AsyncIterable<Heads>;
  /** The hash of a block by number; the canonical one for finalised blocks. Throws `block-unknown`. */
  blockHash(number: number): Promise<string>;
  /** Owner, hyperparameters and neurons, in one round trip; `neurons`, `subnetOwnerHotkey` and `hyperparameters` are parts of it. */
  subnet(netuid: number, at: string): Promise<Subnet>;
  neurons(netuid: number, at: string): Promise<readonly Neuron[]>;
  subnetOwnerHotkey(netuid: number, at: string): Promise<Hotkey | undefined>;
  commitments(netuid: number, at: string): Promise<ChainCommitment[]>;
  /** The place in its block of the extrinsic that set a hotkey's commitment; undefined where none did. For ties within a block. */
  extrinsicIndex(of: { block: number; hotkey: Hotkey; netuid: number }): Promise<number | undefined>;
  hyperparameters(netuid: number, at: string): Promise<Hyperparameters>;
  /** Rows of weights by the uid that set them. */
  weights(netuid: number, at: string): Promise<Map<number, Weight[]>>;
  setCommitment(signer: Signer, netuid: number, record: Uint8Array, options?: TransactionOptions): Promise<Inclusion>;
  setWeights(
    signer: Signer,
    netuid: number,
    weights: readonly Weight[],
    versionKey: bigint,
    options?: TransactionOptions,
  ): Promise<Inclusion>;
  /** Where hyperparameters say `commitRevealEnabled`: first the commit, later the reveal of the same sealed weights. */
  commitWeights(signer: Signer, netuid: number, sealed: SealedWeights, options?: TransactionOptions): Promise<WeightsCommit>;
  revealWeights(signer: Signer, netuid: number, sealed: SealedWeights, options?: TransactionOptions): Promise<Inclusion>;
  /** Any other transaction, with the same care (development.ts). */
  send(transaction: Transaction): Promise<Inclusion>;
  /** How much of an epoch's space for commitments a hotkey has used. */
  space(netuid: number, hotkey: Hotkey, at: string): Promise<Space>;
  /** The wall clock of the block's author, in milliseconds since 1970. */
  timestamp(at: string): Promise<number>;
  /** The free balance of an account in rao. */
  balance(address: string, at: string): Promise<bigint>;
  /** Ends the connection; nothing of it keeps the process alive. */
  disconnect(): void;
}

/** Milliseconds for the chain's metadata to come and be understood; long on a busy machine. */
const readyLimit = 90_000;

/**
 * Connects to the first endpoint that answers. Throws `chain-unreachable` (retryable), `chain-changed` (endpoints of different chains),
 * `chain-unsupported` (not a Subtensor node), or the signal's reason.
 */
export async function connectChain(options: ConnectOptions): Promise<Chain> {
  const { timeout = 15_000, signal } = options;
  signal?.throwIfAborted();
  const link = createLink(options);
  loadCodecLibrary().catch(() => {}); // while the node answers; who needs it is told
  try {
    await link.connected(timeout, signal);
    const runtimes = createRuntimes(link);
    const expired = AbortSignal.timeout(readyLimit);
    await orAborted(runtimes.latest(), signal === undefined ? expired : AbortSignal.any([signal, expired])).catch((error) => {
      throw expired.aborted && signal?.aborted !== true
        ? chainUnreachable(options.endpoints, new Error("its metadata did not come"))
        : error;
    });
    return chainOver(link, runtimes, options);
  } catch (error) {
    link.close();
    throw error;
  }
}

function chainOver(link: Link, runtimes: Runtimes, { notice = () => {}, stallLimit = 300_000 }: ConnectOptions): Chain {
  const genesisHash = link.genesisHash() as string;
  const stateAt = createStates(link, runtimes);
  const tracker = createHeadTracker(link);
  const sender = createSender(link, runtimes, genesisHash, stateAt, tracker, { notice, stallLimit });
  const parts = { link, stateAt, tracker, sender };
  const cached = createRecent<string, Promise<unknown>>(64);

  /** A reader of a subnet at a block, its answers kept by block. */
  function pinned<T>(name: string, read: (state: Awaited<ReturnType<StateAt>>, netuid: number) => Promise<T>) {
    return (netuid: number, at: string): Promise<T> =>
      cached.get(`${name} ${netuid} ${at}`, async () => read(await stateAt(at), netuid)) as Promise<T>;
  }

  const subnet = pinned("subnet", readSubnet);
  const blockHash = (number: number): Promise<string> => hashOfFinalized(link, number);

  return {
    genesisHash,
    endpoint: link.endpoint,
    finalizedHead: () => finalizedHead(link),
    bestHead: () => bestHead(link),
    followFinalized: (signal) => followFinalized(link, tracker, signal),
    followHeads: (signal) => followHeads(link, tracker, signal),
    blockHash,
    subnet,
    neurons: async (netuid, at) => (await subnet(netuid, at)).neurons,
    subnetOwnerHotkey: async (netuid, at) => (await subnet(netuid, at)).ownerHotkey,
    commitments: pinned("commitments", readCommitments),
    hyperparameters: async (netuid, at) => (await subnet(netuid, at)).hyperparameters,
    weights: pinned("weights", readWeights),
    extrinsicIndex: async ({ block, hotkey, netuid }) => commitmentIndex(await stateAt(await blockHash(block)), netuid, hotkey),
    setCommitment: (signer, netuid, record, transaction) => setCommitment(parts, signer, netuid, record, transaction),
    setWeights: (signer, netuid, weights, versionKey, transaction) => setWeights(parts, signer, netuid, weights, versionKey, transaction),
    commitWeights: (signer, netuid, sealed, transaction) => commitWeights(parts, signer, netuid, sealed, transaction),
    revealWeights: (signer, netuid, sealed, transaction) => revealWeights(parts, signer, netuid, sealed, transaction),
    send: (transaction) => sender.send(transaction),
    space: async (netuid, hotkey, at) => readSpace(await stateAt(at), netuid, hotkey),
    timestamp: async (at) => {
      const [now] = await (await stateAt(at)).values<[bigint]>(["Timestamp", "Now"]);
      return Number(now);
    },
    balance: async (address, at) => {
      const [account] = await (await stateAt(at)).values<[{ readonly data: { readonly free: bigint } }]>(["System", "Account", address]);
      return account.data.free;
    },
    disconnect: link.close,
  };
}
