/** Checks of what a client sent: every parameter is untrusted. */

import type { Block } from "../blocks.ts";
import type { Localchain } from "../chain.ts";
import type { Hex } from "../metadata/scale.ts";
import { RpcError } from "../pool.ts";
import type { StateView } from "../state.ts";

const invalidParameters = -32602;
/** What Substrate answers for a block that it does not have, or has no state of. */
const unknownBlock = 4003;

export function refuse(message: string): never {
  throw new RpcError(invalidParameters, "Invalid params", message);
}

/** Bytes as lower-case 0x-hex. As on Substrate the prefix may be left out: some clients do. */
export function hexParameter(value: unknown, name: string, longest: number): Hex {
  const digits = typeof value === "string" ? (value.startsWith("0x") ? value.slice(2) : value) : undefined;
  // Node stops at the first character that is not hexadecimal; a regular expression would take its time over megabytes.
  const bytes = digits === undefined || digits.length > 2 * longest ? undefined : Buffer.from(digits, "hex");
  if (bytes === undefined || bytes.length * 2 !== digits?.length) {
    refuse(`${name} is not hex of at most ${longest} bytes`);
  }
  return `0x${bytes.toString("hex")}`;
}

export function keysParameter(value: unknown): Hex[] {
  if (!Array.isArray(value) || value.length > 10_000) {
    refuse("keys is not a list of at most 10,000");
  }
  return value.map((key) => hexParameter(key, "key", 1024));
}

/** The block that a hash names, the best one when it is left out, and its state. @throws RpcError 4003 */
export function blockParameter(chain: Localchain, value: unknown): { readonly block: Block; readonly state: StateView } {
  const hash = value === undefined || value === null ? chain.best().hash : hexParameter(value, "block hash", 32);
  const block = chain.blockOf(hash);
  const state = chain.stateOf(hash);
  if (block === undefined || state === undefined) {
    const because = chain.headerOf(hash) === undefined ? "Header was not found in the database:" : "State already discarded for";
    throw new RpcError(unknownBlock, `Client error: UnknownBlock: ${because} ${hash}`);
  }
  return { block, state };
}
