/**
 * The chain itself: makes a block of what the pool holds, keeps it, lets finality follow some blocks behind, and tells
 * listeners. One line of blocks, since there is one author. No timers here: whoever owns the chain says when.
 */

import { ConnitoError } from "../../errors.ts";
import type { BlockLog } from "./block-log.ts";
import { type Block, extrinsicsRootOf, type Header, headerHash, slotLog, stateRootAfter } from "./blocks.ts";
import type { Hex } from "./metadata/scale.ts";
import { createPool, type Pool } from "./pool.ts";
import { decodeExtrinsic, type Extrinsic } from "./runtime/extrinsic.ts";
import { blake2Hex } from "./runtime/hashing.ts";
import { type Changes, createLedger, type Ledger } from "./runtime/ledger.ts";
import type { Runtime } from "./runtime/runtime.ts";
import { systemStorage, zeroHash } from "./runtime/system.ts";
import { timestampStorage } from "./runtime/timestamp.ts";
import { createState, type State } from "./state.ts";

export interface ChainListener {
  /** A block became the best. */
  best?(block: Block, changes: Changes): void;
  finalized?(block: Block): void;
}

export interface Localchain {
  readonly runtime: Runtime;
  readonly pool: Pool;
  readonly state: State;
  best(): Block;
  finalized(): Block;
  genesis(): Block;
  blockAt(number: number): Block | undefined;
  blockOf(hash: Hex): Block | undefined;
  /** Typed reading of the state after a block. What is written to it is lost. */
  ledgerAt(block: Block): Ledger;
  /** A ledger as the next block would begin with, to judge transactions on. */
  nextLedger(): Ledger;
  /** @throws RpcError */
  submit(extrinsic: Extrinsic): "ready" | "future";
  /** Makes the next block. @param now Unix milliseconds; moved forward where it would not be later than the parent's */
  produce(now: number): Block;
  listen(listener: ChainListener): () => void;
}

/** The most extrinsics a block takes, so that a block stays small and quick. */
const maximumExtrinsicsPerBlock = 1000;
const maximumBlockBytes = 5 * 1024 * 1024;

export interface ChainOptions {
  readonly runtime: Runtime;
  readonly genesisState: Changes;
  /** Blocks by which finality follows the head. */
  readonly finalityLag: number;
  readonly log?: BlockLog;
}

export function createChain({ runtime, genesisState, finalityLag, log }: ChainOptions): Localchain {
  const { codec, registry } = runtime.metadata;
  const state = createState();
  const blocks: Block[] = [];
  const numbers = new Map<Hex, number>();
  const listeners = new Set<ChainListener>();
  const pool = createPool();

  function keep(block: Block, changes: Changes): void {
    state.commit(block.header.number, changes);
    numbers.set(block.hash, block.header.number);
    blocks.push(block);
  }

  function blockWith(header: Header, extrinsics: readonly Hex[]): Block {
    return { hash: headerHash(codec, header), header, extrinsics };
  }

  keep(
    blockWith(
      {
        parentHash: zeroHash,
        number: 0,
        stateRoot: stateRootAfter(codec, zeroHash, genesisState),
        extrinsicsRoot: extrinsicsRootOf(codec, []),
        logs: [],
      },
      [],
    ),
    genesisState,
  );
  for (const { block, changes } of log?.restore((blocks[0] as Block).hash) ?? []) {
    if (block.header.parentHash !== best().hash || headerHash(codec, block.header) !== block.hash) {
      throw new ConnitoError(`Block ${block.header.number} of the localnet's log does not follow the block before it`, {
        code: "localnet-log-corrupt",
        exit: "storage",
        hint: "Start the localnet with another state directory, or restore this one from a copy.",
      });
    }
    keep(block, changes);
  }

  function best(): Block {
    return blocks.at(-1) as Block;
  }
  const finalized = (): Block => blocks[Math.max(0, blocks.length - 1 - finalityLag)] as Block;
  const ledgerAt = (block: Block): Ledger => createLedger(codec, block.header.number, state.at(block.header.number));

  function nextLedger(): Ledger {
    const parent = best();
    const ledger = createLedger(codec, parent.header.number + 1, state.at(parent.header.number));
    ledger.set(systemStorage.BlockHash, [parent.header.number], parent.hash);
    return ledger;
  }

  const nonceIn = (ledger: Ledger) => (account: Hex) => ledger.get(systemStorage.Account, account).nonce;

  /** @returns whether it is in the block; false when its turn has not come */
  function include(ledger: ReturnType<Runtime["initialize"]>, extrinsic: Extrinsic, index: number): boolean {
    const { nonce, nextNonce } = runtime.validate(ledger, extrinsic);
    if (nonce !== nextNonce) {
      return false;
    }
    ledger.transaction(() => runtime.apply(ledger, extrinsic, index));
    return true;
  }

  /**
   * Puts what is ready in the block being built, and takes out of the pool what has become invalid. What makes the runtime
   * fail is treated alike, as a real node treats an extrinsic that makes its runtime panic: it must not stop the chain.
   */
  function fill(ledger: ReturnType<Runtime["initialize"]>, extrinsics: Hex[]): void {
    let bytes = 0;
    for (const { extrinsic } of pool.ready(nonceIn(ledger))) {
      bytes += extrinsic.length;
      if (extrinsics.length >= maximumExtrinsicsPerBlock || bytes > maximumBlockBytes) {
        return;
      }
      try {
        if (include(ledger, extrinsic, extrinsics.length)) {
          extrinsics.push(extrinsic.bytes);
        }
      } catch {
        pool.remove(extrinsic.hash, "invalid");
      }
    }
  }

  return {
    runtime,
    pool,
    state,
    best,
    finalized,
    genesis: () => blocks[0] as Block,
    blockAt: (number) => blocks[number],
    blockOf: (hash) => blocks[numbers.get(hash) ?? -1],
    ledgerAt,
    nextLedger,
    submit: (extrinsic) => pool.submit(extrinsic, (judged) => runtime.validate(nextLedger(), judged)),
    produce(now) {
      const parent = best();
      const number = parent.header.number + 1;
      const ledger = runtime.initialize(state.at(parent.header.number), number, parent.hash);
      const time = Math.max(now, Number(ledger.get(timestampStorage.Now)) + 1);
      const extrinsics: Hex[] = [];
      for (const inherent of runtime.inherents(ledger, time)) {
        runtime.apply(ledger, decodeExtrinsic(registry, inherent), extrinsics.length);
        extrinsics.push(inherent);
      }
      fill(ledger, extrinsics);
      runtime.finalize(ledger);
      const { changes } = ledger;
      const block = blockWith(
        {
          parentHash: parent.hash,
          number,
          stateRoot: stateRootAfter(codec, parent.header.stateRoot, changes),
          extrinsicsRoot: extrinsicsRootOf(codec, extrinsics),
          logs: [slotLog(codec, BigInt(Math.floor(time / runtime.blockTime)))],
        },
        extrinsics,
      );
      log?.append(block, changes);
      const finalizedBefore = finalized().header.number;
      keep(block, changes);
      // The first is the inherent, which was never in the pool.
      for (const extrinsic of extrinsics.slice(1)) {
        pool.remove(blake2Hex(extrinsic), "included");
      }
      for (const listener of listeners) {
        listener.best?.(block, changes);
      }
      for (let next = finalizedBefore + 1; next <= finalized().header.number; next++) {
        for (const listener of listeners) {
          listener.finalized?.(blocks[next] as Block);
        }
      }
      pool.prune(number + 1, nonceIn(nextLedger()));
      return block;
    },
    listen(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}
