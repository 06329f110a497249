/**
 * A server as a peer, through the platform's own `fetch`. Every wait has an end: for the answer to begin, for the next bytes, and for a
 * peer that drips just enough to look alive. Redirects and encoded bodies are refused, and what an answer says of itself is a limit on
 * what is read, never a reason to take memory.
 */
import { type Hotkey, isHotkey } from "../protocol/hotkey.ts";
import { type RequestSigner, signRequest } from "./authentication.ts";
import { hashMismatch, objectNotFound, objectOversize, peerUnreachable, requestRefused } from "./errors.ts";
import { resourceAt } from "./resources.ts";
import { collectBytes, type Delivery, type GetOptions, type Source } from "./source.ts";

export interface HttpSourceOptions {
  readonly signer: RequestSigner;
  /** Number of a recent finalised block. */
  readonly blockNumber: () => Promise<number> | number;
  /** The server's hotkey as the chain tells it. Without it the server is asked, which is for peers the operator named and trusts. */
  readonly receiver?: Hotkey;
  readonly limits?: Partial<HttpLimits>;
}

export interface HttpLimits {
  /** From the request to the head of the answer. */
  readonly answerMilliseconds: number;
  /** Of each such span spent waiting for the peer, at least `stallBytes` must have come, or the download is given up. */
  readonly stallMilliseconds: number;
  readonly stallBytes: number;
}

const defaultLimits: HttpLimits = { answerMilliseconds: 15_000, stallMilliseconds: 20_000, stallBytes: 1 << 16 };
const maximumNoteBytes = 4096;

/** Opens the server whose origin is `origin`, such as `http://192.0.2.1:8080`. */
export function openHttpSource(origin: string, options: HttpSourceOptions): Source {
  const limits = { ...defaultLimits, ...options.limits };
  let receiver = options.receiver;

  async function ask(path: string, headers: Record<string, string>, signal: AbortSignal | undefined): Promise<Answer> {
    return request(origin, path, { ...headers, "accept-encoding": "identity" }, limits, signal);
  }

  async function askReceiver(signal: AbortSignal | undefined): Promise<Hotkey> {
    const answer = await ask("/hotkey", {}, signal);
    const text = Buffer.from(await collectBytes(answer.body(), maximumNoteBytes))
      .toString("latin1")
      .trim();
    if (answer.response.status === 200 && isHotkey(text)) return text;
    throw peerUnreachable(origin, "it does not say which hotkey it serves for");
  }

  async function get(path: string, wanted: GetOptions): Promise<Delivery> {
    const { maximumBytes, expectedBytes, offset = 0, signal } = wanted;
    signal?.throwIfAborted();
    if (resourceAt(path) === undefined) throw objectNotFound(origin, path);
    receiver ??= await askReceiver(signal);
    const range = offset > 0 ? `bytes=${offset}-` : undefined;
    const signed = signRequest(options.signer, { method: "GET", path, range, receiver, block: await options.blockNumber() });
    const answer = await ask(path, range === undefined ? signed : { ...signed, range }, signal);
    const { response } = answer;
    try {
      if (response.status === 416 && offset > 0) {
        // Either the earlier download was whole, or it was of something longer.
        answer.close();
        if (response.headers.get("content-range") === `bytes */${offset}`) return { offset, totalBytes: offset, ...empty };
        return await get(path, { ...wanted, offset: 0 });
      }
      if (response.status !== 200 && response.status !== 206) throw await refusal(answer, origin, path);
      if (response.headers.has("content-encoding")) throw peerUnreachable(origin, "it answers in an encoding that was not asked for");
      const extent = extentOf(response, offset);
      if (extent === undefined) throw peerUnreachable(origin, "it answers with another range than the one asked for");
      const { total } = extent;
      if (total !== undefined && total > maximumBytes) throw objectOversize(origin, path, maximumBytes);
      if (total !== undefined && expectedBytes !== undefined && total !== expectedBytes) {
        throw hashMismatch(origin, path, `${total} bytes instead of ${expectedBytes}`);
      }
      const most = Math.min(maximumBytes, expectedBytes ?? maximumBytes);
      return {
        offset: extent.offset,
        totalBytes: total,
        [Symbol.asyncIterator]: () => bounded(answer.body(), origin, path, most, extent.offset, total ?? expectedBytes),
      };
    } catch (error) {
      answer.close();
      throw error;
    }
  }

  return { locator: origin, get };
}

const empty = {
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {},
};

interface Answer {
  readonly response: Response;
  /** The body, with its time limits; ends the connection's use when it is left. */
  body(): AsyncGenerator<Uint8Array>;
  /** Gives the connection up. */
  close(): void;
}

async function request(
  origin: string,
  path: string,
  headers: Record<string, string>,
  limits: HttpLimits,
  signal?: AbortSignal,
): Promise<Answer> {
  const controller = new AbortController();
  // Not AbortSignal.any: the process's own signal outlives thousands of requests.
  const passOn = (): void => controller.abort(signal?.reason);
  if (signal?.aborted) passOn();
  signal?.addEventListener("abort", passOn, { once: true });
  const close = (): void => {
    signal?.removeEventListener("abort", passOn);
    controller.abort();
  };
  const timer = setTimeout(() => controller.abort(new Error("no answer in time")), limits.answerMilliseconds);
  try {
    const response = await fetch(origin + path, { headers, redirect: "manual", signal: controller.signal });
    return { response, close, body: () => readBody(response, origin, limits, close, signal) };
  } catch (error) {
    close();
    if (signal?.aborted) throw signal.reason;
    throw peerUnreachable(origin, reasonOf(error), error);
  } finally {
    clearTimeout(timer);
  }
}

async function* readBody(
  response: Response,
  origin: string,
  limits: HttpLimits,
  close: () => void,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  // Only the time spent waiting for the peer counts: a slow disk on our side is not the peer's fault.
  let waited = 0;
  let received = 0;
  try {
    for (;;) {
      const began = performance.now();
      const part = await withTimeLimit(reader?.read(), limits.stallMilliseconds - waited);
      if (part === "late") throw peerUnreachable(origin, `less than ${limits.stallBytes} bytes in ${limits.stallMilliseconds / 1000} s`);
      if (part === undefined || part.done) return;
      waited += performance.now() - began;
      received += part.value.length;
      yield part.value;
      if (received >= limits.stallBytes) {
        waited = 0;
        received = 0;
      }
    }
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    throw error instanceof TypeError || (error as Error).name === "AbortError" ? peerUnreachable(origin, reasonOf(error), error) : error;
  } finally {
    close();
  }
}

async function withTimeLimit<T>(promise: Promise<T> | undefined, milliseconds: number): Promise<T | "late" | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<"late">((resolve) => {
    timer = setTimeout(() => resolve("late"), Math.max(0, milliseconds));
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Where the body begins in the object, and how long the object is said to be; undefined for an answer to another question. */
function extentOf(response: Response, offset: number): { offset: number; total: number | undefined } | undefined {
  if (response.status === 200) {
    const length = response.headers.get("content-length");
    return { offset: 0, total: length !== null && /^[0-9]{1,15}$/.test(length) ? Number(length) : undefined };
  }
  const match = /^bytes ([0-9]{1,15})-([0-9]{1,15})\/([0-9]{1,15})$/.exec(response.headers.get("content-range") ?? "");
  if (match === null || Number(match[1]) !== offset || Number(match[2]) !== Number(match[3]) - 1) return undefined;
  return { offset, total: Number(match[3]) };
}

/** Holds a body to what may come: an end that is too early is a cut connection, one byte too many is oversize. */
async function* bounded(
  body: AsyncGenerator<Uint8Array>,
  origin: string,
  path: string,
  most: number,
  offset: number,
  total: number | undefined,
): AsyncGenerator<Uint8Array> {
  let position = offset;
  for await (const part of body) {
    if (position + part.length > most) throw objectOversize(origin, path, most);
    position += part.length;
    yield part;
  }
  if (total !== undefined && position < total) throw peerUnreachable(origin, `the connection ended after ${position} of ${total} bytes`);
}

async function refusal(answer: Answer, origin: string, path: string): Promise<Error> {
  const { status } = answer.response;
  if (status === 404) return objectNotFound(origin, path);
  if (status !== 401 && status !== 403) return peerUnreachable(origin, `it answers ${status}`);
  // A refusal carries its reason as a stable code; anything else it says is not repeated.
  const note = await collectBytes(answer.body(), maximumNoteBytes).catch(() => new Uint8Array());
  const code = /"code":"([a-z-]{1,40})"/.exec(Buffer.from(note).toString("latin1"))?.[1];
  return requestRefused(origin, path, code ?? `status ${status}`);
}

function reasonOf(error: unknown): string {
  const cause = (error as Error).cause as NodeJS.ErrnoException | undefined;
  return cause?.code ?? (cause?.message || (error as Error).message);
}
