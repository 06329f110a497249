/**
 * Serves a publication over HTTP to those who are registered and opened a session. A request meets, in this order: limits on connections,
 * headers and time; the table of paths; whose session it belongs to; how many more are under way; and only then a file. Nothing of a request is
 * decoded or normalised, and no error tells more than a stable code.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Context, Hono } from "hono";
import { ConnitoError } from "../errors.ts";
import type { Hotkey } from "../protocol/hotkey.ts";
import { senderKeyOf } from "../protocol/session.ts";
import { type AuthenticationOptions, createAuthenticator, type ReceivedRequest } from "./authentication.ts";
import type { Publication, Published } from "./exchange.ts";
import { openFileStream } from "./file-stream.ts";
import { resourceAt } from "./resources.ts";
import { createSessions, type SessionLimits } from "./sessions.ts";

export interface ServerOptions extends AuthenticationOptions {
  /** Address to listen on, such as "127.0.0.1" or "0.0.0.0". */
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly publication: Publication;
  /** Told of trouble that is ours: a publication that throws, a file that cannot be read. */
  readonly onError?: (error: unknown) => void;
  readonly limits?: Partial<ServerLimits>;
  readonly sessions?: Partial<SessionLimits>;
}

export interface ServerLimits {
  /** Answers under way at once, in all and for one hotkey; more are told to come back (429). */
  readonly requests: number;
  readonly requestsOfOne: number;
  readonly connections: number;
  readonly headerBytes: number;
  /** From a connection's first byte to the end of its headers. */
  readonly headerMilliseconds: number;
  /** A connection on which nothing moves is closed. */
  readonly idleMilliseconds: number;
  /** An answer must be taken at this rate at least, after half a minute's grace. */
  readonly bytesPerSecond: number;
  /** How long `close` lets answers under way finish. */
  readonly graceMilliseconds: number;
}

const defaultLimits: ServerLimits = {
  requests: 64,
  requestsOfOne: 16,
  connections: 1024,
  headerBytes: 8192,
  headerMilliseconds: 10_000,
  idleMilliseconds: 30_000,
  bytesPerSecond: 4096,
  graceMilliseconds: 2000,
};

export interface RunningServer {
  readonly url: string;
  readonly port: number;
  /** Stops listening, lets answers under way finish for a moment, then cuts them. */
  close(): Promise<void>;
}

type Bindings = { Bindings: { incoming: IncomingMessage; outgoing: ServerResponse } };

/** Starts listening. Errors: port-in-use, address-unavailable. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const limits = { ...defaultLimits, ...options.limits };
  const [{ Hono }, { createAdaptorServer }] = await Promise.all([import("hono"), import("@hono/node-server")]);
  const app = routes(new Hono<Bindings>(), options, limits);
  const server = createAdaptorServer({
    fetch: app.fetch,
    overrideGlobalObjects: false,
    createServer,
    serverOptions: {
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.headerMilliseconds,
      requestTimeout: limits.headerMilliseconds,
      connectionsCheckingInterval: Math.min(1000, limits.headerMilliseconds),
      keepAliveTimeout: 5000,
    },
  }) as Server;
  server.maxConnections = limits.connections;
  server.timeout = limits.idleMilliseconds;
  await listen(server, options);
  const { port } = server.address() as AddressInfo;
  const host = options.host.includes(":") ? `[${options.host}]` : options.host;
  return { url: `http://${host}:${port}`, port, close: () => close(server, limits.graceMilliseconds) };
}

function routes(app: Hono<Bindings>, options: ServerOptions, limits: ServerLimits): Hono<Bindings> {
  const authenticate = createAuthenticator(options);
  const sessions = createSessions(options.hotkey, options.sessions);
  const slots = createSlots(limits);
  app.onError((error, context) => {
    options.onError?.(error);
    return refuse(context, 503, "server-trouble");
  });
  app.all("*", async (context) => {
    const { incoming, outgoing } = context.env;
    const { method = "", url: path = "" } = incoming;
    if (method !== "GET" && method !== "HEAD") return refuse(context, 405, "method-not-allowed");
    if (incoming.headers["content-length"] !== undefined || incoming.headers["transfer-encoding"] !== undefined)
      return refuse(context, 400, "body-not-allowed");
    // For peers named by hand, whose hotkey the asker does not know from the chain. It is public.
    if (path === "/hotkey") return context.text(options.hotkey);
    const request = received(incoming, method, path);
    const senderKey = senderKeyOf(path);
    if (senderKey !== undefined) {
      const opener = await authenticate(request);
      if (typeof opener !== "string") return refuse(context, opener.status, opener.code);
      const opened = sessions.open(opener, senderKey);
      return opened === undefined ? refuse(context, 400, "session-key-invalid") : context.json(opened);
    }
    const found = resourceAt(path);
    if (found === undefined) return refuse(context, 404, "object-not-found");
    const sender = sessions.identify(request);
    if (typeof sender !== "string") return refuse(context, sender.status, sender.code);
    if (!(await options.authorize(sender))) return refuse(context, 403, "not-registered");
    const slot = slots.take(sender);
    if (slot === undefined) return refuse(context, 429, "too-many-requests");
    // Until the answer is out or its connection is gone, whatever happens in between.
    outgoing.once("close", slot);
    if (incoming.socket.destroyed) slot();
    const published = await options.publication.resolve(path, sender, found.resource);
    if (published === undefined) return refuse(context, 404, "object-not-found");
    if (published === "forbidden") return refuse(context, 403, "not-allowed-now");
    return answer(context, published, found.rule.contentType, incoming.headers.range, limits.bytesPerSecond);
  });
  return app;
}

function received(incoming: IncomingMessage, method: string, path: string): ReceivedRequest {
  const header = (name: string): string | undefined => {
    const value = incoming.headers[name];
    return typeof value === "string" ? value : undefined;
  };
  return { method, path, range: header("range"), header };
}

async function answer(
  context: Context<Bindings>,
  published: Exclude<Published, undefined | "forbidden">,
  contentType: string,
  range: string | undefined,
  bytesPerSecond: number,
): Promise<Response> {
  const total = published instanceof Uint8Array ? published.length : published.bytes;
  const part = range === undefined ? { first: 0, last: total - 1 } : parseRange(range, total);
  if (part === undefined) return refuse(context, 416, "range-not-satisfiable", { "content-range": `bytes */${total}` });
  const length = part.last - part.first + 1;
  const headers: Record<string, string> = {
    "content-type": contentType,
    "content-length": String(length),
    "accept-ranges": "bytes",
    "cache-control": "private",
    "x-content-type-options": "nosniff",
  };
  if (range !== undefined) headers["content-range"] = `bytes ${part.first}-${part.last}/${total}`;
  const status = range === undefined ? 200 : 206;
  if (context.req.method === "HEAD") return context.body(null, status, headers);
  if (published instanceof Uint8Array) return context.body(Buffer.from(published.subarray(part.first, part.last + 1)), status, headers);
  const stream = await openFileStream(published.file, { offset: published.offset + part.first, bytes: length, bytesPerSecond });
  return context.body(stream, status, headers);
}

/** One range with a given start, inside the object; anything else is not satisfiable. */
function parseRange(header: string, total: number): { first: number; last: number } | undefined {
  const match = /^bytes=(0|[1-9][0-9]{0,14})-([0-9]{0,15})$/.exec(header);
  if (match === null) return undefined;
  const first = Number(match[1]);
  const last = match[2] === "" ? total - 1 : Math.min(Number(match[2]), total - 1);
  return first < total && first <= last ? { first, last } : undefined;
}

function refuse(
  context: Context<Bindings>,
  status: 400 | 401 | 403 | 404 | 405 | 416 | 429 | 503,
  code: string,
  headers: Record<string, string> = {},
): Response {
  const more = status === 405 ? { allow: "GET, HEAD" } : status === 429 || status === 503 ? { "retry-after": "5" } : {};
  // The rest of an unwanted body is not waited for.
  const connection = status === 400 || status === 405 ? { connection: "close" } : {};
  return context.body(JSON.stringify({ code }), status, { "content-type": "application/json", ...more, ...connection, ...headers });
}

/** Counts answers under way. `take` gives the function that ends one, which may be called more than once. */
function createSlots(limits: ServerLimits): { take(sender: Hotkey): (() => void) | undefined } {
  const bySender = new Map<Hotkey, number>();
  let total = 0;
  return {
    take(sender) {
      const own = bySender.get(sender) ?? 0;
      if (total >= limits.requests || own >= limits.requestsOfOne) return undefined;
      total++;
      bySender.set(sender, own + 1);
      let taken = true;
      return () => {
        if (!taken) return;
        taken = false;
        total--;
        const left = (bySender.get(sender) ?? 1) - 1;
        if (left === 0) bySender.delete(sender);
        else bySender.set(sender, left);
      };
    },
  };
}

async function listen(server: Server, { host, port }: ServerOptions): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.removeListener("error", reject);
      resolve();
    });
  }).catch((cause: NodeJS.ErrnoException) => {
    const inUse = cause.code === "EADDRINUSE";
    throw new ConnitoError(`Cannot listen on ${host} port ${port} (${cause.code})`, {
      code: inUse ? "port-in-use" : "address-unavailable",
      exit: "network",
      hint: inUse
        ? "Stop the process that uses it, or choose another --port."
        : "Choose an address of this machine, and a port you may use.",
      retryable: inUse,
      cause,
    });
  });
}

async function close(server: Server, graceMilliseconds: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), graceMilliseconds);
  await closed;
  clearTimeout(timer);
}
