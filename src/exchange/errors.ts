/** What can go wrong between participants, each with the peer's name. What a peer says is quoted only where it is a plain code. */
import { ConnitoError } from "../errors.ts";

/** No connection, a time-out, an answer that is no HTTP, a server's own trouble: trying again later can help. */
export function peerUnreachable(peer: string, reason: string, cause?: unknown): ConnitoError {
  return new ConnitoError(`${peer} cannot be reached: ${reason}`, {
    code: "peer-unreachable",
    exit: "network",
    hint: "Check the network, or name another peer with --peer; what was downloaded so far is kept.",
    retryable: true,
    cause,
  });
}

export function objectNotFound(peer: string, path: string): ConnitoError {
  return new ConnitoError(`${peer} does not have ${path}`, {
    code: "object-not-found",
    exit: "network",
    hint: "It may not be published yet: try again later, or name another peer with --peer.",
    retryable: true,
  });
}

/** The peer lies, or its disk does: the bytes are not those that the chain or the task names. */
export function hashMismatch(peer: string, path: string, reason: string): ConnitoError {
  return new ConnitoError(`${peer} delivered something else as ${path}: ${reason}`, {
    code: "object-hash-mismatch",
    exit: "verification",
    hint: "Nothing of it was kept. Fetch it from another peer (--peer).",
  });
}

export function objectOversize(peer: string, path: string, maximumBytes: number): ConnitoError {
  return new ConnitoError(`${peer} delivers more than ${maximumBytes} bytes as ${path}`, {
    code: "object-oversize",
    exit: "verification",
    hint: "Nothing of it was kept. Fetch it from another peer (--peer).",
  });
}

export function requestRefused(peer: string, path: string, reason: string): ConnitoError {
  return new ConnitoError(`${peer} refuses ${path}: ${reason}`, {
    code: "request-refused",
    exit: "rejected",
    hint: "Check that this hotkey is registered, that the node it follows is in sync, and that this phase allows what was asked.",
  });
}
