/** What a localnet is started with, and what it is then. Free of heavy imports, for whoever only needs the types. */

import type { Fault } from "./faults/fault.ts";
import type { Genesis } from "./genesis.ts";

/** Blocks by which finality follows the head, as GRANDPA does on Subtensor. */
export const defaultFinalityLag = 2;

/** Finalised blocks whose state is kept: as many as the runtime knows the hashes of. */
export const defaultPruning = 2400;

export interface LocalnetOptions {
  /** 0 takes any free port. */
  readonly port: number;
  /** 127.0.0.1 when left out: anybody who reaches the port may use //Alice's sudo. */
  readonly host?: string;
  /** Milliseconds between blocks, 50 to 12,000. */
  readonly blockTime: number;
  /** 1 or more: polkadot.js loses the in-block status of what is included and finalised at once. */
  readonly finalityLag?: number;
  /** Where the blocks are kept over a restart; without it they are kept in memory only. */
  readonly stateDirectory?: string;
  readonly genesis?: Genesis;
  /** SCALE bytes of a metadata that others made, to be served and spoken by in place of the localnet's own. */
  readonly metadata?: Uint8Array;
  /** Finalised blocks whose state and bodies are kept; `archive` keeps all. Default 2,400, as many as eras reach back. */
  readonly pruning?: number | "archive";
  /** Serve `connito_injectFault` to whoever reaches the port. */
  readonly faults?: boolean;
}

export interface BlockReference {
  readonly number: number;
  readonly hash: string;
}

export interface Localnet {
  /** ws:// address; the same port answers JSON-RPC over HTTP POST. */
  readonly endpoint: string;
  readonly port: number;
  readonly genesisHash: string;
  best(): BlockReference;
  finalized(): BlockReference;
  /**
   * Makes a fault happen, or puts it in force.
   * @throws ConnitoError fault-impossible
   */
  inject(fault: Fault): void;
  /** Resolves when the localnet has ended: with undefined after stop(), with the error when it could not go on (a full disk). */
  readonly ended: Promise<unknown>;
  stop(): Promise<void>;
}
