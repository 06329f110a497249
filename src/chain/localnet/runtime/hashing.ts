/** Hashes as 0x-hex, which is how the runtime keeps bytes. */

import { blake2AsU8a } from "@polkadot/util-crypto";
import type { Hex } from "../metadata/scale.ts";
import { fromHex, toHex } from "./scale-bytes.ts";

/** blake2b-256. */
export function blake2Hex(bytes: Hex | Uint8Array): Hex {
  return toHex(blake2AsU8a(typeof bytes === "string" ? fromHex(bytes) : bytes, 256));
}
