/** How a block comes to be: the inherents, what the pool holds ready, and a header over the outcome. */

import { ConnitoError } from "../../errors.ts";
import { type Block, extrinsicsRootOf, type Header, headerHash, noteLog, slotLog, stateRootAfter } from "./blocks.ts";
import type { Hex } from "./metadata/scale.ts";
import type { Pool } from "./pool.ts";
import { decodeExtrinsic, type Extrinsic } from "./runtime/extrinsic.ts";
import type { Changes, Ledger, StateReader } from "./runtime/ledger.ts";
import type { Runtime } from "./runtime/runtime.ts";
import { systemStorage, zeroHash } from "./runtime/system.ts";
import { timestampStorage } from "./runtime/timestamp.ts";

/** The most extrinsics a block takes, so that a block stays small and quick. */
const maximumExtrinsicsPerBlock = 1000;
const maximumBlockBytes = 5 * 1024 * 1024;

export interface Built {
  readonly block: Block;
  readonly changes: Changes;
}

export interface Authoring {
  genesis(state: Changes): Block;
  /**
   * @param now Unix milliseconds; moved forward where it would not be later than the parent's
   * @param note bytes that make the block another one than its like
   */
  build(parent: Block, state: StateReader, now: number, options?: { readonly pool?: Pool; readonly note?: Hex }): Built;
  /** @throws ConnitoError localnet-log-corrupt where the block's hash is not its header's */
  verify(block: Block): void;
}

export interface AuthoringOptions {
  /** Says of what is ready whether it may go in the block with this number. */
  readonly mayInclude?: (extrinsic: Extrinsic, block: number) => boolean;
}

export const nonceIn = (ledger: Ledger) => (account: Hex) => ledger.get(systemStorage.Account, account).nonce;

export function createAuthoring(runtime: Runtime, { mayInclude = () => true }: AuthoringOptions): Authoring {
  const { codec, registry } = runtime.metadata;

  function blockWith(header: Header, extrinsics: readonly Hex[]): Block {
    return { hash: headerHash(codec, header), header, extrinsics };
  }

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
  function fill(ledger: ReturnType<Runtime["initialize"]>, extrinsics: Hex[], pool: Pool): void {
    let bytes = 0;
    for (const { extrinsic } of pool.ready(nonceIn(ledger))) {
      if (!mayInclude(extrinsic, ledger.block)) {
        continue;
      }
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
    genesis(state) {
      const stateRoot = stateRootAfter(codec, zeroHash, state);
      return blockWith({ parentHash: zeroHash, number: 0, stateRoot, extrinsicsRoot: extrinsicsRootOf(codec, []), logs: [] }, []);
    },
    build(parent, state, now, { pool, note } = {}) {
      const number = parent.header.number + 1;
      const ledger = runtime.initialize(state, number, parent.hash);
      const time = Math.max(now, Number(ledger.get(timestampStorage.Now)) + 1);
      const extrinsics: Hex[] = [];
      for (const inherent of runtime.inherents(ledger, time)) {
        runtime.apply(ledger, decodeExtrinsic(registry, inherent), extrinsics.length);
        extrinsics.push(inherent);
      }
      if (pool !== undefined) {
        fill(ledger, extrinsics, pool);
      }
      runtime.finalize(ledger);
      const { changes } = ledger;
      const slot = slotLog(codec, BigInt(Math.floor(time / runtime.blockTime)));
      const header: Header = {
        parentHash: parent.hash,
        number,
        stateRoot: stateRootAfter(codec, parent.header.stateRoot, changes),
        extrinsicsRoot: extrinsicsRootOf(codec, extrinsics),
        logs: note === undefined ? [slot] : [slot, noteLog(codec, note)],
      };
      return { block: blockWith(header, extrinsics), changes };
    },
    verify({ header, hash }) {
      if (headerHash(codec, header) !== hash) {
        throw brokenLine(header.number);
      }
    },
  };
}

export function brokenLine(number: number): ConnitoError {
  return new ConnitoError(`Block ${number} of the localnet's log does not follow the block before it`, {
    code: "localnet-log-corrupt",
    exit: "storage",
    hint: "Start the localnet with another state directory, or restore this one from a copy.",
  });
}
