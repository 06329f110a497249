/** A refused call as the DispatchError that events carry. */

import type { Hex, Tagged } from "../metadata/scale.ts";
import type { DispatchError } from "./ledger.ts";

/** Pallet indices by name, for module errors; Subtensor's. */
const palletIndices: Readonly<Record<string, number>> = {
  System: 0,
  Timestamp: 2,
  Balances: 5,
  SubtensorModule: 7,
  Sudo: 12,
  Commitments: 18,
  AdminUtils: 19,
};

export function encodeDispatchError(error: DispatchError): Tagged {
  const { reason } = error;
  if (!("name" in reason)) {
    return reason;
  }
  const code: Hex = `0x${reason.index.toString(16).padStart(2, "0")}000000`;
  return { type: "Module", value: { index: palletIndices[reason.pallet] as number, error: code } };
}
