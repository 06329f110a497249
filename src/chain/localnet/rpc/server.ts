/** JSON-RPC 2.0 over WebSocket and HTTP POST on one port, with bounded messages, batches and subscriptions. */

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout } from "node:timers/promises";
import { type WebSocket, WebSocketServer } from "ws";
import { ConnitoError } from "../../../errors.ts";
import type { FaultPlan } from "../faults/plan.ts";
import { RpcError } from "../pool.ts";
import type { Connection, Methods } from "./connection.ts";
import { controlPrefix } from "./faults.ts";

export interface RpcServer {
  readonly port: number;
  /** Breaks every connection, and accepts none for so many milliseconds. */
  disconnect(milliseconds: number): void;
  close(): Promise<void>;
}

/** Substrate's default for a request. */
const maximumMessageBytes = 15 << 20;
const maximumBatch = 1000;
const maximumSubscriptions = 1024;
const maximumConnections = 1000;
/** A client that reads this much slower than it is told things is let go. */
const maximumUnsentBytes = 64 << 20;

const parseError = { code: -32700, message: "Parse error" };
/** Of Substrate's own limit, `--rpc-rate-limit`. */
const rateLimited = { code: -32999, message: "RPC rate limit exceeded" };
const invalidRequest = { code: -32600, message: "Invalid request" };

interface Request {
  readonly id: string | number | null;
  readonly method: string;
  readonly params: readonly unknown[];
}

function asRequest(value: unknown): Request | undefined {
  if (typeof value !== "object" || value === null) {
    return undefined;
  }
  const { id = null, method, params = [] } = value as { id?: unknown; method?: unknown; params?: unknown };
  const idIsSound = id === null || typeof id === "string" || typeof id === "number";
  return typeof method === "string" && Array.isArray(params) && idIsSound ? { id: id as Request["id"], method, params } : undefined;
}

function errorOf(error: unknown): { code: number; message: string; data?: string } {
  if (error instanceof RpcError) {
    return { code: error.code, message: error.message, ...(error.data === undefined ? {} : { data: error.data }) };
  }
  return { code: -32603, message: "Internal error", data: error instanceof Error ? error.message : String(error) };
}

/** What an answer depends on besides the request. */
interface Asker {
  readonly connection: Connection;
  /** Whether one more request is allowed. */
  admits(): boolean;
}

function answerOne(methods: Methods, value: unknown, { connection, admits }: Asker): unknown {
  const request = asRequest(value);
  if (request === undefined) {
    return { jsonrpc: "2.0", id: null, error: invalidRequest };
  }
  const { id } = request;
  if (!request.method.startsWith(controlPrefix) && !admits()) {
    return { jsonrpc: "2.0", id, error: rateLimited };
  }
  const method = Object.hasOwn(methods, request.method) ? methods[request.method] : undefined;
  if (method === undefined) {
    return { jsonrpc: "2.0", id, error: { code: -32601, message: "Method not found" } };
  }
  try {
    return { jsonrpc: "2.0", id, result: method(request.params, connection) };
  } catch (error) {
    return { jsonrpc: "2.0", id, error: errorOf(error) };
  }
}

function answer(methods: Methods, text: string, asker: Asker): string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return JSON.stringify({ jsonrpc: "2.0", id: null, error: parseError });
  }
  if (!Array.isArray(value)) {
    return JSON.stringify(answerOne(methods, value, asker));
  }
  if (value.length === 0 || value.length > maximumBatch) {
    return JSON.stringify({ jsonrpc: "2.0", id: null, error: invalidRequest });
  }
  return JSON.stringify(value.map((item) => answerOne(methods, item, asker)));
}

/** Over HTTP there is nobody to notify. */
const withoutSubscriptions: Connection = {
  subscribe() {
    throw new RpcError(-32601, "Subscriptions need a WebSocket connection");
  },
  unsubscribe: () => false,
};

interface OpenConnection {
  readonly connection: Connection;
  sendText(text: string): void;
  close(): void;
}

function connectionOf(socket: WebSocket, nextId: () => string): OpenConnection {
  const stops = new Map<string, () => void>();
  const sendText = (text: string): void => {
    if (socket.bufferedAmount > maximumUnsentBytes) {
      socket.terminate();
    } else if (socket.readyState === socket.OPEN) {
      socket.send(text);
    }
  };
  const connection: Connection = {
    subscribe(notification, start) {
      if (stops.size >= maximumSubscriptions) {
        throw new RpcError(-32006, "Too many subscriptions on the connection");
      }
      const id = nextId();
      let held: string[] | undefined = [];
      const stop = start(
        (result) => {
          const text = JSON.stringify({ jsonrpc: "2.0", method: notification, params: { subscription: id, result } });
          if (held === undefined) {
            sendText(text);
          } else {
            held.push(text);
          }
        },
        () => connection.unsubscribe(id),
      );
      stops.set(id, stop);
      setImmediate(() => {
        const waiting = held ?? [];
        held = undefined;
        for (const text of waiting) {
          sendText(text);
        }
      });
      return id;
    },
    unsubscribe(id) {
      const stop = stops.get(id);
      stops.delete(id);
      stop?.();
      return stop !== undefined;
    },
  };
  return {
    connection,
    sendText,
    close() {
      for (const stop of stops.values()) {
        stop();
      }
      stops.clear();
    },
  };
}

/** Waits for the caller's turn: after those that asked before, each in a round of the event loop, so that a burst of requests does not keep the clock from its blocks. */
function createTurns(): () => Promise<void> {
  const waiting: (() => void)[] = [];
  function next(): void {
    waiting.shift()?.();
    if (waiting.length > 0) {
      setImmediate(next);
    }
  }
  return () =>
    new Promise((resolve) => {
      if (waiting.push(resolve) === 1) {
        setImmediate(next);
      }
    });
}

async function answerPost(
  methods: Methods,
  asker: Asker,
  turn: () => Promise<unknown>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > maximumMessageBytes) {
      response.writeHead(413).end();
      return;
    }
    chunks.push(chunk as Buffer);
  }
  await turn();
  const text = answer(methods, Buffer.concat(chunks).toString("utf8"), asker);
  response.writeHead(200, { "content-type": "application/json" }).end(text);
}

/** @throws ConnitoError port-in-use */
export async function startRpcServer(methods: Methods, plan: FaultPlan, host: string, port: number): Promise<RpcServer> {
  const all: Methods = { ...methods, rpc_methods: () => ({ methods: Object.keys(all).sort() }) };
  const admitsPosts = plan.limiter();
  let closedUntil = 0;
  const turns = createTurns();
  const turn = (): Promise<unknown> => {
    const latency = plan.latency();
    return latency === 0 ? turns() : setTimeout(latency);
  };
  const http = createServer((request, response) => {
    if (request.method !== "POST") {
      response.writeHead(405).end();
      return;
    }
    if (Date.now() < closedUntil) {
      response.writeHead(503).end();
      return;
    }
    const asker = { connection: withoutSubscriptions, admits: admitsPosts };
    answerPost(all, asker, turn, request, response).catch(() => response.destroy());
  });
  const sockets = new WebSocketServer({ server: http, maxPayload: maximumMessageBytes });
  let subscriptions = 0;
  sockets.on("connection", (socket) => {
    if (Date.now() < closedUntil) {
      socket.terminate();
      return;
    }
    if (sockets.clients.size > maximumConnections) {
      socket.close(1013);
      return;
    }
    const { connection, sendText, close } = connectionOf(socket, () => `connito-${++subscriptions}`);
    const asker = { connection, admits: plan.limiter() };
    socket.on("message", (data) => {
      turn().then(() => sendText(answer(all, String(data), asker)));
    });
    socket.on("close", close);
    socket.on("error", () => socket.terminate());
  });
  // A server error before listening is the same error as the HTTP server's, which the promise below reports.
  sockets.on("error", () => undefined);
  await new Promise<void>((resolve, reject) => {
    http.once("error", (cause: NodeJS.ErrnoException) => {
      const inUse = cause.code === "EADDRINUSE";
      reject(
        new ConnitoError(inUse ? `Port ${port} on ${host} is in use` : `The localnet cannot listen on ${host}:${port}`, {
          code: inUse ? "port-in-use" : "listen-failed",
          exit: "network",
          hint: "Stop what uses the port, or give another one (0 takes any free port).",
          cause,
        }),
      );
    });
    http.listen(port, host, resolve);
  });
  const breakAll = (): void => {
    for (const socket of sockets.clients) {
      socket.terminate();
    }
  };
  return {
    port: (http.address() as AddressInfo).port,
    disconnect(milliseconds) {
      closedUntil = Date.now() + milliseconds;
      breakAll();
    },
    async close() {
      breakAll();
      http.closeAllConnections();
      await new Promise<void>((resolve) => sockets.close(() => http.close(() => resolve())));
    },
  };
}
