/**
 * Sessions as a server keeps them, in memory only: after a restart nobody's requests are known, old ones least of all, and whoever
 * asks opens a new session. What a session may cost is bounded by how many one sender, and all of them, may have.
 */
import { randomBytes, timingSafeEqual } from "node:crypto";
import { fromHex, toHex } from "../protocol/hash.ts";
import type { Hotkey } from "../protocol/hotkey.ts";
import { countWindow, requestProof, sessionKey } from "../protocol/session.ts";
import type { ReceivedRequest, Refusal } from "./authentication.ts";
import { createAgreementKey } from "./key-agreement.ts";

export const sessionHeaders = {
  session: "x-connito-session",
  count: "x-connito-count",
  proof: "x-connito-proof",
} as const;

/** What the server answers to who opens a session. */
export interface OpenedSession {
  readonly session: string;
  /** The server's X25519 public key for it. */
  readonly key: string;
}

export interface SessionLimits {
  /** Sessions kept, for all senders and for one; the one that was idle longest makes room. */
  readonly sessions: number;
  readonly sessionsOfOne: number;
  /** A session ends after so long without a request, and after so long in any case. */
  readonly idleMilliseconds: number;
  readonly totalMilliseconds: number;
}

const defaultLimits: SessionLimits = { sessions: 4096, sessionsOfOne: 16, idleMilliseconds: 600_000, totalMilliseconds: 3_600_000 };

export interface Sessions {
  /** Opens a session for a sender whose signature was verified; undefined where `senderKey` is no usable key. */
  open(sender: Hotkey, senderKey: string): OpenedSession | undefined;
  /** Who sent a request, or why it is refused. A proof counts once. */
  identify(request: ReceivedRequest): Hotkey | Refusal;
}

interface Session {
  readonly sender: Hotkey;
  readonly key: Uint8Array;
  readonly opened: number;
  used: number;
  highest: number;
  /** Counts seen, each at its remainder by the window: one that is not there and not too far below the highest is new. */
  readonly seen: Float64Array;
}

export function createSessions(receiver: Hotkey, overrides: Partial<SessionLimits> = {}, now = () => performance.now()): Sessions {
  const limits = { ...defaultLimits, ...overrides };
  /** In the order of their last use. */
  const sessions = new Map<string, Session>();

  function isOver({ opened, used }: Session): boolean {
    return now() - used > limits.idleMilliseconds || now() - opened > limits.totalMilliseconds;
  }

  function makeRoom(sender: Hotkey): void {
    const own: string[] = [];
    for (const [id, session] of sessions) {
      if (isOver(session)) sessions.delete(id);
      else if (session.sender === sender) own.push(id);
    }
    for (const id of own.slice(0, Math.max(0, own.length + 1 - limits.sessionsOfOne))) sessions.delete(id);
    for (const id of sessions.keys()) {
      if (sessions.size < limits.sessions) break;
      sessions.delete(id);
    }
  }

  return {
    open(sender, senderKey) {
      const own = createAgreementKey();
      const secret = own.agree(senderKey);
      if (secret === undefined) return undefined;
      makeRoom(sender);
      const session = toHex(randomBytes(16));
      const key = sessionKey(secret, { sender, receiver, senderKey, receiverKey: own.publicKey, session });
      sessions.set(session, { sender, key, opened: now(), used: now(), highest: 0, seen: new Float64Array(countWindow) });
      return { session, key: own.publicKey };
    },
    identify({ method, path, range, header }) {
      const id = header(sessionHeaders.session) ?? "";
      const count = header(sessionHeaders.count) ?? "";
      const proof = header(sessionHeaders.proof) ?? "";
      if (!/^[0-9a-f]{32}$/.test(id) || !/^[1-9][0-9]{0,14}$/.test(count) || !/^[0-9a-f]{64}$/.test(proof))
        return { status: 401, code: "session-missing" };
      const session = sessions.get(id);
      if (session === undefined || isOver(session)) return { status: 401, code: "session-unknown" };
      const number = Number(count);
      if (!timingSafeEqual(fromHex(proof), requestProof(session.key, { method, path, range, count: number })))
        return { status: 401, code: "proof-invalid" };
      const place = number % countWindow;
      if (number <= session.highest - countWindow || session.seen[place] === number) return { status: 401, code: "count-seen" };
      session.seen[place] = number;
      session.highest = Math.max(session.highest, number);
      session.used = now();
      sessions.delete(id);
      sessions.set(id, session);
      return session.sender;
    },
  };
}
