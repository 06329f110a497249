/** The faults that are in force: what the pool, the author of blocks and the server ask before they go on. */

import type { Hex } from "../metadata/scale.ts";
import { RpcError } from "../pool.ts";
import type { Extrinsic } from "../runtime/extrinsic.ts";
import { type CheckedFault, type Refusal, refusals } from "./fault.ts";

export interface FaultPlan {
  /** Puts a fault in force that needs nothing but time and transactions. */
  schedule(fault: Extract<CheckedFault, { kind: "drop" | "hold" | "refuse" | "delay" | "rate-limit" }>): void;
  heal(): void;
  /** Asked before a transaction comes into the pool. @throws RpcError where it is refused */
  beforePool(): void;
  /** Asked when one is in the pool. @returns whether it is to be lost again */
  afterPool(extrinsic: Extrinsic, nextBlock: number): boolean;
  mayInclude(extrinsic: Extrinsic, block: number): boolean;
  /** Milliseconds by which answers are late. */
  latency(): number;
  /** A counter for one connection: whether it may ask once more. */
  limiter(): () => boolean;
}

const refusalWords: Readonly<Record<Refusal, readonly [message: string, data?: string]>> = {
  invalid: ["Invalid Transaction", "Transaction has a bad signature"],
  unknown: ["Unknown Transaction Validity", "Could not validate: the runtime trapped"],
  banned: ["Transaction is temporarily banned"],
  priority: ["Priority is too low: (1 vs 1)", "The transaction has too low priority to replace another transaction already in the pool."],
  full: ["Immediately Dropped", "The transaction couldn't enter the pool because of the limit"],
};

export function createFaultPlan(now: () => number = Date.now): FaultPlan {
  let drops = 0;
  let holds = { count: 0, blocks: 0 };
  let refused: { count: number; reason: Refusal } = { count: 0, reason: "full" };
  let delay = { milliseconds: 0, until: 0 };
  let limit = { perSecond: 0, until: 0 };
  /** First block that may include what is held. */
  const held = new Map<Hex, number>();

  return {
    schedule(fault) {
      switch (fault.kind) {
        case "drop":
          drops = fault.count;
          break;
        case "hold":
          holds = { count: fault.count, blocks: fault.blocks };
          break;
        case "refuse":
          refused = { count: fault.count, reason: fault.reason };
          break;
        case "delay":
          delay = { milliseconds: fault.milliseconds, until: now() + fault.seconds * 1000 };
          break;
        case "rate-limit":
          limit = { perSecond: fault.perSecond, until: now() + fault.seconds * 1000 };
          break;
      }
    },
    heal() {
      drops = 0;
      holds = { count: 0, blocks: 0 };
      refused = { count: 0, reason: "full" };
      delay = { milliseconds: 0, until: 0 };
      limit = { perSecond: 0, until: 0 };
      held.clear();
    },
    beforePool() {
      if (refused.count > 0) {
        refused.count--;
        const [message, data] = refusalWords[refused.reason];
        throw new RpcError(refusals[refused.reason], message, data);
      }
    },
    afterPool({ hash }, nextBlock) {
      if (drops > 0) {
        drops--;
        return true;
      }
      if (holds.count > 0) {
        holds.count--;
        held.set(hash, nextBlock + holds.blocks);
      }
      return false;
    },
    mayInclude({ hash }, block) {
      if (block < (held.get(hash) ?? 0)) {
        return false;
      }
      held.delete(hash);
      return true;
    },
    latency: () => (now() < delay.until ? delay.milliseconds : 0),
    limiter() {
      let second = 0;
      let asked = 0;
      return () => {
        if (now() >= limit.until) {
          return true;
        }
        const current = Math.floor(now() / 1000);
        if (current !== second) {
          second = current;
          asked = 0;
        }
        return ++asked <= limit.perSecond;
      };
    },
  };
}
