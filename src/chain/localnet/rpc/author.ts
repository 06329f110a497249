/** author_*: extrinsics come in, and whoever watches one is told what becomes of it. */

import type { Localchain } from "../chain.ts";
import type { FaultPlan } from "../faults/plan.ts";
import type { Hex } from "../metadata/scale.ts";
import { poolErrorCodes, RpcError } from "../pool.ts";
import { decodeExtrinsic, type Extrinsic, maximumExtrinsicBytes } from "../runtime/extrinsic.ts";
import type { Connection, Methods } from "./connection.ts";
import { hexParameter } from "./parameters.ts";

function extrinsicParameter(chain: Localchain, value: unknown): Extrinsic {
  const bytes = hexParameter(value, "extrinsic", maximumExtrinsicBytes);
  try {
    return decodeExtrinsic(chain.runtime.metadata.registry, bytes);
  } catch {
    throw new RpcError(poolErrorCodes.badFormat, "Extrinsic has invalid format: Codec error");
  }
}

function submit(chain: Localchain, plan: FaultPlan, extrinsic: Extrinsic): "ready" | "future" {
  plan.beforePool();
  const status = chain.submit(extrinsic);
  if (plan.afterPool(extrinsic, chain.best().header.number + 1)) {
    chain.pool.lose(extrinsic.hash);
  }
  return status;
}

/** Finalised blocks are waited for this long, as Substrate does. */
const longestWaitForFinality = 512;

/**
 * Sends `ready` or `future`, then `inBlock`, then `finalized`; or what ended it before. A reorganisation sends `retracted`, and it
 * begins again.
 */
function watch(chain: Localchain, plan: FaultPlan, extrinsic: Extrinsic, connection: Connection): string {
  const status = submit(chain, plan, extrinsic);
  return connection.subscribe("author_extrinsicUpdate", (send, end) => {
    let includedIn: { hash: Hex; number: number } | undefined;
    send(status);
    const stopPool = chain.pool.watch(extrinsic.hash, (update) => {
      send(update);
      if (update !== "ready" && update !== "future") {
        end();
      }
    });
    const stopChain = chain.listen({
      retracted(block) {
        if (includedIn?.hash === block.hash) {
          includedIn = undefined;
          send({ retracted: block.hash });
        }
      },
      enacted(block) {
        if (includedIn === undefined && block.extrinsics.includes(extrinsic.bytes)) {
          includedIn = { hash: block.hash, number: block.header.number };
          send({ inBlock: block.hash });
        }
      },
      best(block) {
        if (includedIn !== undefined && block.header.number >= includedIn.number + longestWaitForFinality) {
          send({ finalityTimeout: includedIn.hash });
          end();
        }
      },
      finalized(block) {
        if (includedIn !== undefined && block.header.number === includedIn.number) {
          send({ finalized: includedIn.hash });
          end();
        }
      },
    });
    return () => {
      stopPool();
      stopChain();
    };
  });
}

export function authorMethods(chain: Localchain, plan: FaultPlan): Methods {
  return {
    author_submitExtrinsic: ([value]) => {
      const extrinsic = extrinsicParameter(chain, value);
      submit(chain, plan, extrinsic);
      return extrinsic.hash;
    },
    author_submitAndWatchExtrinsic: ([value], connection) => watch(chain, plan, extrinsicParameter(chain, value), connection),
    author_unwatchExtrinsic: ([id], connection) => connection.unsubscribe(String(id)),
    author_pendingExtrinsics: () => chain.pool.pending().map(({ bytes }) => bytes),
  };
}
