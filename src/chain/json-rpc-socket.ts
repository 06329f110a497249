/**
 * One WebSocket to one node, speaking JSON-RPC 2.0 with subscriptions. It connects once, and when it is gone it is gone: everything still
 * under way fails with ConnectionLost, and link.ts opens the next.
 *
 * Why not the provider that comes with polkadot.js: it waits for ever on a host that does not answer, crashes the process on a message that is
 * no JSON, keeps failed answers in its cache, and cannot drop a connection that hangs.
 */
import type { WebSocket as Socket } from "ws";
import { ConnectionLost, RpcFailure } from "./chain-errors.ts";

/** Larger than any metadata or block; a message beyond it ends the connection. */
const largestMessage = 64 * 1024 * 1024;
/** Notifications that may arrive before the answer that names their subscription. */
const earlyNotifications = 256;

export type NotificationListener = (error: Error | undefined, result: unknown) => void;

export interface RpcSocket {
  readonly endpoint: string;
  /** Sends a request and gives its result. Rejects with RpcFailure or ConnectionLost. */
  call(method: string, params: readonly unknown[]): Promise<unknown>;
  /** Like call, for a method that begins a subscription; gives the node's id of it. */
  subscribe(method: string, params: readonly unknown[], listener: NotificationListener): Promise<string | number>;
  /** No further notification of this id reaches its listener. The node is told, without waiting. */
  unsubscribe(method: string, id: string | number): void;
  /** Resolves when the connection has ended, with the reason. Never rejects. */
  readonly closed: Promise<ConnectionLost>;
  /** Ends the connection at once. */
  terminate(): void;
}

export interface SocketOptions {
  /** Milliseconds until the connection must stand. */
  readonly connectTimeout: number;
  /** Milliseconds until an answer must come; a node that misses it is given up. */
  readonly requestTimeout: number;
  /** Milliseconds between pings; a connection on which nothing arrives between two of them is given up. */
  readonly heartbeat: number;
}

interface Pending {
  readonly method: string;
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
  readonly listener?: NotificationListener;
}

interface Message {
  readonly id?: number;
  readonly result?: unknown;
  readonly error?: { readonly code?: number; readonly message?: string; readonly data?: unknown };
  readonly params?: { readonly subscription?: string | number; readonly result?: unknown; readonly error?: unknown };
}

/** Connects. Rejects with ConnectionLost when the endpoint cannot be reached in time, or when the signal fires meanwhile. */
export async function openSocket(endpoint: string, options: SocketOptions, signal: AbortSignal): Promise<RpcSocket> {
  const { WebSocket } = await import("ws");
  signal.throwIfAborted();
  const socket = new WebSocket(endpoint, {
    perMessageDeflate: false,
    maxPayload: largestMessage,
    handshakeTimeout: options.connectTimeout,
  });
  const abort = (): void => socket.terminate();
  signal.addEventListener("abort", abort, { once: true });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("open", resolve);
      socket.once("error", (error) => reject(new ConnectionLost(`${endpoint}: ${reasonOf(error)}`, { cause: error })));
    });
  } finally {
    signal.removeEventListener("abort", abort);
  }
  return speak(endpoint, socket, options);
}

/** Node gives several failed addresses of one host as an AggregateError without a message. */
function reasonOf(error: Error): string {
  return error.message || (error as NodeJS.ErrnoException).code || "no connection";
}

function speak(endpoint: string, socket: Socket, { requestTimeout, heartbeat }: SocketOptions): RpcSocket {
  const pending = new Map<number, Pending>();
  const listeners = new Map<string | number, NotificationListener>();
  let early: Message[] = [];
  let nextId = 1;
  let heard = true;
  let ended: ConnectionLost | undefined;
  let reportEnd: (reason: ConnectionLost) => void = () => {};
  const closed = new Promise<ConnectionLost>((resolve) => {
    reportEnd = resolve;
  });

  const pulse = setInterval(() => {
    if (!heard) return end(`nothing heard for ${heartbeat / 1000} s`);
    heard = false;
    socket.ping(() => {});
  }, heartbeat);
  pulse.unref();

  function end(reason: string): void {
    if (ended !== undefined) return;
    ended = new ConnectionLost(`${endpoint}: ${reason}`);
    clearInterval(pulse);
    socket.terminate();
    for (const { reject, timer } of pending.values()) {
      clearTimeout(timer);
      reject(ended);
    }
    pending.clear();
    listeners.clear();
    reportEnd(ended);
  }

  function notify(message: Message): void {
    const id = message.params?.subscription;
    if (id === undefined) return;
    const listener = listeners.get(id);
    if (listener === undefined) {
      const expected = [...pending.values()].some((request) => request.listener !== undefined);
      if (expected && early.length < earlyNotifications) early.push(message);
      return;
    }
    const error = message.params?.error;
    listener(error === undefined || error === null ? undefined : new RpcFailure(0, JSON.stringify(error)), message.params?.result);
  }

  function answer(message: Message): void {
    const request = pending.get(message.id as number);
    if (request === undefined) return;
    pending.delete(message.id as number);
    clearTimeout(request.timer);
    if (message.error !== undefined) {
      const { code = 0, message: text = "error without a message", data } = message.error;
      request.reject(new RpcFailure(code, text, data));
      return;
    }
    if (request.listener !== undefined) listeners.set(message.result as string | number, request.listener);
    request.resolve(message.result as never);
    if (request.listener === undefined || early.length === 0) return;
    const waiting = early;
    early = [];
    waiting.forEach(notify);
  }

  socket.on("error", (error) => end(error.message));
  socket.on("close", (code) => end(`closed by the node (${code})`));
  socket.on("pong", () => {
    heard = true;
  });
  socket.on("message", (data) => {
    heard = true;
    let message: unknown;
    try {
      message = JSON.parse(String(data));
    } catch {
      return end("it does not speak JSON-RPC");
    }
    if (typeof message !== "object" || message === null) return end("it does not speak JSON-RPC");
    if ("id" in message && message.id !== null) answer(message as Message);
    else notify(message as Message);
  });

  function request<T>(method: string, params: readonly unknown[], listener?: NotificationListener): Promise<T> {
    if (ended !== undefined) return Promise.reject(ended);
    return new Promise<T>((resolve, reject) => {
      const id = nextId++;
      const timer = setTimeout(() => end(`no answer to ${method} in ${requestTimeout / 1000} s`), requestTimeout);
      pending.set(id, { method, resolve, reject, timer, ...(listener === undefined ? {} : { listener }) });
      socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    });
  }

  return {
    endpoint,
    call: (method, params) => request(method, params),
    subscribe: (method, params, listener) => request(method, params, listener),
    unsubscribe: (method, id) => {
      listeners.delete(id);
      if (ended === undefined) request(method, [id]).catch(() => {});
    },
    closed,
    terminate: () => end("closed by this process"),
  };
}
