/**
 * One request to a peer, through the platform's own `fetch`. Every wait has an end: for the answer to begin, for the next bytes, and for
 * a peer that drips just enough to look alive.
 */
import { objectNotFound, peerUnreachable, requestRefused } from "./errors.ts";
import { collectBytes } from "./source.ts";

export interface HttpLimits {
  /** From the request to the head of the answer. */
  readonly answerMilliseconds: number;
  /** Of each such span spent waiting for the peer, at least `stallBytes` must have come, or the download is given up. */
  readonly stallMilliseconds: number;
  readonly stallBytes: number;
}

export const defaultLimits: HttpLimits = { answerMilliseconds: 15_000, stallMilliseconds: 20_000, stallBytes: 1 << 16 };
/** What is read of an answer that is not what was asked for. */
export const maximumNoteBytes = 4096;

export interface Answer {
  readonly response: Response;
  /** The body, with its time limits; ends the connection's use when it is left. */
  body(): AsyncGenerator<Uint8Array>;
  /** Gives the connection up. */
  close(): void;
}

export async function request(
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

/** The stable code that a refusal carries; anything else it says is not repeated. Uses the answer up. */
export async function codeOf(answer: Answer): Promise<string | undefined> {
  const note = await collectBytes(answer.body(), maximumNoteBytes).catch(() => new Uint8Array());
  return /"code":"([a-z-]{1,40})"/.exec(Buffer.from(note).toString("latin1"))?.[1];
}

/** What an answer that delivers nothing means. Uses the answer up. */
export async function refusal(answer: Answer, origin: string, path: string): Promise<Error> {
  const { status } = answer.response;
  if (status === 404) return objectNotFound(origin, path);
  if (status !== 401 && status !== 403) return peerUnreachable(origin, `it answers ${status}`);
  return requestRefused(origin, path, (await codeOf(answer)) ?? `status ${status}`);
}

function reasonOf(error: unknown): string {
  const cause = (error as Error).cause as NodeJS.ErrnoException | undefined;
  return cause?.code ?? (cause?.message || (error as Error).message);
}
