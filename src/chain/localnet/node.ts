/** The node as a whole: the chain, its clock and its server, and the faults that befall all three. */

import { setTimeout as pause } from "node:timers/promises";
import { cryptoWaitReady } from "@polkadot/util-crypto";
import * as v from "valibot";
import { ConnitoError } from "../../errors.ts";
import { loadCryptography } from "../signer.ts";
import { openBlockLog } from "./block-log.ts";
import { createChain, type Localchain } from "./chain.ts";
import { type CheckedFault, faultSchema } from "./faults/fault.ts";
import { createFaultPlan } from "./faults/plan.ts";
import { genesisState } from "./genesis.ts";
import { defaultFinalityLag, defaultPruning, type Localnet, type LocalnetOptions } from "./options.ts";
import { authorMethods } from "./rpc/author.ts";
import { chainMethods } from "./rpc/chain.ts";
import { faultMethods } from "./rpc/faults.ts";
import { startRpcServer } from "./rpc/server.ts";
import { stateMethods } from "./rpc/state.ts";
import { paymentMethods, systemMethods } from "./rpc/system.ts";
import { createRuntime } from "./runtime/runtime.ts";

interface Clock {
  /** No block is made for so many milliseconds. */
  stall(milliseconds: number): void;
  stop(): void;
}

/**
 * Makes a block every `blockTime` milliseconds. A slot that was missed, since the machine slept or was busy, is skipped and
 * not made up for, as on a real chain.
 */
function startClock(chain: Localchain, blockTime: number, onFailure: (error: unknown) => void): Clock {
  let timer: NodeJS.Timeout;
  let next = Date.now() + blockTime;
  let stalledUntil = 0;
  const wait = (): void => {
    timer = setTimeout(tick, Math.max(0, next - Date.now()));
  };
  const tick = (): void => {
    try {
      if (Date.now() >= stalledUntil) {
        chain.produce(Date.now());
      }
    } catch (error) {
      onFailure(error);
      return;
    }
    const late = Date.now() - next;
    next += blockTime * (1 + Math.floor(Math.max(0, late) / blockTime));
    wait();
  };
  wait();
  return {
    stall(milliseconds) {
      stalledUntil = Date.now() + milliseconds;
    },
    stop: () => clearTimeout(timer),
  };
}

function forkImpossible(depth: number): ConnitoError {
  return new ConnitoError(`Finality has passed the block ${depth} below the head: no branch can leave from there`, {
    code: "fault-impossible",
    exit: "invalidInput",
    hint: "Fork less deep, raise --finality-lag, or stall finality first.",
  });
}

/** @throws ConnitoError port-in-use, genesis-invalid, genesis-mismatch, localnet-log-corrupt, state-directory-unusable */
export async function startNode(options: LocalnetOptions): Promise<Localnet> {
  const { host = "127.0.0.1", blockTime, finalityLag = defaultFinalityLag, stateDirectory, genesis = {} } = options;
  const { faults = false, pruning = defaultPruning } = options;
  await Promise.all([cryptoWaitReady(), loadCryptography()]);
  const runtime = createRuntime(blockTime, options.metadata);
  const plan = createFaultPlan();
  const log = stateDirectory === undefined ? undefined : openBlockLog(stateDirectory);
  try {
    const chain = createChain({
      runtime,
      genesisState: genesisState(runtime, genesis),
      finalityLag,
      kept: pruning === "archive" ? Number.POSITIVE_INFINITY : pruning,
      mayInclude: plan.mayInclude,
      ...(log === undefined ? {} : { log }),
    });
    const methods = {
      ...chainMethods(chain),
      ...stateMethods(chain),
      ...authorMethods(chain, plan),
      ...systemMethods(chain),
      ...paymentMethods(chain),
      ...(faults ? faultMethods((fault) => inject(fault)) : {}),
    };
    let server = await startRpcServer(methods, plan, host, options.port);
    const { port } = server;
    let end: (error: unknown) => void = () => undefined;
    const ended = new Promise<unknown>((resolve) => {
      end = resolve;
    });
    let stopping: Promise<void> | undefined;
    let restarting: Promise<void> = Promise.resolve();
    const stop = (error?: unknown): Promise<void> => {
      stopping ??= (async () => {
        clock.stop();
        await restarting;
        clock.stop();
        await server.close();
        log?.close();
        end(error);
      })();
      return stopping;
    };
    const start = (): Clock => startClock(chain, blockTime, (error) => void stop(error));
    let clock = start();

    async function restart(seconds: number): Promise<void> {
      clock.stop();
      await server.close();
      chain.forgetPool();
      await pause(seconds * 1000);
      server = await startRpcServer(methods, plan, host, port);
      clock = start();
    }

    function inject(fault: CheckedFault): void {
      switch (fault.kind) {
        case "fork":
          if (!chain.fork(fault.depth, fault.transactions)) {
            throw forkImpossible(fault.depth);
          }
          return;
        case "stall-finality":
          chain.stallFinality(chain.best().header.number + fault.blocks);
          return;
        case "burst":
          for (let made = 0; made < fault.blocks; made++) chain.produce(Date.now());
          return;
        case "stall-blocks":
          clock.stall(fault.seconds * 1000);
          return;
        case "disconnect":
          // Whoever asked for it gets an answer first.
          setImmediate(() => server.disconnect(fault.seconds * 1000));
          return;
        case "restart":
          restarting = restarting
            .then(() => (stopping === undefined ? restart(fault.seconds) : undefined))
            .catch((error) => void stop(error));
          return;
        case "heal":
          chain.stallFinality(0);
          clock.stall(0);
          plan.heal();
          return;
        default:
          plan.schedule(fault);
      }
    }

    return {
      endpoint: `ws://${host.includes(":") ? `[${host}]` : host}:${port}`,
      port,
      genesisHash: chain.genesis().hash,
      best: () => ({ number: chain.best().header.number, hash: chain.best().hash }),
      finalized: () => ({ number: chain.finalized().header.number, hash: chain.finalized().hash }),
      inject: (fault) => inject(v.parse(faultSchema, fault)),
      ended,
      stop: () => stop(),
    };
  } catch (error) {
    log?.close();
    throw error;
  }
}
