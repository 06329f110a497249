/**
 * What every step is given: the doors to the outside (chain, workspace, peers), who is acting, and how to report and stop.
 * A step is a function (context, input) -> plain result; commands and the cycle runner call the same one. Steps are idempotent: they
 * find what is already done, do the rest, and say so.
 */

import type { Chain } from "../chain/client.ts";
import type { Signer } from "../chain/signer.ts";
import type { Progress } from "../ui/progress.ts";
import type { Workspace } from "../workspace/workspace.ts";
import type { ChainClock } from "./clock.ts";

export interface Context {
  readonly workspace: Workspace;
  readonly chain: Chain;
  readonly clock: ChainClock;
  readonly netuid: number;
  /** The hotkey that signs transactions, requests and reports. */
  readonly signer: Signer;
  /** Where others find what this participant publishes: `http://…` served by `cycle run`, or `file:/…`, a directory that steps copy into. */
  readonly locator?: string;
  /** Locators to ask before those found on the chain. */
  readonly peers: readonly string[];
  /** Threads of the compute engine. */
  readonly threads: number;
  /** Bytes of memory that training may take; what is free where absent. */
  readonly memory?: number;
  /** A program that trains in the engine's place, with its arguments. */
  readonly trainer?: readonly string[];
  /** A program that measures losses in the engine's place, with its arguments. */
  readonly scorer?: readonly string[];
  readonly progress: Progress;
  /** Aborted when the process is asked to stop. */
  readonly signal: AbortSignal;
}
