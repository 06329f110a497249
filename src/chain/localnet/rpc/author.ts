/** author_*: extrinsics come in, and whoever watches one is told what becomes of it. */

import type { Localchain } from "../chain.ts";
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

/** Sends `ready` or `future`, then `inBlock`, then `finalized`; or what ended it before. */
function watch(chain: Localchain, extrinsic: Extrinsic, connection: Connection): string {
  const status = chain.submit(extrinsic);
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
      best(block) {
        if (includedIn === undefined && block.extrinsics.includes(extrinsic.bytes)) {
          includedIn = { hash: block.hash, number: block.header.number };
          send({ inBlock: block.hash });
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

export function authorMethods(chain: Localchain): Methods {
  return {
    author_submitExtrinsic: ([value]) => {
      const extrinsic = extrinsicParameter(chain, value);
      chain.submit(extrinsic);
      return extrinsic.hash;
    },
    author_submitAndWatchExtrinsic: ([value], connection) => watch(chain, extrinsicParameter(chain, value), connection),
    author_unwatchExtrinsic: ([id], connection) => connection.unsubscribe(String(id)),
    author_pendingExtrinsics: () => chain.pool.pending().map(({ bytes }) => bytes),
  };
}
