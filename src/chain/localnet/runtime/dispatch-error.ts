/** A refused call as the DispatchError that events carry. */

import type { Indices } from "../metadata/indices.ts";
import type { Hex, Tagged } from "../metadata/scale.ts";
import type { DispatchError } from "./ledger.ts";

export function encodeDispatchError(error: DispatchError, indices: Indices): Tagged {
  const { reason } = error;
  if (!("name" in reason)) {
    return reason;
  }
  const code: Hex = `0x${indices.error(reason.pallet, reason.name).toString(16).padStart(2, "0")}000000`;
  return { type: "Module", value: { index: indices.pallet(reason.pallet), error: code } };
}
