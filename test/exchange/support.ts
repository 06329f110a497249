/** Help for exchange tests: participants with keys, a server over a table of contents, peers that misbehave on real sockets. */
import { createHash, randomBytes } from "node:crypto";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RequestSigner } from "../../src/exchange/authentication.ts";
import { type ClientSession, openSession } from "../../src/exchange/client-session.ts";
import type { Published, Source } from "../../src/exchange/exchange.ts";
import { openSource } from "../../src/exchange/exchange.ts";
import type { Answer } from "../../src/exchange/http-request.ts";
import type { HttpLimits } from "../../src/exchange/http-source.ts";
import { createAgreementKey } from "../../src/exchange/key-agreement.ts";
import { type RunningServer, type ServerOptions, startServer } from "../../src/exchange/server.ts";
import { hotkeyOf, publicKeyOf } from "../../src/protocol/hotkey.ts";

export const hashOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** A stand-in for sr25519 that is quick and fails for another message or key; that the real one fits too is one test of its own. */
export function participant(name: string): RequestSigner {
  const address = hotkeyOf(createHash("sha256").update(name).digest());
  return { address, sign: (message) => signatureOf(message, address) };
}

function signatureOf(message: Uint8Array, hotkey: string): Uint8Array {
  return new Uint8Array(createHash("sha512").update(message).update(publicKeyOf(hotkey)).digest());
}

export const verify: ServerOptions["verify"] = (message, signature, hotkey) => Buffer.from(signatureOf(message, hotkey)).equals(signature);

export const host = "127.0.0.1";
export const server = participant("server");
export const miner = participant("miner");
export const validator = participant("validator");
export const stranger = participant("stranger");

/** Starts a server with `contents` by path, for miner and validator, at finalised block 1000; stops it after `work`. */
export async function withServer<T>(
  contents: Record<string, Published>,
  work: (running: RunningServer) => Promise<T>,
  options: Partial<ServerOptions> = {},
): Promise<T> {
  const running = await startServer({
    host,
    port: 0,
    hotkey: server.address,
    publication: { resolve: async (path) => contents[path] },
    authorize: (hotkey) => hotkey === miner.address || hotkey === validator.address,
    verify,
    finalizedBlock: () => 1000,
    ...options,
  });
  try {
    return await work(running);
  } finally {
    await running.close();
  }
}

/** A source at `url` as the miner sees it, with limits short enough for tests. */
export function sourceAt(url: string, limits: Partial<HttpLimits> = {}, signer: RequestSigner = miner): Source {
  return openSource(url, { signer, blockNumber: () => 1000, receiver: server.address, limits: { answerMilliseconds: 2000, ...limits } });
}

/** What a peer answers that opens a session and then does not look at who asks. */
function anySession(): string {
  const opened = JSON.stringify({ session: randomBytes(16).toString("hex"), key: createAgreementKey().publicKey });
  return `${head("200 OK", `content-length: ${opened.length}`)}${opened}`;
}

/** Opens a session with the server at `url`, and gives what makes requests the signer's in it. */
export async function sessionAt(url: string, signer: RequestSigner = miner): Promise<ClientSession["prove"]> {
  const ask = async (path: string, headers: Record<string, string>): Promise<Answer> => {
    const response = await fetch(url + path, { headers });
    return {
      response,
      close: () => undefined,
      body: async function* () {
        yield new Uint8Array(await response.arrayBuffer());
      },
    };
  };
  // A signer of its own, since sessions are shared by all who ask in its name.
  const options = { signer: { ...signer }, blockNumber: () => 1000, receiver: server.address };
  return (await openSession(url, options, ask)).prove;
}

export interface Peer {
  readonly url: string;
  /** Heads of the requests it got. */
  readonly requests: string[];
  /** Breaks all its connections off. */
  cut(): void;
}

/** A peer that answers every connection as `answer` likes: `request` is the head of what was sent, `nth` counts from 1. */
export async function withPeer<T>(
  answer: (socket: Socket, request: string, nth: number) => unknown,
  work: (peer: Peer) => Promise<T>,
): Promise<T> {
  const requests: string[] = [];
  const sockets = new Set<Socket>();
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  };
  const listener = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    let head = "";
    socket.on("data", (bytes) => {
      head += bytes.toString("latin1");
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return;
      const request = head.slice(0, end);
      head = head.slice(end + 4);
      if (request.startsWith("GET /sessions/")) return void socket.write(anySession());
      requests.push(request);
      answer(socket, request, requests.length);
    });
  });
  await new Promise<void>((resolve) => listener.listen(0, host, resolve));
  try {
    return await work({ url: `http://${host}:${(listener.address() as AddressInfo).port}`, requests, cut });
  } finally {
    cut();
    await new Promise((resolve) => listener.close(resolve));
  }
}

/** The head of an answer with these header lines. */
export const head = (status: string, ...headers: string[]): string => [`HTTP/1.1 ${status}`, ...headers, "", ""].join("\r\n");

/** Where the requested range begins. */
export const rangeStart = (request: string): number => Number(/range: bytes=(\d+)-/i.exec(request)?.[1] ?? 0);

/** An honest answer with `bytes` to `request`, of which only the bytes before `upTo` come; the connection stays open. */
export function deliver(socket: Socket, request: string, bytes: Buffer, upTo = bytes.length): void {
  const first = rangeStart(request);
  const range = `content-range: bytes ${first}-${bytes.length - 1}/${bytes.length}`;
  const length = `content-length: ${bytes.length - first}`;
  socket.write(first > 0 ? head("206 Partial Content", length, range) : head("200 OK", length));
  socket.write(bytes.subarray(first, Math.max(first, upTo)));
}

/** Sends bytes as they are over a connection of its own and gives all that comes back. */
export function rawRequest(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, host, () => socket.write(text));
    let answer = "";
    socket.on("data", (bytes) => {
      answer += bytes.toString("latin1");
    });
    socket.on("close", () => resolve(answer));
    socket.on("error", reject);
  });
}

/** A path in the temporary directory that nobody uses. */
export const unusedPath = (): string => join(tmpdir(), `connito-test-${randomBytes(6).toString("hex")}`);
