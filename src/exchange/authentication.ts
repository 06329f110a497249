/**
 * Signed requests, with which sessions are opened (docs/protocol.md, section 10). The client adds four headers; the server checks them in the order of their cost, and
 * takes note of the nonce only once the signature is good, so that nobody can use up another's.
 */
import { randomBytes } from "node:crypto";
import { fromHex, toHex } from "../protocol/hash.ts";
import { type Hotkey, isHotkey } from "../protocol/hotkey.ts";
import { maximumBlockDistance, nonceBytes, type RequestToSign, requestMessage } from "../protocol/request.ts";

export const headerNames = {
  hotkey: "x-connito-hotkey",
  block: "x-connito-block",
  nonce: "x-connito-nonce",
  signature: "x-connito-signature",
} as const;

/** What a request is signed with: a hotkey's address and its sr25519 key. */
export interface RequestSigner {
  readonly address: Hotkey;
  sign(message: Uint8Array): Uint8Array;
}

/** The headers that make a request the signer's. */
export function signRequest(signer: RequestSigner, request: Omit<RequestToSign, "nonce">): Record<string, string> {
  const nonce = new Uint8Array(randomBytes(nonceBytes));
  return {
    [headerNames.hotkey]: signer.address,
    [headerNames.block]: String(request.block),
    [headerNames.nonce]: toHex(nonce),
    [headerNames.signature]: toHex(signer.sign(requestMessage({ ...request, nonce }))),
  };
}

/** Why a request is refused, as an HTTP status and a stable code. */
export interface Refusal {
  readonly status: 401 | 403 | 429 | 503;
  readonly code: string;
}

export interface AuthenticationOptions {
  /** The server's own hotkey: a request signed for another receiver is not for us. */
  readonly hotkey: Hotkey;
  /** Whether the hotkey is registered on the subnet, at the finalised head. */
  readonly authorize: (hotkey: Hotkey) => Promise<boolean> | boolean;
  /** Whether the sr25519 signature of the message is the hotkey's. */
  readonly verify: (message: Uint8Array, signature: Uint8Array, hotkey: Hotkey) => Promise<boolean> | boolean;
  /** Number of the newest finalised block. */
  readonly finalizedBlock: () => Promise<number> | number;
  /** How many nonces are remembered, of all senders and of one. */
  readonly maximumNonces?: number;
  readonly maximumNoncesOfOne?: number;
}

export interface ReceivedRequest {
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
  /** The value of a header, by lower-case name. */
  readonly header: (name: string) => string | undefined;
}

export type Authenticator = (request: ReceivedRequest) => Promise<Hotkey | Refusal>;

/** Gives the function that tells who sent a request, or why it is refused. */
export function createAuthenticator(options: AuthenticationOptions): Authenticator {
  // A verification takes some milliseconds, so that a window of 41 blocks sees fewer requests than this limit.
  const nonces = createNonces(options.maximumNonces ?? 2 ** 20, options.maximumNoncesOfOne ?? 2 ** 17);

  let newestHead = 0;

  return async ({ method, path, range, header }) => {
    const sender = header(headerNames.hotkey) ?? "";
    const block = header(headerNames.block) ?? "";
    const nonce = header(headerNames.nonce) ?? "";
    const signature = header(headerNames.signature) ?? "";
    const wellFormed =
      /^(0|[1-9][0-9]{0,9})$/.test(block) && Number(block) < 2 ** 32 && /^[0-9a-f]{32}$/.test(nonce) && /^[0-9a-f]{128}$/.test(signature);
    if (!wellFormed || !isHotkey(sender)) return { status: 401, code: "signature-missing" };
    // A node that falls back after a reconnect must not reopen a window whose nonces are forgotten.
    newestHead = Math.max(newestHead, await options.finalizedBlock());
    const head = newestHead;
    if (Math.abs(Number(block) - head) > maximumBlockDistance) return { status: 401, code: "block-too-far" };
    if (nonces.has(sender, nonce, Number(block))) return { status: 401, code: "nonce-seen" };
    if (!(await options.authorize(sender))) return { status: 403, code: "not-registered" };
    const message = requestMessage({ method, path, range, receiver: options.hotkey, block: Number(block), nonce: fromHex(nonce) });
    if (!(await options.verify(message, fromHex(signature), sender))) return { status: 401, code: "signature-invalid" };
    const noted = nonces.add(sender, nonce, Number(block), head);
    if (noted === "full") return { status: 429, code: "too-many-requests" };
    return noted === "seen" ? { status: 401, code: "nonce-seen" } : sender;
  };
}

interface Nonces {
  has(sender: Hotkey, nonce: string, block: number): boolean;
  /** One step, so that of two equal requests under way at once one is refused. */
  add(sender: Hotkey, nonce: string, block: number, head: number): "new" | "seen" | "full";
}

/**
 * Remembers nonces until their block is too old to be accepted. When full it refuses, since forgetting would let a replay in. The block
 * is signed with the nonce, so a replay has the same one: they are kept by block, and a whole block is forgotten at once.
 */
function createNonces(maximum: number, maximumOfOne: number): Nonces {
  const byBlock = new Map<number, Map<Hotkey, Set<string>>>();
  const counts = new Map<Hotkey, number>();
  let total = 0;

  function forget(head: number): void {
    for (const [block, senders] of byBlock) {
      if (head - block <= maximumBlockDistance) continue;
      byBlock.delete(block);
      for (const [sender, nonces] of senders) {
        total -= nonces.size;
        const left = (counts.get(sender) ?? 0) - nonces.size;
        if (left > 0) counts.set(sender, left);
        else counts.delete(sender);
      }
    }
  }

  return {
    has: (sender, nonce, block) => byBlock.get(block)?.get(sender)?.has(nonce) ?? false,
    add(sender, nonce, block, head) {
      forget(head);
      const senders = byBlock.get(block) ?? new Map<Hotkey, Set<string>>();
      const nonces = senders.get(sender) ?? new Set<string>();
      const count = counts.get(sender) ?? 0;
      if (nonces.has(nonce)) return "seen";
      if (total >= maximum || count >= maximumOfOne) return "full";
      nonces.add(nonce);
      senders.set(sender, nonces);
      byBlock.set(block, senders);
      counts.set(sender, count + 1);
      total++;
      return "new";
    },
  };
}
