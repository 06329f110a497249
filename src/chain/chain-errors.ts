/**
 * What can go wrong between this process and a node, told apart by who can help: the connection (try again later), the node (it lacks what
 * was asked for), or the request itself.
 */
import { ConnitoError } from "../errors.ts";

/** The connection was lost, or an answer did not come. What was asked may or may not have happened. */
export class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
}

/** The node answered with a JSON-RPC error. */
export class RpcFailure extends Error {
  override readonly name = "RpcFailure";
  readonly code: number;
  readonly data: string | undefined;

  constructor(code: number, message: string, data?: unknown) {
    const detail = data === undefined || data === null ? undefined : typeof data === "string" ? data : JSON.stringify(data);
    super(detail === undefined ? `${code}: ${message}` : `${code}: ${message}: ${detail}`);
    this.code = code;
    this.data = detail;
  }
}

/** A node or a proxy before it that asks for patience: 429, or the codes that providers use for it. */
function isThrottled(error: unknown): boolean {
  return (
    error instanceof RpcFailure && (error.code === 429 || error.code === -32005 || /too many requests|rate limit/i.test(error.message))
  );
}

/** Whether the same request may succeed a little later, or at another endpoint. */
export function isNetworkTrouble(error: unknown): boolean {
  return error instanceof ConnectionLost || isThrottled(error);
}

export function chainUnreachable(endpoints: readonly string[], cause: unknown): ConnitoError {
  // what broke names its endpoint
  const reason = (cause instanceof Error ? cause.message : "no answer").replace(endpoints.length === 1 ? `${endpoints[0]}: ` : "", "");
  return new ConnitoError(`no node answers at ${endpoints.join(", ")}: ${reason}`, {
    code: "chain-unreachable",
    exit: "network",
    hint: "Check the network and --network (several addresses may be given, separated by commas); for a local chain, that `connito localnet` runs.",
    retryable: true,
    cause,
  });
}

/** Something was asked of a chain after `disconnect`: a fault of this process, not of the network. */
export function chainDisconnected(): ConnitoError {
  return new ConnitoError("the connection to the chain was closed by this process", {
    code: "chain-disconnected",
    exit: "unexpected",
    hint: "The process is ending; run the command again.",
  });
}

/** The endpoint belongs to another chain than the one this process began with. */
export function chainChanged(endpoint: string, expected: string, actual: string): ConnitoError {
  return new ConnitoError(`${endpoint} serves another chain than before: its genesis is ${actual}, not ${expected}`, {
    code: "chain-changed",
    exit: "network",
    hint: "All endpoints must belong to one chain. A local chain that was started without its state is a new one: use a new state directory with it.",
  });
}

export function chainUnsupported(what: string): ConnitoError {
  return new ConnitoError(`this chain does not have ${what}`, {
    code: "chain-unsupported",
    exit: "network",
    hint: "Point --network at a Subtensor node: finney, test, archive, local, or the address of one.",
  });
}

/** Turns the errors that nodes give for blocks they do not have into typed ones; any other is returned as it is. */
export function atBlock(error: unknown, at: string): unknown {
  if (!(error instanceof RpcFailure)) return error;
  if (/state already discarded|state.*(pruned|not available)|discarded/i.test(error.message)) {
    return new ConnitoError(`the node no longer keeps the state of block ${at}`, {
      code: "state-pruned",
      exit: "network",
      hint: "Read old blocks from an archive node: --network archive, or the address of one.",
      cause: error,
    });
  }
  if (/unknown ?block|header was not found|block.*not found|expect block/i.test(error.message)) return blockUnknown(at, error);
  return error;
}

export function blockUnknown(at: string, cause?: unknown): ConnitoError {
  return new ConnitoError(`the node does not know the block ${at}`, {
    code: "block-unknown",
    exit: "network",
    hint: "The node may be behind, or the block was never part of its chain. Try again, or use another endpoint.",
    retryable: true,
    cause,
  });
}
