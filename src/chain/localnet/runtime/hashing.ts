/** Hashes as 0x-hex, which is how the runtime keeps bytes. */

import { hexToU8a, u8aToHex } from "@polkadot/util";
import { blake2AsU8a } from "@polkadot/util-crypto";
import type { Hex } from "../metadata/scale.ts";

/** blake2b-256. */
export function blake2Hex(bytes: Hex | Uint8Array): Hex {
  return u8aToHex(blake2AsU8a(typeof bytes === "string" ? hexToU8a(bytes) : bytes, 256));
}
