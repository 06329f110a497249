/** The node as a whole: the chain, its clock and its server. */

import { cryptoWaitReady } from "@polkadot/util-crypto";
import { openBlockLog } from "./block-log.ts";
import { createChain, type Localchain } from "./chain.ts";
import { genesisState } from "./genesis.ts";
import { defaultFinalityLag, type Localnet, type LocalnetOptions } from "./options.ts";
import { authorMethods } from "./rpc/author.ts";
import { chainMethods } from "./rpc/chain.ts";
import { startRpcServer } from "./rpc/server.ts";
import { stateMethods } from "./rpc/state.ts";
import { paymentMethods, systemMethods } from "./rpc/system.ts";
import { createRuntime } from "./runtime/runtime.ts";

/**
 * Makes a block every `blockTime` milliseconds. A slot that was missed, since the machine slept or was busy, is skipped and
 * not made up for, as on a real chain.
 */
function startClock(chain: Localchain, blockTime: number, onFailure: (error: unknown) => void): () => void {
  let timer: NodeJS.Timeout;
  let next = Date.now() + blockTime;
  const wait = (): void => {
    timer = setTimeout(tick, Math.max(0, next - Date.now()));
  };
  const tick = (): void => {
    try {
      chain.produce(Date.now());
    } catch (error) {
      onFailure(error);
      return;
    }
    const late = Date.now() - next;
    next += blockTime * (1 + Math.floor(Math.max(0, late) / blockTime));
    wait();
  };
  wait();
  return () => clearTimeout(timer);
}

/** @throws ConnitoError port-in-use, genesis-invalid, genesis-mismatch, localnet-log-corrupt, state-directory-unusable */
export async function startNode(options: LocalnetOptions): Promise<Localnet> {
  const { host = "127.0.0.1", port, blockTime, finalityLag = defaultFinalityLag, stateDirectory, genesis = {} } = options;
  await cryptoWaitReady();
  const runtime = createRuntime(blockTime);
  const log = stateDirectory === undefined ? undefined : openBlockLog(stateDirectory);
  try {
    const chain = createChain({
      runtime,
      genesisState: genesisState(runtime, genesis),
      finalityLag,
      ...(log === undefined ? {} : { log }),
    });
    const methods = {
      ...chainMethods(chain),
      ...stateMethods(chain),
      ...authorMethods(chain),
      ...systemMethods(chain),
      ...paymentMethods(chain),
    };
    const server = await startRpcServer(methods, host, port);
    let end: (error: unknown) => void = () => undefined;
    const ended = new Promise<unknown>((resolve) => {
      end = resolve;
    });
    let stopping: Promise<void> | undefined;
    const stop = (error?: unknown): Promise<void> => {
      stopping ??= (async () => {
        stopClock();
        await server.close();
        log?.close();
        end(error);
      })();
      return stopping;
    };
    const stopClock = startClock(chain, blockTime, (error) => void stop(error));
    return {
      endpoint: `ws://${host.includes(":") ? `[${host}]` : host}:${server.port}`,
      port: server.port,
      genesisHash: chain.genesis().hash,
      best: () => ({ number: chain.best().header.number, hash: chain.best().hash }),
      finalized: () => ({ number: chain.finalized().header.number, hash: chain.finalized().hash }),
      ended,
      stop: () => stop(),
    };
  } catch (error) {
    log?.close();
    throw error;
  }
}
