/**
 * Weights by commit and reveal, as most subnets of mainnet want them: first the hash of the weights with a salt, then, some epochs later and within
 * one epoch, what was hashed. Who has lost the salt can never reveal: keep it durable before the commit.
 *
 * Time-locked commits, which the chain opens by itself, are not made here: they are encrypted to a future round of the drand beacon in a form for
 * which there is no implementation in JavaScript (docs/chain.md).
 */
import { ConnitoError } from "../errors.ts";
import { publicKeyOf } from "../protocol/hotkey.ts";
import { type Epochs, readEpochs } from "./epochs.ts";
import { bestHead, hashOfFinalized } from "./heads.ts";
import { loadCodecLibrary } from "./metadata.ts";
import { type ChainParts, finalizedAlready, type TransactionOptions } from "./set-commitment.ts";
import { readStanding } from "./set-weights.ts";
import type { Signer } from "./signer.ts";
import { hexOf, type State } from "./state.ts";
import type { Weight } from "./subnet.ts";
import type { Inclusion } from "./transactions.ts";
import { allowedFrom, checkWeights, rateLimited, stands } from "./weights-rules.ts";

/** What is hashed now and shown later. */
export interface SealedWeights {
  readonly weights: readonly Weight[];
  /** The version of the weights' rules, not below the subnet's. */
  readonly versionKey: bigint;
  /** An even number of random bytes, at least 16. */
  readonly salt: Uint8Array;
}

export interface WeightsCommit extends Inclusion {
  /** The first and the last block that may include the reveal. */
  readonly reveal: { readonly from: number; readonly until: number };
}

/** How many commits the chain keeps for a hotkey until the first is revealed or has expired. */
const mostUnrevealed = 10;

interface StoredCommit {
  readonly hash: string;
  readonly block: number;
  readonly epoch: number;
}

/** As the chain keeps it: hash, block, and its first window; where the chain counts its epochs: hash, epoch, block, nothing. */
type CommitFields = readonly [hash: string, first: bigint, second: bigint, third: bigint];

function saltWords(salt: Uint8Array): number[] {
  return Array.from({ length: salt.length / 2 }, (_, index) => (salt[2 * index] as number) | ((salt[2 * index + 1] as number) << 8));
}

/** blake2_256 of the SCALE of (hotkey, netuid, uids, values, salt, version key), as `0x` text. */
export async function weightsHash(hotkey: string, netuid: number, { weights, versionKey, salt }: SealedWeights): Promise<string> {
  const { Blake2256, Tuple, u16, u64, Vector } = await loadCodecLibrary();
  const list = Vector(u16);
  const rest = Tuple(u16, list, list, list, u64).enc([
    netuid,
    weights.map(({ uid }) => uid),
    weights.map(({ weight }) => weight),
    saltWords(salt),
    versionKey,
  ]);
  return hexOf(Blake2256(Buffer.concat([publicKeyOf(hotkey), rest])));
}

function storedCommit([hash, first, second]: CommitFields, epochs: Epochs): StoredCommit {
  if (epochs.counted) return { hash, epoch: Number(first), block: Number(second) };
  return { hash, block: Number(first), epoch: epochs.at(Number(first)) };
}

interface Commits {
  readonly epochs: Epochs;
  readonly commits: readonly StoredCommit[];
}

async function readCommits(state: State, netuid: number, hotkey: string): Promise<Commits> {
  const [epochs, [fields]] = await Promise.all([
    readEpochs(state, netuid),
    state.values<[CommitFields[] | undefined]>(["SubtensorModule", "WeightCommits", netuid, hotkey]),
  ]);
  return { epochs, commits: (fields ?? []).map((one) => storedCommit(one, epochs)) };
}

/** The blocks that may include the reveal of a commit: all of the epoch so many epochs later, by the hyperparameters that hold now. */
function revealWindow(epochs: Epochs, period: number, epoch: number): WeightsCommit["reveal"] {
  return { from: epochs.firstBlockOf(epoch + period), until: epochs.firstBlockOf(epoch + period + 1) - 1 };
}

function refused(code: string, message: string, hint: string, retryable = false): ConnitoError {
  return new ConnitoError(message, { code, exit: "rejected", hint, retryable });
}

/**
 * Resolves when the commit stands in a finalised block, at once where it does.
 *
 * Throws what set-weights.ts does for weights that the chain would refuse, `commit-reveal-disabled`, `weights-commits-full` (both retryable), and
 * what Sender.send throws.
 */
export async function commitWeights(
  parts: ChainParts,
  signer: Signer,
  netuid: number,
  sealed: SealedWeights,
  { until, signal }: TransactionOptions = {},
): Promise<WeightsCommit> {
  const { link, stateAt, tracker, sender } = parts;
  const commitHash = await weightsHash(signer.address, netuid, sealed);
  /** Known by the head where the commit stood already: the node may have forgotten the state of its block. */
  let known: WeightsCommit["reveal"] | undefined;

  async function done(): Promise<Inclusion | undefined> {
    const head = await bestHead(link);
    const state = await stateAt(head.hash);
    const [standing, { epochs, commits }] = await Promise.all([
      readStanding(state, netuid, signer.address),
      readCommits(state, netuid, signer.address),
    ]);
    const { hyperparameters } = standing.subnet;
    const windowOf = ({ epoch }: StoredCommit) => revealWindow(epochs, hyperparameters.revealPeriodEpochs, epoch);
    const stored = commits.find(({ hash }) => hash === commitHash);
    if (stored !== undefined) {
      const { block } = stored;
      let heads = await tracker.now(signal);
      while (heads.finalized < block) heads = await tracker.changed(heads, signal);
      const finalized = await readCommits(await stateAt(await hashOfFinalized(link, heads.finalized)), netuid, signer.address);
      if (finalized.commits.some(({ hash }) => hash === commitHash)) {
        known = windowOf(stored);
        return finalizedAlready(parts, block, async () => undefined);
      }
    }
    if (!hyperparameters.commitRevealEnabled) {
      const hint = "Set them plainly; the subnet's owner changed this just now.";
      throw refused("commit-reveal-disabled", `subnet ${netuid} takes plain weights`, hint, true);
    }
    checkWeights(sealed.weights, sealed.versionKey, standing);
    const allowed = allowedFrom(standing);
    if (head.number + 1 < allowed) throw rateLimited(allowed);
    const live = commits.filter((commit) => windowOf(commit).until > head.number);
    if (live.length >= mostUnrevealed) {
      const hint = "Reveal the first of them when its epoch comes; the chain keeps no more.";
      throw refused("weights-commits-full", `${live.length} commits of this hotkey are not revealed yet`, hint, true);
    }
    return undefined;
  }

  const inclusion = await sender.send({
    what: "the commit of weights",
    signer,
    done,
    until,
    signal,
    call: { pallet: "SubtensorModule", name: "commit_weights", args: { netuid, commit_hash: commitHash } },
  });
  if (known !== undefined) return { ...inclusion, reveal: known };
  const state = await stateAt(inclusion.hash);
  const [{ subnet }, epochs] = await Promise.all([readStanding(state, netuid, signer.address), readEpochs(state, netuid)]);
  return { ...inclusion, reveal: revealWindow(epochs, subnet.hyperparameters.revealPeriodEpochs, epochs.at(inclusion.block)) };
}

/**
 * Resolves when the committed weights stand in a finalised block; where they stand already, with the finalised block at which that was seen.
 *
 * Throws `weights-reveal-early` (retryable; names the block), `weights-commit-lost` when its epoch is over or the chain does not have it, `weights-*`
 * where the subnet changed so that it would be refused, and what Sender.send throws.
 */
export async function revealWeights(
  parts: ChainParts,
  signer: Signer,
  netuid: number,
  sealed: SealedWeights,
  { signal }: TransactionOptions = {},
): Promise<Inclusion> {
  const { link, stateAt, tracker, sender } = parts;
  const { weights, versionKey, salt } = sealed;
  const commitHash = await weightsHash(signer.address, netuid, sealed);

  async function done(): Promise<Inclusion | undefined> {
    const head = await bestHead(link);
    const state = await stateAt(head.hash);
    const [standing, { epochs, commits }] = await Promise.all([
      readStanding(state, netuid, signer.address),
      readCommits(state, netuid, signer.address),
    ]);
    const stored = commits.find(({ hash }) => hash === commitHash);
    if (stored === undefined) {
      const { finalized } = await tracker.now(signal);
      const hash = await hashOfFinalized(link, finalized);
      const final = await readStanding(await stateAt(hash), netuid, signer.address);
      if (stands(weights, final.row)) return { block: finalized, hash, extrinsicIndex: undefined, already: true };
      if (stands(weights, standing.row)) return awaitFinal();
    }
    const window =
      stored === undefined ? undefined : revealWindow(epochs, standing.subnet.hyperparameters.revealPeriodEpochs, stored.epoch);
    if (window === undefined || head.number >= window.until) {
      const when = window === undefined ? "" : `: it could be revealed up to block ${window.until}`;
      throw refused("weights-commit-lost", `the chain no longer has the commit of these weights${when}`, "The next weights replace it.");
    }
    if (head.number + 1 < window.from)
      throw refused("weights-reveal-early", `these weights may be revealed from block ${window.from} on`, "Try again then.", true);
    checkWeights(weights, versionKey, standing);
    return undefined;
  }

  /** A reveal that only the best block has: asked again at the next finalised one. */
  async function awaitFinal(): Promise<Inclusion | undefined> {
    await tracker.changed(await tracker.now(signal), signal);
    return done();
  }

  return sender.send({
    what: "the reveal of weights",
    signer,
    done,
    signal,
    call: {
      pallet: "SubtensorModule",
      name: "reveal_weights",
      args: {
        netuid,
        uids: weights.map(({ uid }) => uid),
        values: weights.map(({ weight }) => weight),
        salt: saltWords(salt),
        version_key: versionKey,
      },
    },
  });
}
