/**
 * A link to a chain: one connection at a time, over a list of endpoints, that mends itself. When the connection is lost it goes on to the next
 * endpoint, with growing and jittered pauses; requests under way wait and are asked again, subscriptions are made again. Every endpoint must serve
 * the chain that the first one served: its genesis is compared before anything else is believed.
 *
 * Transactions are the exception: what sends one learns of the lost connection (`callOnce`, `subscribeOnce`), since only it knows what to look for
 * on the chain before it sends again.
 */
import { setMaxListeners } from "node:events";
import type { ConnitoError } from "../errors.ts";
import { backOff, orAborted, pause } from "../waiting.ts";
import { chainChanged, chainDisconnected, chainUnreachable, chainUnsupported, isNetworkTrouble } from "./chain-errors.ts";
import { type NotificationListener, openSocket, type RpcSocket, type SocketOptions } from "./json-rpc-socket.ts";

export interface LinkOptions {
  /** `ws://` or `wss://` addresses of nodes of one chain, tried in order. */
  readonly endpoints: readonly string[];
  /** Milliseconds until an endpoint must have accepted a connection. Default 10,000. */
  readonly connectTimeout?: number;
  /** Milliseconds until a node must have answered. Default 30,000. */
  readonly requestTimeout?: number;
  /** Milliseconds for which a request waits out a lost connection before it fails with `chain-unreachable`. Default 30,000. */
  readonly patience?: number;
  /** Milliseconds between pings. Default 15,000. */
  readonly heartbeat?: number;
}

export interface Link {
  readonly endpoints: readonly string[];
  /** The endpoint connected to, undefined while there is none. */
  endpoint(): string | undefined;
  /** The genesis hash, known once the first connection stood. */
  genesisHash(): string | undefined;
  /** Waits for a connection. Rejects with `chain-unreachable` or `chain-changed` when there is none in time. */
  connected(patience?: number, signal?: AbortSignal): Promise<RpcSocket>;
  /** Asks, and asks again after network trouble until patience ends. For what may be asked twice. */
  call<T>(method: string, params: readonly unknown[]): Promise<T>;
  /** Asks once. Rejects with ConnectionLost when it cannot be known whether the node got it. */
  callOnce<T>(method: string, params: readonly unknown[]): Promise<T>;
  /** A subscription that is made again after every reconnection. Gives what ends it. */
  subscribe(subscription: Subscription): Promise<() => void>;
  /** A subscription that ends with the connection; the listener is told with an error. Gives what ends it. */
  subscribeOnce(subscription: Subscription): Promise<() => void>;
  /** Calls back after every connection and after every loss of one. Gives what ends it. */
  onChange(listener: (connected: boolean) => void): () => void;
  /** Ends it all; nothing keeps the process alive afterwards. */
  close(): void;
}

export interface Subscription {
  readonly method: string;
  readonly unsubscribe: string;
  readonly params: readonly unknown[];
  readonly listener: NotificationListener;
}

/** Milliseconds after which a connection that is lost is not held against the endpoints. */
const settled = 20_000;

/** Starts connecting at once, and goes on until closed. */
export function createLink(options: LinkOptions): Link {
  const { endpoints, connectTimeout = 10_000, requestTimeout = 30_000, patience = 30_000, heartbeat = 15_000 } = options;
  const socketOptions: SocketOptions = { connectTimeout, requestTimeout, heartbeat };
  const closing = new AbortController();
  setMaxListeners(0, closing.signal); // every waiting request listens
  const listeners = new Set<(connected: boolean) => void>();
  const lasting = new Map<Subscription, string | number | undefined>();
  let current: RpcSocket | undefined;
  let genesis: string | undefined;
  let trouble: unknown;

  function report(connected: boolean): void {
    for (const listener of [...listeners]) listener(connected);
  }

  async function begin(subscription: Subscription, socket: RpcSocket): Promise<void> {
    lasting.set(subscription, undefined);
    const id = await socket.subscribe(subscription.method, subscription.params, subscription.listener);
    if (lasting.has(subscription)) lasting.set(subscription, id);
    else socket.unsubscribe(subscription.unsubscribe, id); // ended while the node was asked
  }

  async function checkGenesis(socket: RpcSocket): Promise<void> {
    const actual = await socket.call("chain_getBlockHash", [0]);
    if (typeof actual !== "string") throw chainUnsupported("a genesis block");
    genesis ??= actual;
    if (actual !== genesis) throw chainChanged(socket.endpoint, genesis, actual);
  }

  /** Connects and stays until the connection is lost. */
  async function stay(endpoint: string): Promise<void> {
    const socket = await openSocket(endpoint, socketOptions, closing.signal);
    const stop = (): void => socket.terminate();
    closing.signal.addEventListener("abort", stop, { once: true });
    try {
      closing.signal.throwIfAborted();
      await checkGenesis(socket);
      current = socket;
      await Promise.all([...lasting.keys()].map((subscription) => begin(subscription, socket)));
      report(true);
      trouble = await socket.closed;
    } finally {
      closing.signal.removeEventListener("abort", stop);
      socket.terminate();
      if (current === socket) {
        current = undefined;
        report(false);
      }
    }
  }

  async function keepConnected(): Promise<void> {
    let attempt = 0;
    for (let turn = 0; !closing.signal.aborted; turn += 1) {
      const begun = Date.now();
      try {
        await stay(endpoints[turn % endpoints.length] as string);
      } catch (error) {
        trouble = error;
      }
      attempt = Date.now() - begun > settled ? 1 : attempt + 1;
      // the first round over the list is quick: the next endpoint may well be up
      await pause(attempt < endpoints.length ? 0 : backOff(attempt - endpoints.length + 1), closing.signal).catch(() => {});
    }
  }

  function onChange(listener: (connected: boolean) => void): () => void {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  function unreachable(): ConnitoError {
    if (closing.signal.aborted) return chainDisconnected();
    const known = trouble as Partial<ConnitoError> | undefined;
    return known?.code === "chain-changed" ? (trouble as ConnitoError) : chainUnreachable(endpoints, trouble);
  }

  async function connected(limit = patience, signal?: AbortSignal): Promise<RpcSocket> {
    if (current !== undefined) return current;
    let stop: () => void = () => {};
    let timer: NodeJS.Timeout | undefined;
    const arrival = new Promise<RpcSocket>((resolve, reject) => {
      timer = setTimeout(() => reject(unreachable()), limit);
      stop = onChange(() => {
        if (current !== undefined) resolve(current);
        else if (closing.signal.aborted) reject(unreachable());
      });
    });
    try {
      if (closing.signal.aborted) throw unreachable();
      return await orAborted(arrival, signal);
    } finally {
      clearTimeout(timer);
      stop();
    }
  }

  async function call<T>(method: string, params: readonly unknown[]): Promise<T> {
    const deadline = Date.now() + patience;
    for (let attempt = 1; ; attempt += 1) {
      const socket = await connected(Math.max(0, deadline - Date.now()));
      try {
        return (await socket.call(method, params)) as T;
      } catch (error) {
        if (!isNetworkTrouble(error)) throw error;
        if (closing.signal.aborted) throw chainDisconnected();
        if (Date.now() >= deadline) throw chainUnreachable(endpoints, error);
      }
      await pause(backOff(attempt), closing.signal).catch(() => {});
    }
  }

  keepConnected();

  return {
    endpoints,
    endpoint: () => current?.endpoint,
    genesisHash: () => genesis,
    connected,
    call,
    async callOnce<T>(method: string, params: readonly unknown[]): Promise<T> {
      return (await (await connected()).call(method, params)) as T;
    },
    async subscribe(subscription) {
      const socket = await connected();
      try {
        await begin(subscription, socket);
      } catch (error) {
        if (!isNetworkTrouble(error)) {
          lasting.delete(subscription);
          throw error;
        } // else the next connection makes it
      }
      return () => {
        const id = lasting.get(subscription);
        lasting.delete(subscription);
        if (id !== undefined) current?.unsubscribe(subscription.unsubscribe, id);
      };
    },
    async subscribeOnce({ method, unsubscribe, params, listener }) {
      const socket = await connected();
      const id = await socket.subscribe(method, params, listener);
      let live = true;
      socket.closed.then((reason) => live && listener(reason, undefined));
      return () => {
        live = false;
        socket.unsubscribe(unsubscribe, id);
      };
    },
    onChange,
    close: () => {
      closing.abort();
      report(false);
    },
  };
}
