/**
 * The chain itself: makes a block of what the pool holds, keeps it, lets finality follow some blocks behind, and tells listeners.
 * One author makes one line of blocks; a branch beside it is made on command, as a node sees one that others made. No timers here:
 * whoever owns the chain says when.
 */

import { randomBytes } from "node:crypto";
import { u8aToHex } from "@polkadot/util";
import { type AuthoringOptions, type Built, brokenLine, createAuthoring, nonceIn } from "./authoring.ts";
import type { BlockLog } from "./block-log.ts";
import { type BlockTree, createBlockTree } from "./block-tree.ts";
import type { Block, Header } from "./blocks.ts";
import type { Hex } from "./metadata/scale.ts";
import { createPool, type Pool } from "./pool.ts";
import { decodeExtrinsic, type Extrinsic } from "./runtime/extrinsic.ts";
import { blake2Hex } from "./runtime/hashing.ts";
import { type Changes, createLedger, type Ledger } from "./runtime/ledger.ts";
import type { Runtime } from "./runtime/runtime.ts";
import { systemStorage } from "./runtime/system.ts";
import type { StateView } from "./state.ts";

export interface ChainListener {
  /** A block came, on the line of best blocks or beside it. */
  imported?(block: Block): void;
  /** A block left the line of best blocks; the last one first. */
  retracted?(block: Block): void;
  /** A block joined the line of best blocks; in order. */
  enacted?(block: Block): void;
  /** The best block is another one. */
  best?(block: Block): void;
  finalized?(block: Block): void;
}

export interface Localchain {
  readonly runtime: Runtime;
  readonly pool: Pool;
  best(): Block;
  finalized(): Block;
  genesis(): Block;
  /** On the line of best blocks. */
  blockAt(number: number): Block | undefined;
  hashAt(number: number): Hex | undefined;
  blockOf(hash: Hex): Block | undefined;
  headerOf(hash: Hex): Header | undefined;
  /** Undefined where the state is pruned, or the block unknown. */
  stateOf(hash: Hex): StateView | undefined;
  /** Typed reading of the state after a block that is not pruned. What is written to it is lost. */
  ledgerAt(block: Block): Ledger;
  /** A ledger as the next block would begin with, to judge transactions on. */
  nextLedger(): Ledger;
  /** @throws RpcError */
  submit(extrinsic: Extrinsic): "ready" | "future";
  /** Makes the next block. @param now Unix milliseconds; moved forward where it would not be later than the parent's */
  produce(now: number): Block;
  /**
   * A longer branch comes that leaves the best line `depth` blocks below the head; it holds no transactions. Those of the blocks that
   * are lost return to the pool, or vanish with the blocks.
   * @returns false, having changed nothing, where finality has passed the block that the branch would leave from
   */
  fork(depth: number, lost: "return" | "vanish"): boolean;
  /** Finality stays where it is until the head has this number. */
  stallFinality(until: number): void;
  /** Forgets every transaction that waits, and tells nobody, as a node does that is restarted. */
  forgetPool(): void;
  listen(listener: ChainListener): () => void;
}

export interface ChainOptions extends AuthoringOptions {
  readonly runtime: Runtime;
  readonly genesisState: Changes;
  /** Blocks by which finality follows the head. */
  readonly finalityLag: number;
  /** Finalised blocks whose state and bodies are kept; all of them when left out. */
  readonly kept?: number;
  readonly log?: BlockLog;
}

export function createChain(options: ChainOptions): Localchain {
  const { runtime, genesisState, finalityLag, kept = Number.POSITIVE_INFINITY, log } = options;
  const { codec, registry } = runtime.metadata;
  const authoring = createAuthoring(runtime, options);
  const listeners = new Set<ChainListener>();
  const pool = createPool();
  const genesis = authoring.genesis(genesisState);
  let stalledUntil = 0;
  let tree: BlockTree = createBlockTree(genesis, genesisState, { genesis, kept });

  for (const { block, changes, finalized, isBase } of log?.restore(genesis.hash) ?? []) {
    authoring.verify(block);
    if (isBase) {
      tree = createBlockTree(block, changes, { genesis, kept });
    } else if (tree.stateOf(block.header.parentHash) === undefined) {
      throw brokenLine(block.header.number);
    } else {
      tree.add(block, changes);
      tree.finalize(Math.max(tree.finalized().header.number, finalized ?? block.header.number - finalityLag));
    }
  }

  const stateOf = (block: Block): StateView => tree.stateOf(block.hash) as StateView;
  const ledgerAt = (block: Block): Ledger => createLedger(codec, block.header.number, stateOf(block));

  function nextLedger(): Ledger {
    const parent = tree.best();
    const ledger = createLedger(codec, parent.header.number + 1, stateOf(parent));
    ledger.set(systemStorage.BlockHash, [parent.header.number], parent.hash);
    return ledger;
  }

  const validate = (extrinsic: Extrinsic) => runtime.validate(nextLedger(), extrinsic);

  function tell(event: keyof ChainListener, blocks: readonly Block[]): void {
    for (const block of blocks) {
      for (const listener of listeners) {
        listener[event]?.(block);
      }
    }
  }

  /** The number that is final when the head has the given one. */
  const finalityBelow = (head: number): number => Math.max(tree.finalized().header.number, head < stalledUntil ? 0 : head - finalityLag);

  /** The transactions of a block; the first of its extrinsics is the inherent, which was never in the pool. */
  const transactionsOf = ({ extrinsics }: Block): readonly Hex[] => extrinsics.slice(1);

  /** Keeps a block that was made, and says what it changed. What the best line has lost is the caller's to see to. */
  function keep({ block, changes }: Built): readonly Block[] {
    const target = finalityBelow(Math.max(tree.best().header.number, block.header.number));
    log?.append(block, changes, target);
    const { retracted, enacted } = tree.add(block, changes);
    for (const included of enacted.flatMap(transactionsOf)) {
      pool.remove(blake2Hex(included), "included");
    }
    const passed = tree.finalize(target);
    tell("imported", [block]);
    tell("retracted", retracted);
    tell("enacted", enacted);
    tell("best", enacted.slice(-1));
    tell("finalized", passed);
    if (log?.isDue() === true && kept !== Number.POSITIVE_INFINITY) {
      const oldest = tree.oldest();
      log.compact(oldest.block, oldest.state);
    }
    return retracted;
  }

  function prunePool(): void {
    pool.prune(tree.best().header.number + 1, nonceIn(nextLedger()));
  }

  return {
    runtime,
    pool,
    best: tree.best,
    finalized: tree.finalized,
    genesis: () => genesis,
    blockAt: tree.byNumber,
    hashAt: tree.hashAt,
    blockOf: tree.byHash,
    headerOf: tree.header,
    stateOf: tree.stateOf,
    ledgerAt,
    nextLedger,
    submit: (extrinsic) => pool.submit(extrinsic, validate),
    produce(now) {
      const parent = tree.best();
      const built = authoring.build(parent, stateOf(parent), now, { pool });
      keep(built);
      prunePool();
      return built.block;
    },
    fork(depth, lost) {
      const number = tree.best().header.number - depth;
      if (number < tree.finalized().header.number) {
        return false;
      }
      let parent = tree.byNumber(number) as Block;
      const retracted: Block[] = [];
      for (let added = 0; added <= depth; added++) {
        // As early as can be: the branch was there before it was heard of.
        const built = authoring.build(parent, stateOf(parent), 0, { note: u8aToHex(randomBytes(8)) });
        retracted.push(...keep(built));
        parent = built.block;
      }
      for (const bytes of retracted.reverse().flatMap(transactionsOf)) {
        pool.retract(decodeExtrinsic(registry, bytes), lost === "return" ? validate : undefined);
      }
      prunePool();
      return true;
    },
    stallFinality(until) {
      stalledUntil = until;
    },
    forgetPool: () => pool.clear(),
    listen(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}
