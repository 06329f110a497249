/** What a peer looks like to those who fetch from it. Nothing it says is believed: lengths are limits, hashes are checked by the asker. */
import { ConnitoError } from "../errors.ts";

export interface GetOptions {
  /** The largest whole object that is accepted, in bytes; more is object-oversize. */
  readonly maximumBytes: number;
  /** The whole object's exact length, where it is known. */
  readonly expectedBytes?: number | undefined;
  /** The first byte wanted, to go on with an earlier download. The source may begin earlier: see `Delivery.offset`. */
  readonly offset?: number;
  readonly signal?: AbortSignal | undefined;
}

/** The answer to a request. It must be read or broken off (`break` in `for await`); each part is valid until the next is asked for. */
export interface Delivery extends AsyncIterable<Uint8Array> {
  /** Where in the object the first byte lies: what was asked for, or 0 where the source cannot skip. */
  readonly offset: number;
  /** The whole object's length, as the source claims it. */
  readonly totalBytes: number | undefined;
}

export interface Source {
  /** Names the peer in messages and reports. */
  readonly locator: string;
  /**
   * Asks for a path of resources.ts. Errors: peer-unreachable (retryable), object-not-found, request-refused, object-oversize,
   * object-hash-mismatch (the claimed length is not the expected one); while reading peer-unreachable, object-oversize. When `signal`
   * fires its reason is thrown.
   */
  get(path: string, options: GetOptions): Promise<Delivery>;
}

/** All bytes of a stream, at most `maximumBytes`. Error: object-oversize. For small documents; larger things go to a file. */
export async function collectBytes(parts: AsyncIterable<Uint8Array>, maximumBytes: number): Promise<Uint8Array> {
  const collected: Buffer[] = [];
  let length = 0;
  for await (const part of parts) {
    length += part.length;
    if (length > maximumBytes) {
      throw new ConnitoError(`A peer delivers more than ${maximumBytes} bytes`, {
        code: "object-oversize",
        exit: "verification",
        hint: "Nothing of it was kept. Fetch it from another peer (--peer).",
      });
    }
    collected.push(Buffer.from(part));
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of collected) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
