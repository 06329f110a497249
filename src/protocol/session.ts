/**
 * Sessions between two participants (docs/protocol.md, section 10). One signed request opens a session; the requests in it carry a
 * message authentication code under a key that both sides derive from an X25519 agreement and that never travels, so that a request
 * costs microseconds instead of a signature, and who listens learns nothing to ask with.
 */
import { createHmac } from "node:crypto";
import { fields, fromHex, sha256, u64, utf8 } from "./hash.ts";
import { type Hotkey, publicKeyOf } from "./hotkey.ts";

export interface SessionParties {
  /** Hotkey that opened the session, and hotkey of the server. */
  readonly sender: Hotkey;
  readonly receiver: Hotkey;
  /** X25519 public keys made for this session, 64 hexadecimal digits each. */
  readonly senderKey: string;
  readonly receiverKey: string;
  /** The server's name for the session, 32 hexadecimal digits. */
  readonly session: string;
}

export interface SessionRequest {
  readonly method: string;
  readonly path: string;
  /** The Range header as sent; none is the same as empty. */
  readonly range?: string | undefined;
  /** From 1 on, never the same twice in a session. */
  readonly count: number;
}

/** A request is refused whose count lies this far or further below the highest seen. */
export const countWindow = 256;

const pathPattern = /^\/sessions\/([0-9a-f]{64})$/;

/** The path that opens a session for the sender's key. */
export function sessionPath(senderKey: string): string {
  return `/sessions/${senderKey}`;
}

/** The sender's key in a path that opens a session; undefined for any other path. */
export function senderKeyOf(path: string): string | undefined {
  return pathPattern.exec(path)?.[1];
}

/** The 32 bytes that both sides hold, from the 32 bytes of X25519. */
export function sessionKey(secret: Uint8Array, { sender, receiver, senderKey, receiverKey, session }: SessionParties): Uint8Array {
  return sha256(
    fields(
      "connito/session/1",
      secret,
      publicKeyOf(sender),
      publicKeyOf(receiver),
      fromHex(senderKey),
      fromHex(receiverKey),
      fromHex(session),
    ),
  );
}

/** The 32 bytes that prove a request in a session. */
export function requestProof(key: Uint8Array, { method, path, range, count }: SessionRequest): Uint8Array {
  const message = fields("connito/session-request/1", utf8(method), utf8(path), utf8(range ?? ""), u64(count));
  return new Uint8Array(createHmac("sha256", key).update(message).digest());
}
