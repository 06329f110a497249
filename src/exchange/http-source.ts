/**
 * A server as a peer. Redirects and encoded bodies are refused, and what an answer says of itself is a limit on what is read, never a
 * reason to take memory.
 */
import { orAborted } from "../waiting.ts";
import { type ClientOptions, openSession } from "./client-session.ts";
import { hashMismatch, objectNotFound, objectOversize, peerUnreachable, requestRefused } from "./errors.ts";
import { type Answer, codeOf, defaultLimits, type HttpLimits, refusal, request } from "./http-request.ts";
import { resourceAt } from "./resources.ts";
import type { Delivery, GetOptions, Source } from "./source.ts";

export type { HttpLimits } from "./http-request.ts";

export interface HttpSourceOptions extends ClientOptions {
  readonly limits?: Partial<HttpLimits>;
}

/** Opens the server whose origin is `origin`, such as `http://192.0.2.1:8080`. */
export function openHttpSource(origin: string, options: HttpSourceOptions): Source {
  const limits = { ...defaultLimits, ...options.limits };

  async function ask(path: string, headers: Record<string, string>, signal?: AbortSignal): Promise<Answer> {
    return request(origin, path, { ...headers, "accept-encoding": "identity" }, limits, signal);
  }

  /** Asks in a session. One that the server does not know any more, because it was idle or the server began anew, is replaced once. */
  async function askInSession(path: string, range: string | undefined, signal: AbortSignal | undefined): Promise<Answer> {
    const more = range === undefined ? {} : { range };
    for (let renewed = false; ; renewed = true) {
      const session = await orAborted(openSession(origin, options, ask), signal);
      const answer = await ask(path, { ...session.prove({ method: "GET", path, range }), ...more }, signal);
      if (renewed || answer.response.status !== 401) return answer;
      const code = await codeOf(answer);
      if (code !== "session-unknown") throw requestRefused(origin, path, code ?? "status 401");
      session.forget();
    }
  }

  async function get(path: string, wanted: GetOptions): Promise<Delivery> {
    const { maximumBytes, expectedBytes, offset = 0, signal } = wanted;
    signal?.throwIfAborted();
    if (resourceAt(path) === undefined) throw objectNotFound(origin, path);
    const range = offset > 0 ? `bytes=${offset}-` : undefined;
    const answer = await askInSession(path, range, signal);
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
